"""The caller's turns: heard, committed, transcribed, answered; and the silence when none comes.

The input buffer says where turns begin and end; here that becomes events, conversation items and responses. Two things
happen beside: a second model writes down what was said, on its own account and in its own time, and a session that
asked for it is woken when the caller has been silent for long after a response.
"""

import math
import re
from collections.abc import Callable
from typing import Final

from benchmarks.simulators.openai.checks import RequestError
from benchmarks.simulators.openai.client_events import MOST_AUDIO_BYTES
from benchmarks.simulators.openai.conversation import Entry
from benchmarks.simulators.openai.events import Json, Track
from benchmarks.simulators.openai.input_audio import SHORTEST_COMMIT_MS, InputAudio, Started, Stopped, Turn
from benchmarks.simulators.openai.responding import Responding
from benchmarks.simulators.openai.responses import Response
from benchmarks.simulators.openai.script import FailedTranscription
from benchmarks.simulators.openai.session_config import TurnDetection, turn_detection
from benchmarks.simulators.openai.stage import Stage
from benchmarks.simulators.openai.usage import INPUT_MS_PER_TOKEN, text_tokens

RE_ENGAGE: Final = "The user has been quiet for a while. Say something short that brings them back."
_WORD_PAUSE_S: Final = 0.02
_BILLED_BY_DURATION: Final = ("gpt-realtime-whisper", "whisper-1")
_NOT_STREAMING: Final = ("whisper-1",)


class Turns:
    """The caller's side of one session."""

    def __init__(self, stage: Stage, responding: Responding) -> None:
        self._stage = stage
        self._responding = responding
        self._input = InputAudio(stage.ids)
        self._untranscribed: list[Track] = []  # until the response that answers the turn is done
        self._silence: Track = iter(())
        self._is_silence_due = False  # but there was no audio to show for it
        self._has_been_woken = False  # since the caller last spoke
        responding.when_created = self._break_silence
        responding.when_done = self._response_done

    def configure(self) -> None:
        """Takes the session's settings over. A turn under way goes on, unless its format or its VAD is gone."""
        self._input.configure(self._stage.settings["audio"]["input"]["format"]["type"], self._detection)
        if self._idle_timeout_ms is None:
            self._break_silence()

    def append(self, audio: bytes) -> None:
        """`input_audio_buffer.append`. Raises: RequestError for more than the service takes at once."""
        if len(audio) > MOST_AUDIO_BYTES:
            message = f"Invalid 'audio': at most {MOST_AUDIO_BYTES} bytes may be appended at once."
            raise RequestError("invalid_value", message, param="audio")
        for change in self._input.append(audio):
            match change:
                case Started(item_id, audio_start_ms):
                    self._speech_started(item_id, audio_start_ms)
                case Stopped(turn, audio_end_ms):
                    self._speech_stopped(turn, audio_end_ms)
        if self._is_silence_due:
            self._wake()

    @property
    def is_idle(self) -> bool:
        """Whether silence, however long, changes nothing: nobody speaks, and nobody waits for a silence to show."""
        return self._input.is_idle and not self._is_silence_due

    def append_silence(self, audio: bytes, times: int) -> None:
        """What `append`, so many times, does while `is_idle`. Raises: ValueError if it is no silence."""
        self._input.append_silence(audio, times)

    def commit(self) -> None:
        """`input_audio_buffer.commit`. Raises: RequestError below 100 ms."""
        self._add(self._input.commit(), self._stage.performance.next_transcript)
        self._transcribe_unanswered()

    def clear(self) -> None:
        """`input_audio_buffer.clear`."""
        self._input.clear()
        self._stage.emit({"type": "input_audio_buffer.cleared"})

    @property
    def _detection(self) -> TurnDetection | None:
        return turn_detection(self._stage.settings)

    @property
    def _idle_timeout_ms(self) -> int | None:
        return self._detection.idle_timeout_ms if self._detection else None

    # Speech

    def _speech_started(self, item_id: str, audio_start_ms: int) -> None:
        self._break_silence()
        self._has_been_woken = False
        started = {"audio_start_ms": audio_start_ms, "item_id": item_id}
        self._stage.emit({"type": "input_audio_buffer.speech_started", **started})
        if self._detection is not None and self._detection.interrupt_response:
            self._responding.interrupt()

    def _speech_stopped(self, turn: Turn, audio_end_ms: int) -> None:
        stopped = {"audio_end_ms": audio_end_ms, "item_id": turn.item_id}
        self._stage.emit({"type": "input_audio_buffer.speech_stopped", **stopped})
        self._add(turn, self._stage.performance.next_transcript)
        if self._detection is not None and self._detection.create_response:
            self._responding.create_automatically()
        self._transcribe_unanswered()

    def _add(self, turn: Turn, heard: Callable[[], str | FailedTranscription]) -> None:
        """The turn joins the conversation. Args: heard, asked for the transcript if there is to be one."""
        content = {"type": "input_audio", "transcript": None}
        item = {"id": turn.item_id, "type": "message", "status": "completed", "role": "user", "content": [content]}
        entry = Entry(item, turn.audio, turn.audio_format)
        previous = self._stage.conversation.add(entry)
        committed = {"previous_item_id": previous, "item_id": turn.item_id}
        self._stage.emit({"type": "input_audio_buffer.committed", **committed})
        self._stage.announce(item, previous)
        settings = self._stage.settings["audio"]["input"]["transcription"]
        if settings is not None:
            self._transcribe(settings["model"], entry, heard())

    # Silence

    def _response_done(self, response: Response) -> None:
        """The silence begins when its audio has been played; a client's buffer is not seen, so this is an estimate."""
        self._start_transcriptions(delay_s=0.0)
        self._break_silence()
        may_wake = self._stage.config.idle_timeout_repeats or not self._has_been_woken
        if self._idle_timeout_ms is not None and may_wake and not self._input.is_speech:
            self._silence = self._silent_for((response.audio_ms + self._idle_timeout_ms) / 1000)
            self._stage.timeline.start(self._silence, self._stage.now)

    def _silent_for(self, seconds: float) -> Track:
        yield seconds
        self._wake()

    def _break_silence(self) -> None:
        self._stage.timeline.stop(self._silence)
        self._is_silence_due = False

    def _wake(self) -> None:
        """The model speaks up, once there is a silence to show: an ear that is given nothing does not know of one."""
        self._is_silence_due = self._input.held_ms < SHORTEST_COMMIT_MS
        if self._is_silence_due:
            return
        self._has_been_woken = True
        turn, start_ms, end_ms = self._input.take_silence(self._idle_timeout_ms or 0)
        stretch = {"item_id": turn.item_id, "audio_start_ms": start_ms, "audio_end_ms": end_ms}
        self._stage.emit({"type": "input_audio_buffer.timeout_triggered", **stretch})
        content = {"type": "input_text", "text": RE_ENGAGE}
        message = {"id": self._stage.ids.new("item"), "type": "message", "status": "completed", "role": "system"}
        self._stage.add(Entry({**message, "content": [content]}))
        self._add(turn, lambda: "")
        self._responding.create_automatically()
        self._transcribe_unanswered()

    # Transcription

    def _transcribe(self, model: str, entry: Entry, heard: str | FailedTranscription) -> None:
        if self._stage.faults.failed_transcription:
            heard = FailedTranscription()
        track = transcription(model, entry, heard, self._stage)
        if self._stage.config.transcription_when == "before":
            self._stage.timeline.start(_without_pauses(track), -math.inf)  # now, before anything else that is due
            self._stage.play(self._stage.now)
        else:
            self._untranscribed.append(track)

    def _transcribe_unanswered(self) -> None:
        """What is not to wait for the end of a response begins after a while."""
        if self._stage.config.transcription_when != "after" or self._responding.active is None:
            self._start_transcriptions(self._stage.config.transcription_delay_s)

    def _start_transcriptions(self, delay_s: float) -> None:
        for track in self._untranscribed:
            self._stage.timeline.start(track, self._stage.now + delay_s)
        self._untranscribed = []


def transcription(model: str, entry: Entry, heard: str | FailedTranscription, stage: Stage) -> Track:
    """The events of one turn's transcription: its words, unless the model does not stream, then the whole text."""
    prefix = "conversation.item.input_audio_transcription"
    at = {"item_id": entry.item["id"], "content_index": 0}
    if isinstance(heard, FailedTranscription):
        error = {"type": heard.kind, "code": heard.code, "message": heard.message, "param": None}
        yield {"type": f"{prefix}.failed", **at, "error": error}
        return
    for word in [] if model in _NOT_STREAMING else re.findall(r"\s*\S+", heard):
        yield {"type": f"{prefix}.delta", **at, "delta": word, "obfuscation": stage.ids.obfuscation(word)}
        yield _WORD_PAUSE_S
    stage.conversation.transcribe(entry.item["id"], heard)
    usage = _transcription_usage(model, entry.audio_ms, heard)
    yield {"type": f"{prefix}.completed", **at, "transcript": heard, "usage": usage}


def _without_pauses(track: Track) -> Track:
    return (step for step in track if not isinstance(step, int | float))


def _transcription_usage(model: str, audio_ms: int, text: str) -> Json:
    if model in _BILLED_BY_DURATION:
        return {"type": "duration", "seconds": -(-audio_ms // 1000)}
    heard, written = -(-audio_ms // INPUT_MS_PER_TOKEN), text_tokens(text)
    details = {"audio_tokens": heard, "text_tokens": 0}
    counts = {"input_tokens": heard, "output_tokens": written, "total_tokens": heard + written}
    return {"type": "tokens", **counts, "input_token_details": details}
