"""What a test of whole calls holds in its hands: the opener of calls, and the records that calls leave behind."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from relay.log import LogEvent
from relay.persona import Persona
from relay.tools import ToolBox
from tests.relay.peers import FakeOpenAI, FakeTwilio

Logged = TypeVar("Logged", bound=LogEvent)
Prepare = Callable[[FakeTwilio, FakeOpenAI], None]


class Records:
    """A call log that keeps everything. On `breaks_on`, a call and a kind of event, it raises, as none should."""

    def __init__(self) -> None:
        self.offered: list[tuple[str, LogEvent]] = []
        self.breaks_on: tuple[str, type[LogEvent]] | None = None

    def offer(self, call_sid: str, event: LogEvent) -> None:
        if (call_sid, type(event)) == self.breaks_on:
            raise RuntimeError("the disk is full")
        self.offered.append((call_sid, event))

    def of(self, kind: type[Logged], call_sid: str | None = None) -> list[Logged]:
        """All of one kind, in order; of one call, if it is named."""
        return [event for sid, event in self.offered if isinstance(event, kind) and call_sid in (None, sid)]


class OpenCall(Protocol):
    """Opens a call. Its peers are the two services; when the context ends the call has ended, too.

    prepare: sets the peers up before the call begins. is_ready: waits until both sides are set up. lasts_s: of
    virtual time, at most.
    """

    def __call__(
        self,
        persona: Persona = ...,
        *,
        stream_sid: str = ...,
        call_sid: str = ...,
        toolbox: ToolBox | None = ...,
        prepare: Prepare = ...,
        is_ready: bool = ...,
        lasts_s: float = ...,
    ) -> AbstractAsyncContextManager[tuple[FakeTwilio, FakeOpenAI]]: ...
