"""Those who keep the admin side busy: Twilio's webhooks, clients of the persona API, previews, and who watches live.

A process of its own, so that its work delays no frame of the load beside it. Told by an `Order` in JSON, its one
argument; writes `ready` once all watch, keeps its timetable until its standard input ends, waits for the answers that
are due, and writes its `Visits` in JSON. A request is timed from when it was due, so nothing is hidden by being late;
how late this process itself began it stands beside.
"""

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Final, Literal
from uuid import uuid4

import httpx
import msgspec
import trio

READY: Final = b"ready\n"
WAIT_S: Final = 15.0  # for an answer; Twilio waits no longer
NO_LIMITS: Final = httpx.Limits()  # a request waits for the relay, never for a connection of ours

What = Literal["webhook", "persona", "preview"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to visit and how often. requests_per_s: of webhook and persona API together, half each."""

    url: str
    key: str
    persona_id: str
    number: str
    requests_per_s: float
    previews_per_s: float
    watchers: int


class Visit(msgspec.Struct, frozen=True, array_like=True):
    """One request. due_at: s, by `perf_counter`, which all processes of this machine share; is_right: the answer is.

    late_ms: until it was begun, which is this process's fault; took_ms: until it was answered.
    """

    what: What
    due_at: float
    late_ms: float
    took_ms: float
    is_right: bool


class Visits(msgspec.Struct, frozen=True, kw_only=True):
    """What became of them. live_events: heard by all who watched; streams_ended: of theirs, too early."""

    visits: list[Visit]
    live_events: int
    streams_ended: int


def main(words: list[str]) -> int:
    """The command."""
    visitors = _Visitors(msgspec.json.decode(words[0], type=Order))
    print(msgspec.json.encode(trio.run(visitors.visit)).decode())
    return 0


class _Visitors:
    def __init__(self, order: Order) -> None:
        self._order = order
        self._client = httpx.AsyncClient(base_url=order.url, timeout=WAIT_S, limits=NO_LIMITS, trust_env=False)
        self._auth = {"Authorization": f"Bearer {order.key}"}
        self._persona_path = f"/api/personas/{order.persona_id}"
        self._visits: list[Visit] = []
        self._live_events = self._streams_ended = 0

    async def visit(self) -> Visits:
        each_s = 2 / self._order.requests_per_s
        # The inner nursery keeps the timetable; the outer one waits for the answers that are due when that has ended.
        async with self._client, trio.open_nursery() as asking, trio.open_nursery() as timetable:
            for _ in range(self._order.watchers):
                await timetable.start(self._watch)
            sys.stdout.buffer.write(READY)
            sys.stdout.buffer.flush()
            keep, preview_s = partial(self._keep_asking, asking), 1 / self._order.previews_per_s
            timetable.start_soon(keep, "webhook", self._webhook, each_s, 0.0)
            timetable.start_soon(keep, "persona", self._persona, each_s, each_s / 2)
            timetable.start_soon(keep, "preview", self._preview, preview_s, each_s / 4)
            await _input_ended()
            timetable.cancel_scope.cancel()
        return Visits(visits=self._visits, live_events=self._live_events, streams_ended=self._streams_ended)

    async def _keep_asking(
        self,
        asking: trio.Nursery,
        what: What,
        ask: Callable[[int], Awaitable[bool]],
        every_s: float,
        after_s: float,
    ) -> None:
        began, began_at = trio.current_time() + after_s, perf_counter() + after_s
        number = 0
        while True:
            await trio.sleep_until(began + number * every_s)
            asking.start_soon(self._ask, what, partial(ask, number), began_at + number * every_s)
            number += 1

    async def _ask(self, what: What, ask: Callable[[], Awaitable[bool]], due_at: float) -> None:
        late_ms = (perf_counter() - due_at) * 1000
        try:
            is_right = await ask()
        except httpx.TransportError:
            is_right = False
        self._visits.append(Visit(what, due_at, late_ms, (perf_counter() - due_at) * 1000, is_right))

    async def _webhook(self, _number: int) -> bool:
        call = {"CallSid": f"CA{uuid4().hex}", "From": "+15551230001", "To": self._order.number}
        response = await self._client.post("/incoming-call", data={**call, "CallStatus": "ringing"})
        return response.is_success and b"<Stream" in response.content

    async def _persona(self, number: int) -> bool:
        """As a console asks: four times it looks, then it changes the persona that answers these very calls."""
        match number % 5:
            case 0 | 2:
                response = await self._client.get("/api/personas", headers=self._auth)
            case 1:
                response = await self._client.get(self._persona_path, headers=self._auth)
            case 3:
                response = await self._client.get("/api/personas/active", headers=self._auth)
            case _:
                change = {"instructions": f"Be brief. This is change {number}."}
                response = await self._client.patch(self._persona_path, json=change, headers=self._auth)
        return response.is_success

    async def _preview(self, number: int) -> bool:
        text = f"Thank you for calling. This is the text number {number}, and it was not heard before."
        answer = await self._client.post(f"{self._persona_path}/preview", json={"text": text}, headers=self._auth)
        return answer.is_success

    async def _watch(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with self._client.stream(
                "GET", "/api/live/events", headers=self._auth, timeout=httpx.Timeout(WAIT_S, read=None)
            ) as response:
                response.raise_for_status()
                task_status.started()
                async for line in response.aiter_lines():
                    self._live_events += line.startswith("event:")
        except httpx.TransportError:
            pass  # as an end that comes too early
        self._streams_ended += 1


async def _input_ended() -> None:
    async with trio.lowlevel.FdStream(sys.stdin.fileno()) as stream:
        while await stream.receive_some():
            pass


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
