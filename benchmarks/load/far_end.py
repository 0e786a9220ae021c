"""Both ends of a load in one process: the upstream a relay connects to, and the callers who connect to the relay.

One loop carries all their sockets (benchmarks.load.loop). The upstream listens for as long as `open_far_end` lasts; the
callers of a load come and go with `benchmarks.load.level.measure_level`.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Literal
from weakref import WeakSet

import trio

from benchmarks.load.callers import Caller, EchoCaller, ListeningCaller, Rounds
from benchmarks.load.conversation import ConversationSession
from benchmarks.load.dialling import answer, answer_in_tls, dial
from benchmarks.load.echo import EchoSession, RealtimeSession, Reflector
from benchmarks.load.ledger import FrameLedger
from benchmarks.load.loop import Loop
from benchmarks.load.script import Manner
from benchmarks.load.talk import Talk
from benchmarks.load.wire import Wire
from proto.errors import HandshakeError
from proto.websocket import Role

Profile = Literal["echo", "conversation"]

REALTIME_PATH: Final = "/v1/realtime"
DIRECT_PATH: Final = "/direct"
BACKLOG: Final = 1024  # a relay may open the sessions of all its calls at once
_DIALLING_AT_ONCE: Final = 50

Side = RealtimeSession | Reflector


class FarEnd:
    """The tool, while it is open. Get one from `open_far_end`.

    Attributes: profile; loop; upstream_url, where the relay is to find OpenAI; direct_url, where callers go to measure
    themselves; sessions, how many realtime sessions were ever opened; errors, what came to the upstream that was no
    WebSocket, one line each.
    """

    def __init__(self, port: int, profile: Profile, seed: int, manner: Manner, secure_port: int | None = None) -> None:
        self.profile, self._seed, self._manner = profile, seed, manner
        self.direct_url = f"ws://127.0.0.1:{port}{DIRECT_PATH}"
        plain_url = f"ws://127.0.0.1:{port}{REALTIME_PATH}"
        self.upstream_url = plain_url if secure_port is None else f"wss://127.0.0.1:{secure_port}{REALTIME_PATH}"
        self.loop = Loop()
        self._wires: WeakSet[Wire] = WeakSet()  # the loop keeps those alive that are open
        self.sessions = 0
        self.errors: list[str] = []
        self.talks: dict[int, Talk] = {}  # of the load at hand, by call
        self.may_speak = True  # new turns may begin
        self.rss_before_bytes: dict[int, int] = {}  # of each relay's process, before its first call

    def new_callers(self, calls: int) -> Sequence[Caller]:
        """So many callers for one load; those before them are forgotten."""
        self.talks = {number: Talk(FrameLedger(number)) for number in range(calls)}
        self.may_speak = True
        rounds = Rounds()
        if self.profile == "echo":
            return [EchoCaller(number, talk.ledger, rounds) for number, talk in self.talks.items()]
        return [ListeningCaller(number, talk.ledger, rounds, talk) for number, talk in self.talks.items()]

    async def dial(self, callers: Sequence[Caller], url: str) -> None:
        """Let all callers call; those who cannot have an `error`."""
        tls = ssl.create_default_context() if url.startswith("wss:") else None  # loading certificates takes its time
        limiter = trio.CapacityLimiter(_DIALLING_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for caller in callers:
                nursery.start_soon(self._dial, caller, url, tls, limiter)

    async def _dial(self, caller: Caller, url: str, tls: ssl.SSLContext | None, limiter: trio.CapacityLimiter) -> None:
        async with limiter:
            try:
                sock, received = await dial(url, tls)
            except (HandshakeError, OSError, ValueError) as error:
                caller.fail(str(error))
                return
        caller.begin(self._wire(sock, Role.CLIENT, caller), received)

    async def serve(self, stream: trio.SocketStream, tls: ssl.SSLContext | None = None) -> None:
        """A relay, or in a direct run a caller, has connected. tls: it is expected to speak TLS first."""
        try:
            sock, head, received = await (answer_in_tls(stream, tls) if tls else answer(stream))
        except (HandshakeError, trio.BrokenResourceError, trio.TooSlowError) as error:
            self.errors.append(f"upstream: {error or 'no request in time'}")
            await trio.aclose_forcefully(stream)
            return
        side = self._new_reflector() if head.path == DIRECT_PATH else self._new_session()
        side.begin(self._wire(sock, Role.SERVER, side), received)

    def close(self) -> None:
        """Let go of every socket that is still open."""
        for wire in list(self._wires):
            wire.end("the tool has ended")

    def _wire(self, sock: socket.socket, role: Role, side: Caller | Side) -> Wire:
        wire = Wire(self.loop, sock, role, on_text=side.on_text, on_end=side.on_end)
        self._wires.add(wire)
        return wire

    def _new_reflector(self) -> Side:
        if self.profile == "echo":
            return Reflector(None)
        return Reflector({number: talk.ledger for number, talk in self.talks.items()})

    def _new_session(self) -> Side:
        self.sessions += 1
        if self.profile == "echo":
            return EchoSession(self.sessions)
        return ConversationSession(
            self.sessions,
            loop=self.loop,
            talk_of=lambda call: self.talks.get(call),
            manner=self._manner,
            seed=self._seed,
            may_speak=lambda: self.may_speak,
        )


@asynccontextmanager
async def open_far_end(
    profile: Profile = "echo",
    *,
    port: int = 0,
    seed: int = 1,
    manner: Manner | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[FarEnd]:
    """Listen as OpenAI on this machine while the context lasts. port: 0 takes any free one.

    Args: tls, with which the upstream speaks on a second port; the first is then for direct runs alone.
    Raises: OSError when the port cannot be had.
    """
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=BACKLOG)
    secure = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=BACKLOG) if tls else []
    secure_port = secure[0].socket.getsockname()[1] if secure else None
    far_end = FarEnd(listeners[0].socket.getsockname()[1], profile, seed, manner or Manner(), secure_port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(far_end.loop.run)
        await nursery.start(partial(trio.serve_listeners, far_end.serve, listeners))
        if secure:
            await nursery.start(partial(trio.serve_listeners, partial(far_end.serve, tls=tls), secure))
        try:
            yield far_end
        finally:
            far_end.close()
            nursery.cancel_scope.cancel()
