"""A call through the relay under test, with both its ends; how such calls are set up.

A relay says nowhere which realtime session belongs to which call, so calls are set up one after the other: whoever
dials waits for the session that comes of it. Once paired, calls run side by side.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Final

import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketRequest, wrap_server_stream

from benchmarks.conformance.check import UnmetError, expect
from benchmarks.conformance.relay_ends import BYTES_PER_MS, FRAME_BYTES, Model, Phone, encoded, voice
from benchmarks.conformance.wire import MAX_MESSAGE_BYTES, dial

_GOODBYE_S: Final = 2.0
_MOST_WAITING: Final = 100  # sessions that no check has asked for


class Call:
    """One call through the relay."""

    def __init__(self, phone: Phone, model: Model) -> None:
        self.phone, self.model = phone, model
        self._tokens = count(1)

    async def answer(self, *deltas_ms: int, response: str = "resp_1", item: str = "item_1") -> bytes:
        """The agent begins to speak; gives its audio once the caller has all of it."""
        before = len(self.phone.heard())
        audio = voice(sum(deltas_ms))
        await self.model.begin(response, item)
        at = 0
        for ms in deltas_ms:
            await self.model.speak(audio[at : at + ms * BYTES_PER_MS], response, item)
            at += ms * BYTES_PER_MS
        await self.phone.until_heard(before + len(audio) - len(audio) % FRAME_BYTES)
        return audio

    async def clear(self) -> None:
        """The caller interrupts the agent, and the relay clears what Twilio holds."""
        await self.model.hear_caller()
        await self.phone.next("clear")

    async def interrupted(self) -> int:
        """The caller speaks, and the relay has done all it does about it; gives how often it cleared."""
        before = len(self.phone.of("clear"))
        await self.model.hear_caller()
        await self.settle()
        return len(self.phone.of("clear")) - before

    def cut(self, item: str = "item_1") -> int:
        """Where an item was truncated, in ms. Raises: UnmetError unless it was truncated once, at a whole number."""
        cuts = self.model.truncated().get(item, [])
        expect(len(cuts) == 1, f"{item} was truncated {len(cuts)} times")
        (audio_end_ms,) = cuts
        if not isinstance(audio_end_ms, int):
            raise UnmetError(f"{item} was truncated at {audio_end_ms!r}")
        return audio_end_ms

    async def settle(self) -> bytes:
        """All that was sent has had its effect: what was sent behind it has come out at the other end, both ways.

        Gives the audio of a new answer, which the caller got last and is still hearing.
        """
        number = next(self._tokens)
        response, item, audio = f"resp_settle_{number}", f"item_settle_{number}", _token(number)
        await self.model.begin(response, item)
        await self.model.speak(audio, response, item)
        await self.phone.wait(lambda: _before(audio, self.phone.heard()), "the audio of a new answer")
        await self.forwarded()
        return audio

    async def forwarded(self) -> bytes:
        """All the caller's audio that has reached the model, without the frame that was sent last to see that."""
        last = _token(next(self._tokens))
        await self.phone.speak(last)
        return await self.model.wait(lambda: _before(last, self.model.heard()), "the caller's next frame")

    async def expect_alive(self) -> None:
        """Both ways are open."""
        await self.settle()


class Upstream:
    """Where the relay under test has to open its realtime sessions.

    Args: patience_s, how long each session waits for what should come.

    Attributes: url, once it is served; refuses_with, the HTTP status that answers upgrades, None accepts them.
    """

    def __init__(self, patience_s: float = 2.0) -> None:
        self.url = ""
        self.refuses_with: int | None = None
        self._patience_s = patience_s
        self._put, self._taken = trio.open_memory_channel[Model](_MOST_WAITING)

    async def serve(self, port: int, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on 127.0.0.1 until cancelled; started with the URL. Raises: OSError when the port cannot be had."""
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve_session, listeners)
            self.url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1/realtime"
            task_status.started(self.url)

    async def next(self) -> Model:
        """The session that was opened next. Raises: UnmetError when none is in time."""
        with trio.move_on_after(self._patience_s):
            return await self._taken.receive()
        raise UnmetError(f"the relay opened no realtime session within {self._patience_s:g} s")

    async def drop_waiting(self) -> int:
        """End the sessions that no check has taken; gives how many there were."""
        dropped = 0
        while self._taken.statistics().current_buffer_used:
            await self._taken.receive_nowait().cut()
            dropped += 1
        return dropped

    async def _serve_session(self, transport: trio.SocketStream) -> None:
        try:
            async with trio.open_nursery() as nursery:  # holds the WebSocket's reader
                request = None
                with trio.move_on_after(self._patience_s):
                    request = await wrap_server_stream(nursery, transport, max_message_size=MAX_MESSAGE_BYTES)
                if request is not None:
                    await self._answer(request, transport, nursery)
                nursery.cancel_scope.deadline = trio.current_time() + _GOODBYE_S  # the reader still ends the close
        except* (HandshakeError, ConnectionClosed, trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # gone before it was served, or one of too many: the check that waits for it will say so

    async def _answer(self, request: WebSocketRequest, transport: trio.SocketStream, nursery: trio.Nursery) -> None:
        if self.refuses_with is not None:
            await request.reject(self.refuses_with)
            return
        model = Model(await request.accept(), transport, patience_s=self._patience_s)
        self._put.send_nowait(model)
        nursery.start_soon(model.complete_responses)
        await model.read()


class Relay:
    """The relay under test.

    Args: url, of its media stream; upstream, where it opens its sessions; signature, Twilio's for the upgrade, if the
    relay asks for one; token_secret, what it signs its streams' tokens with, if it asks for those; patience_s, how long
    to wait for anything that should come.
    """

    def __init__(
        self, url: str, upstream: Upstream, *, signature: str | None, token_secret: str | None, patience_s: float
    ) -> None:
        self.url, self.upstream, self.patience_s = url, upstream, patience_s
        self.token_secret = token_secret
        self._headers = [("x-twilio-signature", signature)] if signature else []
        self._dialling = trio.Lock()
        self._numbers = count(1)

    @asynccontextmanager
    async def call(self, *, is_set_up: bool = True) -> AsyncIterator[Call]:
        """A call that has started; if it is set up, the relay has configured the model's session, too."""
        async with AsyncExitStack() as stack:
            async with self._dialling:
                await self.upstream.drop_waiting()
                phone = await stack.enter_async_context(self._dialled())
                await phone.send(phone.connected(), phone.start())
                model = await self.upstream.next()
            if is_set_up:
                await model.set_up()
            yield Call(phone, model)

    @asynccontextmanager
    async def phone_alone(self) -> AsyncIterator[Phone]:
        """A media stream on which nothing was said yet, while no other call is set up.

        For what must not become a call, or does so in an unusual way: what sessions are opened is all its doing.
        """
        async with self.nobody_dialling(), self._dialled() as phone:
            yield phone

    @asynccontextmanager
    async def nobody_dialling(self) -> AsyncIterator[None]:
        """Whatever sessions are opened meanwhile, they belong to the calls that are up already."""
        async with self._dialling:
            await self.upstream.drop_waiting()
            yield
            await self.upstream.drop_waiting()

    async def expect_alive(self) -> None:
        """Another call goes through."""
        async with self.call() as call:
            await call.expect_alive()

    @asynccontextmanager
    async def _dialled(self) -> AsyncIterator[Phone]:
        dialled = dial(self.url, headers=self._headers, within_s=self.patience_s)
        async with dialled as (socket, transport), trio.open_nursery() as nursery:
            phone = Phone(
                socket,
                transport,
                number=next(self._numbers),
                token_secret=self.token_secret,
                patience_s=self.patience_s,
            )
            nursery.start_soon(phone.read)
            yield phone
            nursery.cancel_scope.cancel()


def upgrade_signature(auth_token: str, url: str) -> str:
    """Twilio's signature of an upgrade: over the URL alone, since there is no form."""
    return encoded(hmac.new(auth_token.encode(), url.encode(), hashlib.sha1).digest())


def _token(number: int) -> bytes:
    """20 ms that occur nowhere else in a call: `voice` rises, this falls."""
    return bytes((number - at) % 251 for at in range(FRAME_BYTES))


def _before(last: bytes, audio: bytes) -> bytes | None:
    """What came before this, once this is the end of it."""
    return audio[: -len(last)] if audio.endswith(last) else None
