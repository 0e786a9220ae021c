"""Callbacks on their way: in order or not, once or twice, now or late. They steer nothing, so nothing waits for them.

`arrange` is the disorder, pure. `Courier` carries it out: callbacks of one kind go one after the other, kinds side by
side, in a nursery that the call is not over without.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, Literal

import msgspec
import trio

from benchmarks.simulators.twilio.options import Delivery, Method

MAX_CALLBACKS: Final = 1000  # of one call; further ones are not sent

Kind = Literal["status", "stream", "machine", "recording"]


class Callback(msgspec.Struct, frozen=True):
    """One request that tells and asks nothing."""

    kind: Kind
    url: str
    method: Method
    fields: dict[str, str]


def arrange(callbacks: Sequence[Callback], delivery: Delivery, random: Random) -> list[Callback]:
    """The order in which callbacks that were held back are sent. Shuffled is never the order they were fired in."""
    arranged = list(callbacks)
    match delivery.order:
        case "reversed":
            arranged.reverse()
        case "shuffled":
            random.shuffle(arranged)
            if len(arranged) > 1 and arranged == list(callbacks):
                arranged.reverse()
        case "fired":
            pass
    return arranged


class Courier:
    """One call's callbacks."""

    def __init__(
        self,
        send: Callable[[Callback], Awaitable[None]],
        delivery: Delivery,
        random: Random,
        nursery: trio.Nursery,
    ) -> None:
        """Args: send, delivers one and raises nothing; nursery, in which they are delivered."""
        self._send, self._delivery, self._random, self._nursery = send, delivery, random, nursery
        self._held: list[Callback] = []
        self._queues: dict[Kind, deque[tuple[float, Callback]]] = {}
        self._fired = 0

    def fire(self, callback: Callback) -> None:
        """Send this, in its time."""
        self._fired += 1
        if self._fired > MAX_CALLBACKS:
            return
        if callback.kind == "status" and self._delivery.order != "fired":
            self._held.append(callback)
        else:
            self._dispatch(callback)

    def release(self) -> None:
        """The call has ended: what was held back goes out."""
        held, self._held = self._held, []
        for callback in arrange(held, self._delivery, self._random):
            self._dispatch(callback)

    def _dispatch(self, callback: Callback) -> None:
        queue = self._queues.setdefault(callback.kind, deque())
        due_at = trio.current_time() + self._delivery.late_s
        was_idle = not queue
        queue.extend([(due_at, callback)] * (2 if self._delivery.is_doubled else 1))
        if was_idle:
            self._nursery.start_soon(self._deliver, queue)

    async def _deliver(self, queue: deque[tuple[float, Callback]]) -> None:
        while queue:
            due_at, callback = queue[0]
            await trio.sleep_until(due_at)
            await self._send(callback)
            queue.popleft()  # only now: a queue that is not empty has a task at work
