"""The telephone's end of a load: calls that send a frame every 20 ms as Twilio does, and hear what comes back.

An `EchoCaller` takes each frame back and echoes marks at once. A `ListeningCaller` hears an agent speak
(benchmarks.load.conversation): it plays the audio out, so that marks come back when they would, and knows `clear`.

A frame is joined from four parts that are masked already: the opening, the sequence number (the caller's own), what all
callers say in this round (chunk, timestamp, the frame's number), and the caller's noise with its stream SID. The length
only changes when a number grows a digit. Numbers are written as Twilio writes them, without leading zeros.
"""

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

import msgspec

from benchmarks.load.ledger import FrameLedger, name_base64
from benchmarks.load.talk import Talk
from benchmarks.load.wire import Wire, header, masked
from proto import mulaw
from proto.websocket import Role

MAX_ERROR_CHARACTERS: Final = 300
_CONNECTED: Final = b'{"event":"connected","protocol":"Call","version":"1.0.0"}'
_START: Final = (
    b'{"event":"start","sequenceNumber":"1","start":{"accountSid":"AC%032x","streamSid":"%s","callSid":"CA%032x",'
    b'"tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},'
    b'"customParameters":{}},"streamSid":"%s"}'
)
_OPENING: Final = b'{"event":"media","sequenceNumber":"'
_ROUND: Final = b'","media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%s'
_CLOSING: Final = b'%s"},"streamSid":"%s"}'
_MARK: Final = b'{"event":"mark","sequenceNumber":"%d","streamSid":"%s","mark":{"name":%s}}'
_STOP: Final = (
    b'{"event":"stop","sequenceNumber":"%d","stop":{"accountSid":"AC%032x","callSid":"CA%032x"},"streamSid":"%s"}'
)


class _Media(msgspec.Struct, gc=False):
    payload: str


class _Mark(msgspec.Struct, gc=False):
    name: msgspec.Raw  # echoed as it was written


class _Said(msgspec.Struct, gc=False):
    """What a relay may say. Its kind is told by what it carries; only `clear` carries nothing."""

    event: str
    media: _Media | None = None
    mark: _Mark | None = None


_decode: Callable[[bytes], _Said] = msgspec.json.Decoder(_Said).decode


class Rounds:
    """The part of a frame that all callers share, masked; made once for each frame number."""

    def __init__(self) -> None:
        self._number = -1
        self._text = b""

    def text(self, number: int) -> bytes:
        """For the frame with this number, counted from 0."""
        if number != self._number:
            self._number = number
            self._text = masked(_ROUND % (number + 1, number * mulaw.FRAME_MS, name_base64(number)))
        return self._text


class Caller:
    """One call as Twilio carries it; the kinds differ in what they do with what they hear."""

    def __init__(self, number: int, ledger: FrameLedger, rounds: Rounds) -> None:
        self.number, self.ledger, self._rounds = number, ledger, rounds
        self._stream_sid = b"MZ%032x" % number
        self._closing = masked(_CLOSING % (ledger.tail_base64.encode(), self._stream_sid))
        self._opening, self._opening_for = b"", 0  # with the header for a message of that length
        self._sequence = 1  # of the last message sent; `connected` carries none
        self._wire: Wire | None = None  # as long as the call lasts
        self._is_over = False  # we have said `stop`
        self.marks_echoed = 0
        self.error: str | None = None

    @property
    def is_on(self) -> bool:
        """Whether the call has begun and not ended."""
        return self._wire is not None

    def begin(self, wire: Wire, received: bytes) -> None:
        """The stream is open: say so, and be on the telephone. received: bytes that followed the handshake."""
        self._wire = wire
        wire.begin(received)
        wire.send_text(_CONNECTED)
        wire.send_text(_START % (0, self._stream_sid, self.number, self._stream_sid))

    def send_frame(self, now: float) -> None:
        """The next 20 ms of voice; nothing when the call has ended."""
        if self._wire is None:
            return
        self._sequence += 1
        sequence = masked(b"%d" % self._sequence)
        text = self._rounds.text(self.ledger.send(now))
        length = len(_OPENING) + len(sequence) + len(text) + len(self._closing)
        if length != self._opening_for:
            self._opening, self._opening_for = header(length, Role.CLIENT) + masked(_OPENING), length
        self._wire.write(b"".join((self._opening, sequence, text, self._closing)))

    def hang_up(self) -> None:
        """Say `stop` and goodbye, as Twilio does."""
        if self._wire is not None:
            self._is_over = True
            self._sequence += 1
            self._wire.send_text(_STOP % (self._sequence, 0, self.number, self._stream_sid))
            self._wire.close()

    def let_go(self) -> None:
        """Be off the telephone, whatever the relay does."""
        self._is_over = True
        if self._wire is not None:
            self._wire.end("")

    def fail(self, why: str) -> None:
        """The call could not begin, or went wrong."""
        self.error = f"call {self.number}: {why}"[:MAX_ERROR_CHARACTERS]

    def on_end(self, why: str) -> None:
        """The wire has ended."""
        self._wire = None
        if not self._is_over:
            self.fail(f"the relay ended it: {why or 'it said goodbye'}")

    def on_text(self, raw: bytes) -> None:
        """The relay said something."""
        now = perf_counter()
        said = _decode(raw)
        if said.media is not None:
            self._play(said.media.payload, now)
        elif said.mark is not None:
            self._take_mark(bytes(said.mark.name), now)
        elif said.event == "clear":
            self._clear(now)
        else:
            raise ValueError(f"Media Streams knows no such message from a relay: {said.event!r}")

    def _play(self, payload: str, now: float, /) -> None:
        raise NotImplementedError

    def _take_mark(self, name: bytes, now: float, /) -> None:
        raise NotImplementedError

    def _clear(self, now: float, /) -> None:
        raise NotImplementedError

    def _echo_mark(self, name: bytes) -> None:
        if self._wire is not None:
            self.marks_echoed += 1
            self._sequence += 1
            self._wire.send_text(_MARK % (self._sequence, self._stream_sid, name))


class EchoCaller(Caller):
    """Gets its own frames back. Plays nothing, so a mark has nothing to wait for."""

    def _play(self, payload: str, now: float) -> None:
        self.ledger.arrive(payload, now)

    def _take_mark(self, name: bytes, _now: float) -> None:
        self._echo_mark(name)

    def _clear(self, _now: float) -> None:
        pass  # nothing is queued here


class ListeningCaller(Caller):
    """Hears an agent. What was played so far is known to 20 ms: each frame sent is also a look at the clock."""

    def __init__(self, number: int, ledger: FrameLedger, rounds: Rounds, talk: Talk) -> None:
        super().__init__(number, ledger, rounds)
        self._talk = talk
        self._plays_until = 0.0
        self._marks: deque[tuple[float, bytes]] = deque()  # when each is due, and its name

    def send_frame(self, now: float) -> None:
        """As above; and echo the marks whose audio has sounded."""
        super().send_frame(now)
        while self._marks and self._marks[0][0] <= now:
            self._echo_mark(self._marks.popleft()[1])

    def _play(self, payload: str, now: float) -> None:
        seconds = self._talk.hear(payload, now) / mulaw.SAMPLE_RATE_HZ
        self._plays_until = max(now, self._plays_until) + seconds

    def _take_mark(self, name: bytes, now: float) -> None:
        if self._plays_until <= now:
            self._echo_mark(name)
        else:
            self._marks.append((self._plays_until, name))

    def _clear(self, now: float) -> None:
        self._talk.clear(now)
        self._plays_until = now
        while self._marks:
            self._echo_mark(self._marks.popleft()[1])
