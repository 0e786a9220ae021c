"""The frames of one call: what each carries, when it was sent, when it arrived, and what became of the others.

Pure: no socket, no clock. A frame is 160 bytes of μ-law that name themselves: its number (3 bytes), its call (3
bytes), and a tail of noise that only this call has. Three bytes are four characters of base64, so a payload is joined
from strings; and whoever gets a frame knows which it is and whether a byte of it was changed. The noise is quiet: a
relay that listens for speech should hear none.
"""

import binascii
from array import array
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proto import mulaw

FRAME_S: Final = mulaw.FRAME_MS / 1000
_NAME_BYTES: Final = 3
_HEAD_BYTES: Final = 2 * _NAME_BYTES
_NAME_CHARACTERS: Final = 4
PAYLOAD_CHARACTERS: Final = 216  # of 160 bytes
_SIGN_AND_LOWEST_BITS: Final = 0x87
_QUIETEST_SEGMENT: Final = 0x78

Floats = NDArray[np.float64]


class FrameLedger:
    """What was sent in one call and what arrived of it. Frames from `begin_window` on are the ones that count.

    Attributes: arrived, how many frames ever arrived as they were sent; duplicated, arrived again; reordered, after
    one with a higher number (RFC 4737); altered, arrived with other bytes, or is another call's.
    """

    def __init__(self, call: int) -> None:
        noise = Random(call).randbytes(mulaw.FRAME_BYTES - _HEAD_BYTES)
        self._tail = call.to_bytes(_NAME_BYTES) + bytes(
            byte & _SIGN_AND_LOWEST_BITS | _QUIETEST_SEGMENT for byte in noise
        )
        self.tail_base64 = base64_of(self._tail).decode()
        self._sent_at, self._arrived_at = array("d"), array("d")  # s; 0 for what has not arrived
        self._window_begins = 0
        self._highest = -1
        self._partial = b""  # less than a frame: a relay may cut the audio anew
        self.arrived = 0
        self.duplicated = 0
        self.reordered = 0
        self.altered = 0

    @property
    def sent(self) -> int:
        """How many frames were ever sent."""
        return len(self._sent_at)

    @property
    def is_waiting(self) -> bool:
        """Whether any of the frames that count is still out."""
        return 0.0 in self._arrived_at[self._window_begins :]

    def begin_window(self) -> None:
        """Count from the next frame on."""
        self._window_begins = len(self._sent_at)

    def send(self, now: float) -> int:
        """The next frame goes out; returns its number."""
        self._sent_at.append(now)
        self._arrived_at.append(0.0)
        return len(self._sent_at) - 1

    def arrive(self, payload: str, now: float) -> None:
        """Base64 audio arrived: one frame, as nearly always, or any other piece of the stream of bytes."""
        if self._partial or len(payload) != PAYLOAD_CHARACTERS or not payload.endswith(self.tail_base64):
            self._arrive_anew_cut(payload, now)
            return
        self._note(int.from_bytes(binascii.a2b_base64(payload[:_NAME_CHARACTERS])), now)

    def sent_and_arrived(self) -> tuple[Floats, Floats]:
        """When each frame that counts was sent and when it arrived, (n,) s each; 0 for never."""
        begin = self._window_begins
        return np.array(self._sent_at[begin:], np.float64), np.array(self._arrived_at[begin:], np.float64)

    def _arrive_anew_cut(self, payload: str, now: float) -> None:
        audio = self._partial + binascii.a2b_base64(payload)
        whole = len(audio) - len(audio) % mulaw.FRAME_BYTES
        self._partial = audio[whole:]
        for at in range(0, whole, mulaw.FRAME_BYTES):
            frame = audio[at : at + mulaw.FRAME_BYTES]
            if frame.endswith(self._tail):
                self._note(int.from_bytes(frame[:_NAME_BYTES]), now)
            else:
                self.altered += 1

    def _note(self, number: int, now: float) -> None:
        if number >= len(self._sent_at):
            self.altered += 1
        elif self._arrived_at[number]:
            self.duplicated += 1
        else:
            self._arrived_at[number] = now
            self.arrived += 1
            if number < self._highest:
                self.reordered += 1
            else:
                self._highest = number


def name_base64(number: int) -> bytes:
    """The first four characters of the payload of a frame with this number."""
    return base64_of(number.to_bytes(_NAME_BYTES))


def call_of(payload: str) -> int:
    """Which call a payload says it belongs to. Raises: ValueError when it is too short to say."""
    named = binascii.a2b_base64(payload[_NAME_CHARACTERS : 2 * _NAME_CHARACTERS])
    if len(named) < _NAME_BYTES:
        raise ValueError("a piece of audio is too short to name its call")
    return int.from_bytes(named)


def base64_of(audio: bytes) -> bytes:
    """As both wires carry audio."""
    return binascii.b2a_base64(audio, newline=False)
