"""Where relays are measured: each begun anew, on a core of its own that is watched for other work."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from benchmarks.errors import leaves
from benchmarks.load import FarEnd, LoadError, Target
from benchmarks.process_cpu import OtherWork, Relay, RelayFailedError, open_relay

Measured = TypeVar("Measured")


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Stage:
    """Args: core, on which relays are kept, None when there is none to spare; tell, gets a line for all that happens.

    Attributes: problems, a line for each relay that could not be measured.
    """

    def __init__(self, core: int | None, tell: Callable[[str], None] = _to_stderr) -> None:
        self._core = core
        self.tell = tell
        self.problems: list[str] = []

    @asynccontextmanager
    async def open_target(self, relay: Relay, far_end: FarEnd) -> AsyncIterator[tuple[Target, OtherWork]]:
        """A relay that takes calls and whose upstream is this far end.

        Raises: RelayFailedError, in a group, when it does not start, dies, or carries nothing.
        """
        async with open_relay(relay, far_end.upstream_url, core=self._core) as running:
            try:
                target = Target(name=relay.name, url=running.url, pid=running.pid)
                yield target, OtherWork(self._core, running.pid)
            except* (LoadError, ProcessLookupError) as group:
                raise RelayFailedError(relay.name, str(leaves(group)[0]), running.said()) from None

    async def attempt(self, what: str, measure: Callable[[], Awaitable[Measured]]) -> Measured | None:
        """Measure; when a relay fails, say what could not be measured and give None."""
        found: Measured | None = None
        try:
            found = await measure()
        except* (RelayFailedError, OSError) as group:
            problem = f"{what}: " + "; ".join(str(leaf) for leaf in leaves(group))
            self.problems.append(problem)
            self.tell(problem)
        return found
