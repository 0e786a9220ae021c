"""One simulated conversation, as both ends of the tool know it: what the agent said, what of it the caller heard.

Pure: no socket, no clock. The upstream's side and the caller's side of a call live in one process and on one clock, so
what one writes here the other completes. All audio of a response has one byte value, its *colour*: whatever a relay
cuts or joins, each byte that arrives tells which response it is from.
"""

import binascii
from array import array
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from benchmarks.load.ledger import FrameLedger, base64_of
from proto import mulaw

COLOURS: Final = 250  # more responses than a call is likely to have; then they begin anew
SLACK_S: Final = 0.5  # after a response should have sounded, before a byte of it counts as lost


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """The agent's audio of one load, in bytes of μ-law.

    sent: by the upstream, in responses whose time to sound is over; heard: of these, by the callers; cleared: not
    heard, but of responses the caller spoke over; lost: not heard, and should have been; extra: heard more often than
    sent, or never sent; padding: digital silence that the relay has put in, to fill a frame for example.
    """

    sent: int
    heard: int
    cleared: int
    lost: int
    extra: int
    padding: int


class _Response:
    def __init__(self) -> None:
        self.sent_bytes = 0
        self.heard_bytes = 0
        self.first_sent_at = 0.0
        self.is_heard = False
        self.is_interrupted = False


class Talk:
    """What was said in one call. `ledger`: the caller's frames, which arrive at the upstream.

    Attributes: first_audio_ms, for each response, from its first delta to its first media message; clear_ms, for each
    barge-in, from `speech_started` to `clear`; barge_ins, how many there were.
    """

    def __init__(self, ledger: FrameLedger) -> None:
        self.ledger = ledger
        self.first_audio_ms = array("d")
        self.clear_ms = array("d")
        self.barge_ins = 0
        self._unknown_bytes = self._padding_bytes = 0
        self._responses: list[_Response] = []
        self._barged_in_at: float | None = None  # and no `clear` since

    def begin_response(self) -> None:
        """What is said from now on is another response."""
        self._responses.append(_Response())

    def say(self, length: int, now: float) -> bytes:
        """So many bytes of the response's audio, base64, about to be sent."""
        response = self._responses[-1]
        response.first_sent_at = response.first_sent_at or now
        response.sent_bytes += length
        return _audio(_colour(len(self._responses) - 1), length)

    def barge_in(self, now: float) -> None:
        """The caller speaks while the agent sounds: `speech_started` is about to be sent."""
        self._responses[-1].is_interrupted = True
        self.barge_ins += 1
        self._barged_in_at = now

    def hear(self, payload: str, now: float) -> int:
        """Audio reached the caller, base64. Returns how many bytes."""
        audio = binascii.a2b_base64(payload)
        if audio and audio.count(audio[0]) == len(audio):
            self._hear_colour(audio[0], len(audio), now)
        else:
            for colour in set(audio):
                self._hear_colour(colour, audio.count(colour), now)
        return len(audio)

    def clear(self, now: float) -> None:
        """`clear` reached the caller."""
        if self._barged_in_at is not None:
            self.clear_ms.append((now - self._barged_in_at) * 1000)
            self._barged_in_at = None

    def voice(self, now: float) -> Voice:
        """What became of the audio so far."""
        over = [response for response in self._responses if response.is_interrupted or _has_sounded(response, now)]
        missing = [(response.sent_bytes - response.heard_bytes, response.is_interrupted) for response in over]
        return Voice(
            sent=sum(response.sent_bytes for response in over),
            heard=sum(response.heard_bytes for response in over),
            cleared=sum(max(0, count) for count, is_interrupted in missing if is_interrupted),
            lost=sum(max(0, count) for count, is_interrupted in missing if not is_interrupted),
            extra=sum(max(0, -count) for count, _ in missing) + self._unknown_bytes,
            padding=self._padding_bytes,
        )

    def _hear_colour(self, colour: int, length: int, now: float) -> None:
        """The youngest response of this colour; earlier ones of the same have long sounded."""
        if colour == mulaw.SILENCE_BYTE:
            self._padding_bytes += length
            return
        newest = len(self._responses) - 1
        index = newest - (newest - (colour - 1)) % COLOURS
        if colour == 0 or colour > COLOURS or index < 0:
            self._unknown_bytes += length
            return
        response = self._responses[index]
        response.heard_bytes += length
        if not response.is_heard:
            response.is_heard = True
            self.first_audio_ms.append((now - response.first_sent_at) * 1000)


def total(voices: Iterable[Voice]) -> Voice:
    """All calls together."""
    each = list(voices)
    return Voice(**{name: sum(getattr(voice, name) for voice in each) for name in Voice.__struct_fields__})


def _has_sounded(response: _Response, now: float) -> bool:
    sounds_s = response.sent_bytes / mulaw.SAMPLE_RATE_HZ
    return response.sent_bytes > 0 and response.first_sent_at + sounds_s + SLACK_S < now


def _colour(response: int) -> int:
    return response % COLOURS + 1


@lru_cache(maxsize=2048)
def _audio(colour: int, length: int) -> bytes:
    return base64_of(bytes([colour]) * length)
