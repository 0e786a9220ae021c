"""What is known about a simulated call when it is over, and the record that is kept until then.

`CallReport` is what a load test adds up and prints as JSON; the two sound tracks ride along outside the JSON, for WAV
files. All ms and s count from the call's answer: when its first verb runs, or when a direct stream is dialled.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final, Literal

import msgspec
import numpy as np

from benchmarks.simulators.twilio.playout import BYTES_PER_S, Run, track_of
from proto import mulaw

# api: a REST request ended it; redirected: one took the call elsewhere, which ends a stream but no call; unanswered:
# nobody took an outbound call; network: the stream's socket vanished.
EndedBy = Literal[
    "caller",
    "relay",
    "time_limit",
    "hangup_verb",
    "rejected",
    "error",
    "api",
    "redirected",
    "unanswered",
    "network",
]

MAX_WARNINGS: Final = 100  # Twilio itself logs one per stream; beyond a hundred they say nothing new
_QUIET_LEVEL: Final = 256  # of 32767: line noise and dither stay below, the first syllable does not


class StreamWarning(msgspec.Struct, frozen=True, kw_only=True):
    """What Twilio would have written into its debugger."""

    code: int
    detail: str
    at_ms: int


class DialReport(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One number that was dialled. `heard_track` is not part of its JSON."""

    number: str
    call_sid: str  # of the leg
    status: str  # its last status
    duration_ms: int  # bridged to the caller
    staff_heard_ms: int  # of the caller, loud enough to be speech
    caller_heard_ms: int  # of the staff member, likewise

    @property
    def heard_track(self) -> bytes:
        """μ-law of all that the staff member heard, from the answer on; b"" in a report read from JSON."""
        track: bytes = self.__dict__.get("heard_track_", b"")
        return track


class RecordingReport(msgspec.Struct, frozen=True, kw_only=True):
    """One recording."""

    sid: str
    status: str  # completed, absent or failed
    duration_ms: int


class CallReport(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One call. `heard_track` and `sent_track` are not part of its JSON."""

    call_sid: str
    stream_sid: str | None  # of the last stream; None when the relay opened none
    ended_by: EndedBy
    error: str | None  # what went wrong, with the last try's HTTP status and Twilio's code
    duration_ms: int
    frames_sent: int
    heard_ms: int
    first_audio_ms: float | None  # from the first `start` to the first audible sample
    marks_sent: int  # by the relay
    marks_echoed: int
    clears: int
    close_code: int | None  # of the last stream's WebSocket
    warnings: tuple[StreamWarning, ...]
    unsupported_verbs: tuple[str, ...]
    said: tuple[str, ...]  # texts of <Say>, which this simulator does not speak
    http_statuses: tuple[int, ...]  # of all requests, in the order of their answers
    status: str = "completed"  # the call's last status, as Twilio names it
    frames_lost: int = 0  # not sent: lost on the way to Twilio, or suppressed
    marks_lost: int = 0  # echoes that the network lost
    played: tuple[str, ...] = ()  # URLs and keys of <Play>
    gathered: tuple[str, ...] = ()  # keys that each <Gather> got
    dials: tuple[DialReport, ...] = ()
    recordings: tuple[RecordingReport, ...] = ()
    queued: tuple[str, ...] = ()  # names of the queues the caller waited in, with the result

    @cached_property
    def heard_track(self) -> bytes:
        """μ-law of all that the caller heard, laid out on the call's clock; b"" in a report read from JSON."""
        return self._laid_out("heard")

    @cached_property
    def sent_track(self) -> bytes:
        """μ-law of all that the caller said, laid out on the call's clock; b"" in a report read from JSON."""
        return self._laid_out("sent")

    def _laid_out(self, which: str) -> bytes:
        track: bytes = self.__dict__.get(f"lay_out_{which}", bytes)()
        return track


@dataclass(slots=True)
class CallRecord:
    """What a call has come to so far; one for all streams and webhooks of a call."""

    call_sid: str
    zero_s: float  # the call's answer, on the monotonic clock
    stream_sid: str | None = None
    stream_start_s: float | None = None  # when the first `start` was sent
    error: str | None = None
    close_code: int | None = None
    frames_sent: int = 0
    marks_sent: int = 0
    marks_echoed: int = 0
    clears: int = 0
    warnings: list[StreamWarning] = field(default_factory=list)
    unsupported_verbs: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    frames_lost: int = 0
    marks_lost: int = 0
    played: list[str] = field(default_factory=list)
    gathered: list[str] = field(default_factory=list)
    dials: list[DialReport] = field(default_factory=list)
    recordings: list[RecordingReport] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    http_statuses: list[int] = field(default_factory=list)
    heard: list[Run] = field(default_factory=list)
    sent: list[Run] = field(default_factory=list)

    def at_ms(self, now: float) -> int:
        """The call's clock."""
        return round((now - self.zero_s) * 1000)

    @property
    def heard_bytes(self) -> int:
        """Of the streams that are over."""
        return sum(len(run.audio) for run in self.heard)

    def warn(self, code: int, detail: str, now: float) -> None:
        """Note a warning; only the first `MAX_WARNINGS` are kept."""
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(StreamWarning(code=code, detail=detail, at_ms=self.at_ms(now)))

    def report(self, ended_by: EndedBy, now: float, status: str = "completed") -> CallReport:
        """The call as it stands, ended now."""
        report = CallReport(
            call_sid=self.call_sid,
            stream_sid=self.stream_sid,
            ended_by=ended_by,
            error=self.error,
            duration_ms=self.at_ms(now),
            frames_sent=self.frames_sent,
            heard_ms=mulaw.duration_ms(self.heard_bytes),
            first_audio_ms=self._first_audio_ms(),
            marks_sent=self.marks_sent,
            marks_echoed=self.marks_echoed,
            clears=self.clears,
            close_code=self.close_code,
            warnings=tuple(self.warnings),
            unsupported_verbs=tuple(self.unsupported_verbs),
            said=tuple(self.said),
            http_statuses=tuple(self.http_statuses),
            status=status,
            frames_lost=self.frames_lost,
            marks_lost=self.marks_lost,
            played=tuple(self.played),
            gathered=tuple(self.gathered),
            dials=tuple(self.dials),
            recordings=tuple(self.recordings),
            queued=tuple(self.queued),
        )
        # Beside the fields, so that encoding the report does not put minutes of base64 into it; and not before somebody
        # asks, because each day of silence is 691 MB of it.
        for which, runs in (("heard", self.heard), ("sent", self.sent)):
            lay_out = partial(track_of, list(runs), now - self.zero_s, zero_s=self.zero_s)
            report.__dict__[f"lay_out_{which}"] = lay_out
        return report

    def _first_audio_ms(self) -> float | None:
        for run in self.heard:
            loud = _LOUD_BYTE.search(run.audio)
            if loud is not None and self.stream_start_s is not None:
                return round((run.start_s + loud.start() / BYTES_PER_S - self.stream_start_s) * 1000, 3)
        return None


def _loud_byte() -> re.Pattern[bytes]:
    """Matches one sample that can be heard: a search at C speed, exact to the sample."""
    magnitudes = np.abs(mulaw.decode(bytes(range(256))).astype(np.int32))
    loud = np.flatnonzero(magnitudes > _QUIET_LEVEL).astype(np.uint8).tobytes()
    return re.compile(b"[" + re.escape(loud) + b"]")


_LOUD_BYTE: Final = _loud_byte()
