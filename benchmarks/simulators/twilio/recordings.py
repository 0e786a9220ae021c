"""What was recorded, kept for downloads: a bounded store that all calls of an account share.

Pure but for the clock that callers pass in. Files are 16-bit PCM at 8 kHz, as Twilio's .wav files are.
"""

import io
import wave
from typing import Final, Literal

import msgspec

from proto import mulaw

MAX_RECORDINGS: Final = 200  # the oldest ones go
API_BASE: Final = "https://api.twilio.com"

RecordingStatus = Literal["in-progress", "completed", "absent", "failed"]


class StoredRecording(msgspec.Struct, frozen=True, kw_only=True):
    """One recording. Its file is there when its status is completed."""

    sid: str
    call_sid: str
    account_sid: str
    status: RecordingStatus
    audio: bytes  # μ-law

    @property
    def duration_s(self) -> int:
        """Whole seconds, begun ones count."""
        return -(-len(self.audio) // mulaw.SAMPLE_RATE_HZ)

    def wav(self) -> bytes:
        """The file."""
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(mulaw.SAMPLE_RATE_HZ)
            file.writeframes(mulaw.decode(self.audio).astype("<i2").tobytes())
        return out.getvalue()


class Recordings:
    """Recordings by SID. Attributes: base_url, where they can be downloaded."""

    def __init__(self, base_url: str = API_BASE) -> None:
        self.base_url = base_url
        self._stored: dict[str, StoredRecording] = {}

    def put(self, recording: StoredRecording) -> None:
        """Store or replace."""
        self._stored[recording.sid] = recording
        while len(self._stored) > MAX_RECORDINGS:
            del self._stored[next(iter(self._stored))]

    def get(self, sid: str) -> StoredRecording | None:
        return self._stored.get(sid)

    def delete(self, sid: str) -> bool:
        """Whether there was one."""
        return self._stored.pop(sid, None) is not None

    def all(self) -> list[StoredRecording]:
        """Oldest first."""
        return list(self._stored.values())

    def url(self, recording: StoredRecording) -> str:
        """As callbacks and actions tell it; it gives the .wav file."""
        return f"{self.base_url}/2010-04-01/Accounts/{recording.account_sid}/Recordings/{recording.sid}"
