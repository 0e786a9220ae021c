"""Which of many sockets are ready: epoll itself where there is one, elsewhere whatever `selectors` has.

`selectors` costs as much again as the system call behind it, and the pump asks some ten thousand times a second.
"""

import select
import selectors
import sys
from typing import Final, Protocol

READ: Final = 1  # EPOLLIN
WRITE: Final = 4  # EPOLLOUT
MAX_READY: Final = 256  # at once; who is left out comes first the next time


class Readiness(Protocol):
    """Level-triggered, like epoll. Errors and hang-ups count as readable: a read tells what happened."""

    def register(self, fd: int, eventmask: int, /) -> None:
        """Watch a descriptor for READ, or for READ | WRITE."""
        ...

    def modify(self, fd: int, eventmask: int, /) -> None:
        """Watch it for something else."""
        ...

    def unregister(self, fd: int, /) -> None:
        """Watch it no longer."""
        ...

    def poll(self, timeout: float, maxevents: int, /) -> list[tuple[int, int]]:
        """Wait so many seconds at most; descriptors with what they are ready for."""
        ...

    def fileno(self) -> int:
        """A descriptor that is readable while any of them is ready."""
        ...

    def close(self) -> None:
        """Forget all."""
        ...


def open_readiness() -> Readiness:
    """The best there is here."""
    if sys.platform == "linux":
        return select.epoll()
    return _Selected()


class _Selected:
    """The same over `selectors`; on macOS that is kqueue."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, eventmask: int, /) -> None:
        self._selector.register(fd, _events(eventmask))

    def modify(self, fd: int, eventmask: int, /) -> None:
        self._selector.modify(fd, _events(eventmask))

    def unregister(self, fd: int, /) -> None:
        self._selector.unregister(fd)

    def poll(self, timeout: float, _maxevents: int, /) -> list[tuple[int, int]]:
        return [
            (key.fd, (READ if ready & selectors.EVENT_READ else 0) | (WRITE if ready & selectors.EVENT_WRITE else 0))
            for key, ready in self._selector.select(timeout)
        ]

    def fileno(self) -> int:
        return self._selector.fileno()

    def close(self) -> None:
        self._selector.close()


def _events(eventmask: int) -> int:
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if eventmask & WRITE else 0)
