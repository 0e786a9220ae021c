"""Response: the event stream of one response, from `response.created` to `response.done`, and its end when it is cut.

Order, as recorded from the service: each item is added to the response, then to the conversation; its deltas follow; a
later item begins before an earlier one is closed; the closing events then come item by item. Time is not told here but
asked for: the stream is a track of events and pauses, and whoever plays it may stop at any event and `cut`.
"""

from collections.abc import Iterator
from typing import Final, Literal, assert_never

from benchmarks import speech
from benchmarks.simulators.openai.config import SimulatorConfig
from benchmarks.simulators.openai.conversation import Conversation
from benchmarks.simulators.openai.events import Json, Track
from benchmarks.simulators.openai.ids import Ids
from benchmarks.simulators.openai.outputs import (
    FIRST_WORDS_SHARE,
    FunctionCall,
    Meter,
    Output,
    Phase,
    SpokenMessage,
    TextMessage,
)
from benchmarks.simulators.openai.response_options import ResponseOptions
from benchmarks.simulators.openai.script import Fail, Incomplete, Reply, Several, Silence, Step, ToolCall
from benchmarks.simulators.openai.usage import Tokens, rate_limits, usage_object

# As recorded: the end of the audio is noticed a little late, and the bill comes last.
LAST_DELTA_TO_DONES_S: Final = 0.020
DONES_TO_RESPONSE_DONE_S: Final = 0.005
RESPONSE_DONE_TO_RATE_LIMITS_S: Final = 0.030
_REASONING_TOKENS: Final = 12

CutReason = Literal["turn_detected", "client_cancelled"]
Status = Literal["in_progress", "completed", "cancelled", "incomplete", "failed"]


class Response:
    """One response.

    Args: step, what it does; options, what it may use; cached, how much of its input was read before; conversation,
    where its items go (they stay out of it if the options say so).
    """

    def __init__(
        self,
        step: Step,
        options: ResponseOptions,
        *,
        cached: Tokens,
        conversation: Conversation,
        ids: Ids,
        config: SimulatorConfig,
    ) -> None:
        self.id = ids.new("resp")
        self.options = options
        self.is_done = False
        self._step = step
        self._cached = cached
        self._conversation = conversation if options.is_in_conversation else None
        self._ids = ids
        self._config = config
        self._meter = Meter(options.max_output_tokens)
        self._opened: list[Output] = []

    def stream(self) -> Track:
        """The whole response, if nobody cuts it."""
        yield {"type": "response.created", "response": self._object("in_progress", None)}
        yield FIRST_WORDS_SHARE * self._config.first_audio_delay_s
        if isinstance(self._step, Fail):
            error = {"type": self._step.kind, "code": self._step.code, "message": self._step.message}
            yield self._done("failed", {"type": "failed", "error": error})
        else:
            yield from self._produce(self._step)
        yield RESPONSE_DONE_TO_RATE_LIMITS_S
        yield rate_limits(self._tokens_used())

    def cut(self, reason: CutReason) -> Iterator[Json]:
        """Everything that is still open is closed as far as it got, and the response is cancelled."""
        yield from self._close_items()
        yield self._done("cancelled", {"type": "cancelled", "reason": reason})
        yield rate_limits(self._tokens_used())

    def _produce(self, step: Reply | ToolCall | Several | Incomplete | Silence) -> Track:
        if self.options.is_reasoning:
            self._meter.think(_REASONING_TOKENS)
        for output in self._outputs(step):
            yield from self._open(output)
            yield from output.stream(self._meter)
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
            "usage": None if status in ("in_progress", "failed") else self._usage(),
            "metadata": self.options.metadata,
        }

    def _usage(self) -> Json:
        reasoning = self._meter.reasoning if self.options.is_reasoning else None
        return usage_object(self.options.input_tokens, self._cached, self._meter.tokens, reasoning)

    def _tokens_used(self) -> int:
        return self.options.input_tokens.total + self._meter.tokens.total

    def _outputs(self, step: Reply | ToolCall | Several | Incomplete | Silence) -> Iterator[Output]:
        match step:
            case Reply(clip):
                yield self._message(0, clip, "final_answer")
            case ToolCall():
                yield FunctionCall(self.id, 0, step, ids=self._ids)
            case Several(items):
                yield from self._several(items)
            case Incomplete(clip, spoken_ms):
                yield self._message(0, clip, "final_answer", spoken_ms)
            case Silence():
                return
            case _:
                assert_never(step)

    def _several(self, items: tuple[Reply | ToolCall, ...]) -> Iterator[Output]:
        for index, item in enumerate(items):
            if isinstance(item, ToolCall):
                yield FunctionCall(self.id, index, item, ids=self._ids)
            else:
                is_aside = any(isinstance(later, ToolCall) for later in items[index:])
                yield self._message(index, item.clip, "commentary" if is_aside else "final_answer")

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
