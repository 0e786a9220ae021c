"""Response: the event stream of one response, from `response.created` to `response.done`, and its end when it is cut.

Order, as recorded from the service: each item is added to the response, then to the conversation; its deltas follow; a
later item begins before an earlier one is closed; the closing events then come item by item. Time is not told here but
asked for: the stream is a track of events and pauses, and whoever plays it may stop at any event and `cut`.
"""

from collections.abc import Iterator
from typing import Final, Literal, assert_never

import msgspec

from benchmarks import speech
from benchmarks.simulators.openai.audio import FormatName
from benchmarks.simulators.openai.events import Json, Track
from benchmarks.simulators.openai.mcp import McpApprovalOutput, McpCallOutput
from benchmarks.simulators.openai.outputs import (
    FIRST_WORDS_SHARE,
    FunctionCall,
    Output,
    Phase,
    SpokenMessage,
    TextMessage,
)
from benchmarks.simulators.openai.script import (
    Fail,
    Incomplete,
    McpApproval,
    McpCall,
    Piece,
    Reply,
    Scene,
    Several,
    Silence,
    ToolCall,
)
from benchmarks.simulators.openai.stage import Stage
from benchmarks.simulators.openai.usage import Meter, Tokens, rate_limits, usage_object

# As recorded: the end of the audio is noticed a little late, and the bill comes last.
LAST_DELTA_TO_DONES_S: Final = 0.020
DONES_TO_RESPONSE_DONE_S: Final = 0.005
RESPONSE_DONE_TO_RATE_LIMITS_S: Final = 0.030
_REASONING_TOKENS: Final = 12

CutReason = Literal["turn_detected", "client_cancelled"]
Status = Literal["in_progress", "completed", "cancelled", "incomplete", "failed"]


class ResponseOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What one response may use, settled when it is created; an update meanwhile touches only later ones."""

    output_modalities: list[Literal["audio", "text"]]
    max_output_tokens: int | Literal["inf"]
    audio: Json  # {"output": {"format", "voice"}}, as the response object shows it
    may_call_tools: bool
    is_in_conversation: bool  # else it adds nothing to the conversation and runs beside other responses
    metadata: dict[str, str] | None
    input_tokens: Tokens
    is_reasoning: bool  # models of the 2.x family think before they speak, and say which messages are asides

    @property
    def audio_format(self) -> FormatName:
        name: FormatName = self.audio["output"]["format"]["type"]
        return name


class Response:
    """One response.

    Args: scene, what it does; options, what it may use; cached, how much of its input was read before. Its items stay
    out of the conversation if the options say so.
    """

    def __init__(self, scene: Scene, options: ResponseOptions, *, cached: Tokens, stage: Stage) -> None:
        self.id = stage.ids.new("resp")
        self.options = options
        self.is_done = False
        self._scene = scene
        self._cached = cached
        self._conversation = stage.conversation if options.is_in_conversation else None
        self._ids = stage.ids
        self._config = stage.config
        self._meter = Meter(options.max_output_tokens)
        self._opened: list[Output] = []
        self._speaking: Track = iter(())  # the item that is being produced

    @property
    def audio_ms(self) -> float:
        """How much it has spoken so far."""
        return self._meter.audio_ms

    def stream(self) -> Track:
        """The whole response, if nobody cuts it."""
        yield {"type": "response.created", "response": self._object("in_progress", None)}
        if self._config.rate_limits == "start":
            yield rate_limits(self.options.input_tokens.total)
        yield FIRST_WORDS_SHARE * self._config.first_audio_delay_s
        step = self._scene.step
        if isinstance(step, Fail):
            error = {"type": step.kind, "code": step.code, "message": step.message}
            yield self._done("failed", {"type": "failed", "error": error})
        else:
            yield from self._produce(step)
        yield RESPONSE_DONE_TO_RATE_LIMITS_S
        yield from self._rate_limits()

    def cut(self, reason: CutReason, *, stray_deltas: int) -> Iterator[Json]:
        """Everything that is still open is closed as far as it got, and the response is cancelled.

        Args: stray_deltas, how many more it says at most, because it was about to.
        """
        yield from self._stray(stray_deltas)
        yield from self._close_items()
        yield self._done("cancelled", {"type": "cancelled", "reason": reason})
        yield from self._rate_limits()

    def _stray(self, deltas: int) -> Iterator[Json]:
        while deltas > 0:
            step = next(self._speaking, None)
            if step is None:
                return
            if isinstance(step, dict):
                deltas -= step["type"].endswith(".delta")
                yield step

    def _produce(self, step: Piece | Several | Incomplete | Silence) -> Track:
        if self.options.is_reasoning:
            self._meter.think(_REASONING_TOKENS)
        for output in self._outputs(step):
            yield from self._open(output)
            self._speaking = output.stream(self._meter)
            yield from self._speaking
            if not output.is_complete:
                break
        yield LAST_DELTA_TO_DONES_S
        yield from self._close_items()
        yield DONES_TO_RESPONSE_DONE_S
        if all(output.is_complete for output in self._opened):
            yield self._done("completed", None)
        else:
            reason = step.reason if isinstance(step, Incomplete) else "max_output_tokens"
            yield self._done("incomplete", {"type": "incomplete", "reason": reason})

    def _open(self, output: Output) -> Iterator[Json]:
        self._opened.append(output)
        item = output.item("in_progress")
        added = {"response_id": self.id, "output_index": output.output_index, "item": item}
        yield {"type": "response.output_item.added", **added}
        if self._conversation is not None:
            previous = self._conversation.add(output.entry())
            yield {"type": "conversation.item.added", "previous_item_id": previous, "item": item}

    def _close_items(self) -> Iterator[Json]:
        for output in self._opened:
            if not output.is_closed:
                output.is_closed = True
                yield from output.closing()
                yield from self._close(output)

    def _close(self, output: Output) -> Iterator[Json]:
        item = output.item("completed" if output.is_complete else "incomplete")
        if self._conversation is not None:
            self._conversation.finish(output.item_id, item)
            previous = self._conversation.predecessor(output.item_id)
            yield {"type": "conversation.item.done", "previous_item_id": previous, "item": item}
        done = {"response_id": self.id, "output_index": output.output_index, "item": item}
        yield {"type": "response.output_item.done", **done}

    def _done(self, status: Status, details: Json | None) -> Json:
        self.is_done = True
        return {"type": "response.done", "response": self._object(status, details)}

    def _object(self, status: Status, details: Json | None) -> Json:
        items = [output.item("completed" if output.is_complete else "incomplete") for output in self._opened]
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": items,
            "conversation_id": self._conversation.id if self._conversation else None,
            "output_modalities": self.options.output_modalities,
            "max_output_tokens": self.options.max_output_tokens,
            "audio": self.options.audio,
            "usage": self._usage(status),
            "metadata": self.options.metadata,
        }

    def _usage(self, status: Status) -> Json | None:
        if status == "in_progress":
            return None
        if self._scene.bill is not None:
            return self._scene.bill.usage
        if status == "failed":
            return None
        reasoning = self._meter.reasoning if self.options.is_reasoning else None
        return usage_object(self.options.input_tokens, self._cached, self._meter.tokens, reasoning)

    def _rate_limits(self) -> Iterator[Json]:
        if self._config.rate_limits == "after":
            yield rate_limits(self.options.input_tokens.total + self._meter.tokens.total)

    def _outputs(self, step: Piece | Several | Incomplete | Silence) -> Iterator[Output]:
        match step:
            case Several(items):
                yield from self._several(items)
            case Incomplete(clip, spoken_ms):
                yield self._message(0, clip, "final_answer", spoken_ms)
            case Silence():
                return
            case _:
                yield from self._several((step,))

    def _several(self, items: tuple[Piece, ...]) -> Iterator[Output]:
        if not self.options.may_call_tools:
            items = tuple(item for item in items if isinstance(item, Reply))
        for index, item in enumerate(items):
            match item:
                case Reply(clip):
                    is_aside = not all(isinstance(later, Reply) for later in items[index:])
                    yield self._message(index, clip, "commentary" if is_aside else "final_answer")
                case ToolCall():
                    yield FunctionCall(self.id, index, item, ids=self._ids)
                case McpCall():
                    yield McpCallOutput(self.id, index, item, ids=self._ids)
                case McpApproval():
                    yield McpApprovalOutput(self.id, index, item, ids=self._ids)
                case _:
                    assert_never(item)

    def _message(self, index: int, clip_name: str, phase: Phase, spoken_ms: int | None = None) -> Output:
        known_phase = phase if self.options.is_reasoning else None
        clip = speech.clip(clip_name)
        if self.options.output_modalities == ["text"]:
            return TextMessage(self.id, index, clip.transcript, ids=self._ids, phase=known_phase)
        return SpokenMessage(
            self.id,
            index,
            clip,
            ids=self._ids,
            phase=known_phase,
            audio_format=self.options.audio_format,
            config=self._config,
            spoken_ms=spoken_ms,
        )
