"""Audio kept in memory for a while, up to a size: what nobody has asked for the longest goes first. No I/O."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class KeptAudio(Generic[Key]):
    """Args: size_bytes, of all together."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes, self._used_bytes = size_bytes, 0
        self._audio: OrderedDict[Key, bytes] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._audio

    def find(self, key: Key) -> bytes:
        """What is kept under this key, b"" if nothing is."""
        if key in self._audio:
            self._audio.move_to_end(key)
        return self._audio.get(key, b"")

    def keep(self, key: Key, audio: bytes) -> None:
        """Keep it, in place of what else was kept under this key."""
        self._used_bytes += len(audio) - len(self._audio.pop(key, b""))
        self._audio[key] = audio
        while self._used_bytes > self._size_bytes:
            _, oldest = self._audio.popitem(last=False)
            self._used_bytes -= len(oldest)
