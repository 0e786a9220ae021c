"""A thousand calls on the pump, ended in every way there is: nothing of them stays."""

import base64
import gc
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from proto.errors import HandshakeError
from proto.websocket import FrameCodec, Role
from relay.call import Call
from relay.log import CallEnded, LogEvent
from relay.persona import Persona
from relay.playout import Playout
from relay.pump import Pump, PumpLine
from relay.session import CallSession
from relay.sockets import Line
from relay.switchboard import Switchboard
from relay.totals import Totals

CALLS = 1000
AT_ONCE = 50
SPEECH = b"\x21" * 4000


class Peer:
    """One far end: speaks WebSocket frames over the other end of a socket pair, answers closes."""

    def __init__(self, role: Role, sock: socket.socket) -> None:
        self.codec = FrameCodec(role, max_message_bytes=1 << 20)
        self.stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))

    async def send(self, message: dict[str, Any]) -> None:
        await self.stream.send_all(self.codec.text(json.dumps(message).encode()))

    async def wait_for(self, kind: str) -> None:
        """Read until a message of this kind came."""
        while True:
            for message in self.codec.receive(bytes(await self.stream.receive_some())):
                if isinstance(message, bytes) and kind in (json.loads(message).get(key) for key in ("type", "event")):
                    return

    async def read_to_the_end(self) -> None:
        """Answer a close frame like any peer, until the socket is gone."""
        try:
            while data := bytes(await self.stream.receive_some()):
                self.codec.receive(data)
                if replies := self.codec.take_replies():
                    await self.stream.send_all(replies)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await self.stream.aclose()


class Phone(Peer):
    """Twilio's end."""

    async def start(self, sid: str) -> None:
        inner = {"streamSid": sid, "callSid": f"CA{sid}", "accountSid": "AC1", "customParameters": {}}
        await self.send({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        await self.send({"event": "start", "sequenceNumber": "1", "streamSid": sid, "start": inner})


class Model(Peer):
    """OpenAI's end."""

    async def configure(self) -> None:
        await self.send({"type": "session.created", "session": {"id": "sess_1"}})
        await self.wait_for("session.update")
        pcmu = {"format": {"type": "audio/pcmu"}}
        await self.send(
            {"type": "session.updated", "session": {"id": "sess_1", "audio": {"input": pcmu, "output": pcmu}}}
        )

    async def speak(self) -> None:
        delta = base64.b64encode(SPEECH).decode()
        where = {"response_id": "resp_1", "item_id": "item_1"}
        await self.send({"type": "response.created", "response": {"id": "resp_1"}})
        await self.send({"type": "response.output_audio.delta", "delta": delta} | where)


class Scene:
    """One call and both its far ends."""

    def __init__(self, number: int, phone: Phone, model: Model, session: Callable[[], CallSession]) -> None:
        self.number, self.phone, self.model, self._session = number, phone, model, session

    async def talk(self) -> None:
        """Until the agent's voice is on its way to the caller."""
        await self.phone.start(f"MZ{self.number}")
        await self.model.configure()
        payload = base64.b64encode(SPEECH[:160]).decode()
        await self.phone.send({"event": "media", "streamSid": f"MZ{self.number}", "media": {"payload": payload}})
        await self.model.speak()
        await self.phone.wait_for("mark")

    def end_session(self) -> None:
        self._session().end()


async def caller_hangs_up(scene: Scene) -> None:
    await scene.talk()
    await scene.phone.send({"event": "stop", "sequenceNumber": "9", "streamSid": f"MZ{scene.number}", "stop": {}})


async def twilio_closes(scene: Scene) -> None:
    await scene.talk()
    await scene.phone.stream.send_all(scene.phone.codec.close(1000))


async def twilio_vanishes(scene: Scene) -> None:
    await scene.talk()
    await scene.phone.stream.aclose()


async def openai_closes(scene: Scene) -> None:
    await scene.talk()
    await scene.model.stream.send_all(scene.model.codec.close(1001, "Your session hit the maximum duration."))


async def openai_vanishes(scene: Scene) -> None:
    await scene.talk()
    await scene.model.stream.aclose()


async def openai_refuses_the_settings(scene: Scene) -> None:
    await scene.phone.start(f"MZ{scene.number}")
    await scene.model.send({"type": "error", "error": {"type": "invalid_request_error", "code": "unknown_parameter"}})


async def never_starts(scene: Scene) -> None:
    await scene.phone.send({"event": "connected"})
    await scene.phone.stream.aclose()


async def starts_wrongly(scene: Scene) -> None:
    await scene.phone.send({"event": "start", "streamSid": "MZ1", "start": {"streamSid": "MZ2", "callSid": "CA1"}})


async def talks_garbage(scene: Scene) -> None:
    await scene.talk()
    for _ in range(20):
        await scene.phone.stream.send_all(scene.phone.codec.text(b"{not json"))


async def breaks_the_framing(scene: Scene) -> None:
    await scene.talk()
    await scene.phone.stream.send_all(b"\xff" * 20)


async def sends_too_much(scene: Scene) -> None:
    await scene.talk()
    await scene.phone.stream.send_all(scene.phone.codec.text(b"x" * 70_000))


async def the_process_goes_down(scene: Scene) -> None:
    await scene.talk()
    scene.end_session()


ENDINGS: list[tuple[str, Callable[[Scene], Awaitable[None]]]] = [
    ("caller_hung_up", caller_hangs_up),
    ("twilio_closed", twilio_closes),
    ("twilio_closed", twilio_vanishes),
    ("openai_unreachable", openai_closes),
    ("openai_unreachable", openai_vanishes),
    ("openai_refused", openai_refuses_the_settings),
    ("twilio_closed", never_starts),
    ("bad_start", starts_wrongly),
    ("garbage", talks_garbage),
    ("garbage", breaks_the_framing),
    ("garbage", sends_too_much),
    ("shutdown", the_process_goes_down),
]


class Ended:
    """A call log that keeps how calls ended."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def offer(self, call_sid: str, event: LogEvent) -> None:
        if isinstance(event, CallEnded):
            self.reasons.append(event.reason)


async def test_case_75_a_thousand_calls_of_any_ending_leave_nothing_behind() -> None:
    before = _living()
    pump, totals, expected, ended = Pump(), Totals(), [], Ended()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        for first in range(0, CALLS, AT_ONCE):
            async with trio.open_nursery() as calls:
                for number in range(first, first + AT_ONCE):
                    reason, ending = ENDINGS[number % len(ENDINGS)]
                    expected.append(reason)
                    calls.start_soon(_one_call, pump, totals, ended, number, ending)
        assert pump.attached == 0
        nursery.cancel_scope.cancel()
    assert sorted(ended.reasons) == sorted(expected)  # each call ended once, and for the right reason
    assert totals.active_calls == 0
    assert _living() == before


async def test_a_call_whose_upstream_cannot_be_reached_ends() -> None:
    @asynccontextmanager
    async def refuse(_model: str) -> AsyncIterator[Line]:
        raise HandshakeError("no", status=401)
        yield

    ended, pump = Ended(), Pump()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    phone = Phone(Role.CLIENT, theirs)
    switchboard = Switchboard(lambda _: Persona(instructions=""), connect=refuse, call_log=ended, totals=Totals())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        async with trio.open_nursery() as call:
            call.start_soon(switchboard.carry, PumpLine(pump, ours))
            await phone.start("MZ1")
            await phone.read_to_the_end()
        nursery.cancel_scope.cancel()
    assert ended.reasons == ["openai_refused"]


async def test_what_arrives_with_both_handshakes_is_not_lost() -> None:
    """A quick peer's first message comes in the same packet as its upgrade, or as its 101."""
    pump, (ours, theirs), (up_ours, up_theirs) = Pump(), socket.socketpair(), socket.socketpair()
    ours.setblocking(False)
    up_ours.setblocking(False)
    phone, model = Phone(Role.CLIENT, theirs), Model(Role.SERVER, up_theirs)
    start = {"event": "start", "streamSid": "MZ1", "start": {"streamSid": "MZ1", "callSid": "CA1"}}
    created = {"type": "session.created", "session": {"id": "sess_1"}}

    @asynccontextmanager
    async def connect(_model: str) -> AsyncIterator[Line]:
        yield PumpLine(pump, up_ours, model.codec.text(json.dumps(created).encode()))

    switchboard = Switchboard(lambda _: Persona(instructions=""), connect=connect, call_log=Ended(), totals=Totals())
    with ours, up_ours:
        async with phone.stream, model.stream, trio.open_nursery() as nursery:
            nursery.start_soon(pump.run)
            line = PumpLine(pump, ours, phone.codec.text(json.dumps(start).encode()))
            nursery.start_soon(switchboard.carry, line)
            await model.wait_for("session.update")
            nursery.cancel_scope.cancel()


async def test_cancelling_everything_leaves_nothing_behind() -> None:
    before = _living()
    pump, totals, ended = Pump(), Totals(), Ended()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump.run)
        talking = [trio.Event() for _ in range(10)]
        for number, event in enumerate(talking):
            nursery.start_soon(_one_call, pump, totals, ended, number, _talk_then_wait(event))
        for event in talking:
            await event.wait()
        nursery.cancel_scope.cancel()
    assert totals.active_calls == 0
    assert _living() == before


def _talk_then_wait(talking: trio.Event) -> Callable[[Scene], Awaitable[None]]:
    async def ending(scene: Scene) -> None:
        await scene.talk()
        talking.set()
        await trio.sleep_forever()

    return ending


async def _one_call(
    pump: Pump, totals: Totals, log: Ended, number: int, ending: Callable[[Scene], Awaitable[None]]
) -> None:
    ours, theirs = socket.socketpair()
    up_ours, up_theirs = socket.socketpair()
    ours.setblocking(False)
    up_ours.setblocking(False)

    lines = iter([PumpLine(pump, up_ours)])

    @asynccontextmanager
    async def connect(_model: str) -> AsyncIterator[Line]:
        line = next(lines, None)
        if line is None:
            raise ConnectionRefusedError("one session is all there is")
        yield line

    phone, model = Phone(Role.CLIENT, theirs), Model(Role.SERVER, up_theirs)
    persona = Persona(instructions="", reconnect_within_s=0.0)
    switchboard = Switchboard(lambda _: persona, connect=connect, call_log=log, totals=totals)
    with ours, up_ours:
        async with phone.stream, model.stream, trio.open_nursery() as nursery:
            nursery.start_soon(switchboard.carry, PumpLine(pump, ours))
            await ending(Scene(number, phone, model, lambda: next(iter(switchboard._sessions))))
            nursery.start_soon(phone.read_to_the_end)
            nursery.start_soon(model.read_to_the_end)
            await switchboard.drain()
            up_ours.close()  # of a call that never went so far as to use it


def _living() -> dict[str, int]:
    """Tasks, descriptors, calls and ledgers that exist now."""
    gc.collect()
    objects = [type(each) for each in gc.get_objects()]
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - Path.iterdir would open one itself
        **{kind.__name__: objects.count(kind) for kind in (Call, CallSession, Playout)},
    }
