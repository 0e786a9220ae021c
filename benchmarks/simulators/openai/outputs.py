"""The output items of a response: a spoken message, a written one, a function call.

Each tells its own part of the event stream, from its first delta to its last `done`; what is said around all items
(added, done, usage) is the response's. A message's transcript runs ahead of its audio, as the model writes faster than
it speaks.
"""

import base64
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Final, Literal

from benchmarks import speech
from benchmarks.simulators.openai.audio import BYTES_PER_MS, FormatName, clip_audio
from benchmarks.simulators.openai.config import SimulatorConfig
from benchmarks.simulators.openai.conversation import Entry
from benchmarks.simulators.openai.events import Json, Track
from benchmarks.simulators.openai.ids import Ids
from benchmarks.simulators.openai.script import ToolCall
from benchmarks.simulators.openai.usage import Meter

ItemStatus = Literal["in_progress", "completed", "incomplete"]
Phase = Literal["commentary", "final_answer"]

TRANSCRIPT_LEAD_MS: Final = 1000  # of audio that the transcript is ahead of
FIRST_WORDS_SHARE: Final = 0.7  # of the delay to the first audio, when the first words come
TEXT_PAUSE_S: Final = 0.01  # between deltas of text
ARGUMENT_CHARACTERS: Final = 12  # in each delta of a call's arguments


class Output(ABC):
    """One output item while it is produced."""

    def __init__(self, response_id: str, output_index: int, item_id: str) -> None:
        self.item_id = item_id
        self.output_index = output_index
        self.is_complete = False  # all of it was produced
        self.is_closed = False  # its last event was sent
        self._at: Json = {"response_id": response_id, "item_id": item_id, "output_index": output_index}

    @abstractmethod
    def entry(self) -> Entry:
        """The item as the conversation takes it in, still empty. Asked for once."""

    @abstractmethod
    def item(self, status: ItemStatus) -> Json:
        """The item as it now is."""

    @abstractmethod
    def stream(self, meter: Meter) -> Track:
        """Its events up to the last delta, or to where the meter ends it."""

    @abstractmethod
    def closing(self) -> Iterator[Json]:
        """The `done` events of its content, for as much of it as there is."""


class Message(Output):
    """What spoken and written messages share: the assistant's role, a phase, one content part."""

    def __init__(self, response_id: str, output_index: int, ids: Ids, phase: Phase | None) -> None:
        super().__init__(response_id, output_index, ids.new("item"))
        self._at["content_index"] = 0
        self._ids = ids
        self._phase = phase
        self._text = ""  # sent so far
        self._has_part = False

    def item(self, status: ItemStatus) -> Json:
        content = [self._content()] if self._has_part and status != "in_progress" else []
        message = {"id": self.item_id, "type": "message", "status": status, "role": "assistant", "content": content}
        return {**message, "phase": self._phase} if self._phase else message

    @abstractmethod
    def _content(self) -> Json: ...

    def _part(self, event: Literal["added", "done"], part: Json) -> Json:
        self._has_part = True
        return {"type": f"response.content_part.{event}", **self._at, "part": part}

    def _text_delta(self, event: str, delta: str) -> Json:
        self._text += delta
        return {"type": event, **self._at, "delta": delta, "obfuscation": self._ids.obfuscation(delta)}


class SpokenMessage(Message):
    """A clip, spoken in the session's format, with its transcript.

    Args: spoken_ms, where it breaks off; None lets it end.
    """

    def __init__(
        self,
        response_id: str,
        output_index: int,
        clip: speech.Clip,
        *,
        ids: Ids,
        phase: Phase | None,
        audio_format: FormatName,
        config: SimulatorConfig,
        spoken_ms: int | None,
    ) -> None:
        super().__init__(response_id, output_index, ids, phase)
        self._format: FormatName = audio_format
        self._config = config
        self._audio = clip_audio(clip.name, audio_format)
        self._is_whole = spoken_ms is None
        if spoken_ms is not None:
            self._audio = self._audio[: spoken_ms * BYTES_PER_MS[audio_format]]
        end_ms = math.inf if spoken_ms is None else spoken_ms
        self._words = [(word.start_ms, word.text) for word in clip.words if word.start_ms < end_ms]
        self._entry = Entry(self.item("in_progress"), audio_format=audio_format)

    def entry(self) -> Entry:
        return self._entry

    def stream(self, meter: Meter) -> Track:
        yield self._part("added", {"type": "audio", "transcript": ""})
        position_ms = 0.0
        for audio in self._chunks():
            chunk_ms = len(audio) / BYTES_PER_MS[self._format]
            yield from self._transcript(position_ms + TRANSCRIPT_LEAD_MS, meter)
            if position_ms == 0:
                yield (1 - FIRST_WORDS_SHARE) * self._config.first_audio_delay_s
            if meter.is_spent or not meter.admits(audio_ms=chunk_ms):
                return
            self._entry.extend(audio)
            delta = base64.b64encode(audio).decode()
            yield {"type": "response.output_audio.delta", **self._at, "delta": delta}
            yield chunk_ms / 1000 / self._config.pace
            position_ms += chunk_ms
        yield from self._transcript(math.inf, meter)
        self.is_complete = self._is_whole and not meter.is_spent

    def closing(self) -> Iterator[Json]:
        if self._has_part:
            yield {"type": "response.output_audio.done", **self._at}
            yield {"type": "response.output_audio_transcript.done", **self._at, "transcript": self._text}
            yield self._part("done", {"type": "audio", "transcript": self._text})

    def _content(self) -> Json:
        return {"type": "output_audio", "transcript": self._text}

    def _chunks(self) -> Iterator[bytes]:
        sizes_ms = chain(self._config.delta_ms, repeat(self._config.delta_ms[-1]))
        start = 0
        while start < len(self._audio):
            end = start + next(sizes_ms) * BYTES_PER_MS[self._format]
            yield self._audio[start:end]
            start = end

    def _transcript(self, until_ms: float, meter: Meter) -> Iterator[Json]:
        """The words that begin before this point of the audio."""
        while self._words and self._words[0][0] < until_ms:
            _, word = self._words.pop(0)
            delta = f" {word}" if self._text else word
            if not meter.admits(text=delta):
                return
            yield self._text_delta("response.output_audio_transcript.delta", delta)


class TextMessage(Message):
    """The same words, written: for sessions and responses whose output is text."""

    def __init__(self, response_id: str, output_index: int, text: str, *, ids: Ids, phase: Phase | None) -> None:
        super().__init__(response_id, output_index, ids, phase)
        self._words = text.split()

    def entry(self) -> Entry:
        return Entry(self.item("in_progress"))

    def stream(self, meter: Meter) -> Track:
        yield self._part("added", {"type": "text", "text": ""})
        for word in self._words:
            delta = f" {word}" if self._text else word
            if not meter.admits(text=delta):
                return
            yield self._text_delta("response.output_text.delta", delta)
            yield TEXT_PAUSE_S
        self.is_complete = True

    def closing(self) -> Iterator[Json]:
        if self._has_part:
            yield {"type": "response.output_text.done", **self._at, "text": self._text}
            yield self._part("done", {"type": "text", "text": self._text})

    def _content(self) -> Json:
        return {"type": "output_text", "text": self._text}


class FunctionCall(Output):
    """A call that the client is to carry out; its arguments arrive piece by piece."""

    def __init__(self, response_id: str, output_index: int, call: ToolCall, *, ids: Ids) -> None:
        super().__init__(response_id, output_index, ids.new("item"))
        self._call = call
        self._call_id = ids.new_call()
        self._ids = ids
        self._arguments = ""  # sent so far
        self._at["call_id"] = self._call_id

    def entry(self) -> Entry:
        return Entry(self.item("in_progress"))

    def item(self, status: ItemStatus) -> Json:
        arguments = "" if status == "in_progress" else self._arguments
        call = {"name": self._call.name, "call_id": self._call_id, "arguments": arguments}
        return {"id": self.item_id, "type": "function_call", "status": status, **call}

    def stream(self, meter: Meter) -> Track:
        for start in range(0, len(self._call.arguments), ARGUMENT_CHARACTERS):
            delta = self._call.arguments[start : start + ARGUMENT_CHARACTERS]
            if not meter.admits(text=delta):
                return
            self._arguments += delta
            obfuscation = self._ids.obfuscation(delta)
            event = "response.function_call_arguments.delta"
            yield {"type": event, **self._at, "delta": delta, "obfuscation": obfuscation}
            yield TEXT_PAUSE_S
        self.is_complete = True

    def closing(self) -> Iterator[Json]:
        done = {"name": self._call.name, "arguments": self._arguments}
        yield {"type": "response.function_call_arguments.done", **self._at, **done}
