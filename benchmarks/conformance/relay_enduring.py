"""Cases 56 to 70 of the Twilio list: keys, unknown and broken messages, and the end of a call."""

from typing import Final

import trio

from benchmarks.conformance.check import Checklist, expect, expect_equal
from benchmarks.conformance.relay_call import Call, Relay
from benchmarks.conformance.relay_ends import voice
from benchmarks.conformance.wire import Json

checklist = Checklist[Relay]()

_LARGEST_MESSAGE_BYTES: Final = 64 * 1024
_BROKEN_IN_A_ROW: Final = 100  # nobody should have the patience
_GARBAGE_CODES: Final = (1002, 1003, 1007, 1008)
_PROMPTLY_S: Final = 1.0
_NESTED_DEEP: Final = 60_000  # brackets, so that the message is still small enough to be read
_ODD_JSON: Final = (
    '{"event":"dtmf","event":"mark","mark":{"name":"a"},"mark":{"name":"b"}}',
    '{"event":"media","media":{"payload":"//8=","timestamp":NaN}}',
    '{"event":"media","media":{"payload":"//8=","timestamp":-Infinity}}',
    '{"event":"mark","sequenceNumber":' + "9" * 5000 + ',"mark":{"name":"a"}}',
    '{"event":"mark","sequenceNumber":1e999999,"mark":{"name":"a"}}',
    '{"event":"mark","mark":{"name":"\\u0000\\u001f"}}',
    '{"event":"mark","mark":{"name":"\\udfff"}}',
)


@checklist.check(56, "A key is no audio")
async def key(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.send(_key(call, {"track": "inbound_track", "digit": "5"}))
        expect_equal("the audio forwarded", await call.forwarded(), b"")


@checklist.check(57, "A DTMF message without a digit, or with one that is none, is left out")
async def no_key(relay: Relay) -> None:
    async with relay.call() as call:
        for body in ({}, {"digit": ""}, {"digit": "5" * 1000}, {"digit": None}, {"digit": 5}, None):
            await call.phone.send(_key(call, body))
        await call.expect_alive()


@checklist.check(58, "An unknown message is left out")
async def unknown_messages(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.send(*(call.phone.numbered(odd) for odd in ({"event": "hello"}, {}, {"event": 5})))
        await call.expect_alive()


@checklist.check(59, "Invalid JSON is left out, and the call goes on")
async def invalid_json(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.send("{", "", "hello")
        await call.expect_alive()


@checklist.check(59, "Broken messages in a row close the socket")
async def garbage(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.send(*(["{"] * _BROKEN_IN_A_ROW))
        code = await call.phone.until_closed()
        expect(code in _GARBAGE_CODES, f"it was closed with {code}")
        await call.model.until_closed()


@checklist.check(60, "JSON that is no object is left out")
async def no_objects(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.send("[]", '"x"', "1", "null", "true")
        await call.expect_alive()


@checklist.check(61, "Deep nesting is left out, and the process survives")
async def deep_nesting(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.send("[" * _NESTED_DEEP)
        await call.phone.send('{"event":"media","x":' + "[" * _NESTED_DEEP)
        await call.expect_alive()
    await relay.expect_alive()


@checklist.check(62, "A binary message is left out, or closed with 1003")
async def binary(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.send(b"\x00\x01\x02\x03")
        await call.phone.speak(voice(20))
        await call.model.wait(lambda: call.model.heard() or call.phone.close_code, "the next frame")
        expect(call.phone.close_code in (None, 1003), f"it was closed with {call.phone.close_code}")


@checklist.check(63, "A message above 64 KiB is closed with 1009, and the call is cleared up")
async def oversized(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.send(call.phone.stray(bytes(_LARGEST_MESSAGE_BYTES)))
        expect_equal("the close code", await call.phone.until_closed(), 1009)
        await call.model.until_closed()


@checklist.check(64, "Odd JSON does no harm")
async def odd_json(relay: Relay) -> None:
    async with relay.call() as call:
        for odd in _ODD_JSON:
            await call.phone.send(f'{{"streamSid":"{call.phone.stream_sid}",{odd[1:]}')
        await call.settle()
        expect(call.phone.close_code is None, f"it was closed with {call.phone.close_code}")


@checklist.check(66, "Stop ends everything")
async def stop(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.speak(voice(20))
        await call.phone.send(call.phone.stop())
        codes = await call.model.until_closed(), await call.phone.until_closed()
        expect_equal("the close codes of OpenAI and Twilio", codes, (1000, 1000))


@checklist.check(67, "A socket that is cut ends everything")
async def cut(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.cut()
        await call.model.until_closed()
    await relay.expect_alive()


@checklist.check(68, "Stop and close together are one ending")
async def stop_and_close(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.send(call.phone.stop())
        with trio.move_on_after(relay.patience_s) as waiting:
            await call.phone.socket.aclose()
        expect(not waiting.cancelled_caught, "the close was not answered")
        await call.model.until_closed()
    await relay.expect_alive()


@checklist.check(69, "A lost OpenAI session is replaced, or else Twilio closed, within a second")
async def lost_model(relay: Relay) -> None:
    for says_goodbye in (True, False):
        async with relay.call() as call, relay.nobody_dialling():
            lost_at = trio.current_time()
            with trio.move_on_after(relay.patience_s):
                await (call.model.socket.aclose(1011) if says_goodbye else call.model.cut())
            await _replaced_or_closed(relay, call)
            took_s = trio.current_time() - lost_at
            expect(took_s <= _PROMPTLY_S, f"it took {took_s:.1f} s")


async def _replaced_or_closed(relay: Relay, call: Call) -> None:
    """Whichever comes first. Raises: UnmetError when neither does."""

    async def until_replaced() -> None:
        await relay.upstream.next()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_replaced)
        await call.phone.until_closed()
        nursery.cancel_scope.cancel()


@checklist.check(70, "An OpenAI that refuses closes Twilio at once, or an apology is heard at once")
async def refusing_model(relay: Relay) -> None:
    async with relay.phone_alone() as phone:
        relay.upstream.refuses_with = 401
        try:
            await phone.send(phone.connected(), phone.start())
            await phone.wait(lambda: phone.close_code or (phone.messages or None), "a close or an apology")
        finally:
            relay.upstream.refuses_with = None


def _key(call: Call, body: Json | None) -> Json:
    return call.phone.numbered({"event": "dtmf", "dtmf": body})
