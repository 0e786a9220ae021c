"""Cases 6 to 27 of the Twilio list: how a stream begins, and the caller's voice on its way in."""

from typing import Final

from benchmarks.conformance.check import Checklist, NotShownError, UnmetError, expect, expect_equal
from benchmarks.conformance.relay_call import Call, Relay
from benchmarks.conformance.relay_ends import FRAME_BYTES, Phone, voice
from benchmarks.conformance.wire import Json

checklist = Checklist[Relay]()

_FRAME: Final = voice(20)
_LINES_AT_FAULT: Final = (1006, 1011)  # closes that are no answer: the connection broke, or the server did
_LONGEST_PADDING_BYTES: Final = 80_000
_OTHER_STREAM: Final = f"MZ{0xBAD:032x}"


@checklist.check(6, "Connected of any version, with any more fields, is accepted")
async def any_version(relay: Relay) -> None:
    async with relay.phone_alone() as phone:
        await phone.send({**phone.connected(), "version": "9.0.0", "new": {"a": [1]}}, phone.start())
        await _begun(relay, phone)


@checklist.check(7, "A start without connected begins the call, or is closed in an orderly way")
async def start_alone(relay: Relay) -> None:
    async with relay.phone_alone() as phone:
        await phone.send(phone.start())
        try:
            await _begun(relay, phone)
        except UnmetError:
            if phone.close_code is None or phone.close_code in _LINES_AT_FAULT:
                raise


@checklist.check(9, "Audio in another format refuses the call")
async def other_formats(relay: Relay) -> None:
    formats = (
        {"encoding": "audio/l16", "sampleRate": 8000, "channels": 1},
        {"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1},
        {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2},
    )
    for media_format in formats:
        async with relay.phone_alone() as phone:
            await phone.send(phone.connected(), phone.start(mediaFormat=media_format))
            await phone.until_closed()


@checklist.check(10, "A start that does not name one stream is closed")
async def nameless_starts(relay: Relay) -> None:
    starts: tuple[Json, ...] = ({"streamSid": _OTHER_STREAM}, {"streamSid": ""}, {"streamSid": None})
    for fields in starts:
        async with relay.phone_alone() as phone:
            await phone.send(phone.connected(), {**phone.start(), **fields})
            await phone.until_closed()
            expect_equal("the sessions opened", await relay.upstream.drop_waiting(), 0)


@checklist.check(11, "No parameters are as good as an empty set")
async def no_parameters(relay: Relay) -> None:
    if relay.token_secret is not None:
        raise NotShownError("the relay asks for a token among them")
    async with relay.phone_alone() as phone:
        start = phone.start()
        del start["start"]["customParameters"]
        await phone.send(phone.connected(), start)
        await _begun(relay, phone)


@checklist.check(12, "A repeated start changes nothing")
async def repeated_start(relay: Relay) -> None:
    async with relay.phone_alone() as phone:
        await phone.send(phone.connected(), phone.start())
        call = await _begun(relay, phone)
        heard = await call.forwarded()
        await phone.send(phone.start(), phone.start())
        expect((await call.forwarded()).startswith(heard), "the caller's audio began anew")
        await call.settle()
        expect_equal("the further sessions opened", await relay.upstream.drop_waiting(), 0)


@checklist.check(13, "A start for another stream closes the socket")
async def other_start(relay: Relay) -> None:
    async with relay.phone_alone() as phone:
        await phone.send(phone.connected(), phone.start())
        await _begun(relay, phone)
        await phone.send({**phone.start(streamSid=_OTHER_STREAM), "streamSid": _OTHER_STREAM})
        await phone.until_closed()


@checklist.check(15, "A sequence number may be written in any way")
async def sequence_numbers(relay: Relay) -> None:
    async with relay.phone_alone() as phone:
        await phone.send(phone.connected(), {**phone.start(), "sequenceNumber": 1})
        call = await _begun(relay, phone)
        before = await call.forwarded()
        odd: tuple[object, ...] = (7, "one", "", None, True, {})
        await phone.send(*({**phone.stray(_FRAME), "sequenceNumber": number} for number in odd))
        expect_equal("the frames heard", len(_since(before, await call.forwarded())) // FRAME_BYTES, len(odd))


@checklist.check(16, "A frame reaches OpenAI byte for byte")
async def whole_frames(relay: Relay) -> None:
    async with relay.call() as call:
        frames = [voice(20, first=n) for n in range(5)]
        for frame in frames:
            await call.phone.speak(frame)
        _expect_audio(await call.forwarded(), b"".join(frames))


@checklist.check(17, "A frame of any length reaches OpenAI byte for byte")
async def any_length(relay: Relay) -> None:
    async with relay.call() as call:
        sent = b""
        for nbytes in (1, 7, 80, 161, 1600):
            await call.phone.speak(voice(200)[:nbytes])
            sent += voice(200)[:nbytes]
        _expect_audio(await call.forwarded(), sent)


@checklist.check(18, "Audio before the start is never forwarded")
async def audio_before_start(relay: Relay) -> None:
    async with relay.phone_alone() as phone:
        await phone.send(phone.connected(), phone.stray(_FRAME), phone.start())
        model = await relay.upstream.next()
        await model.set_up()
        _expect_audio(await Call(phone, model).forwarded(), b"")


@checklist.check(19, "Audio waits for OpenAI and follows in order")
async def held_audio(relay: Relay) -> None:
    async with relay.call(is_set_up=False) as call:
        frames = [voice(20, first=n) for n in range(40)]
        for frame in frames[:20]:
            await call.phone.speak(frame)
        await call.model.set_up()
        for frame in frames[20:]:
            await call.phone.speak(frame)
        _expect_audio(await call.forwarded(), b"".join(frames))


@checklist.check(20, "The other track is not the caller")
async def other_track(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.send(call.phone.stray(_FRAME, track="outbound"))
        _expect_audio(await call.forwarded(), b"")


@checklist.check(21, "Frames of another stream are left out")
async def other_stream(relay: Relay) -> None:
    async with relay.call() as call:
        await call.phone.send({**call.phone.stray(_FRAME), "streamSid": _OTHER_STREAM})
        _expect_audio(await call.forwarded(), b"")


@checklist.check(22, "A frame without audio is left out")
async def no_audio(relay: Relay) -> None:
    async with relay.call() as call:
        phone = call.phone
        odd = [phone.stray(payload=payload) for payload in ("", None, 5, ["//8="])]
        bodies: tuple[Json, ...] = ({}, {"media": None}, {"media": {}})
        await phone.send(*odd, *(phone.numbered({"event": "media", **body}) for body in bodies))
        _expect_audio(await call.forwarded(), b"")


@checklist.check(23, "A frame of bad base64 is left out, and the next one is heard")
async def bad_base64(relay: Relay) -> None:
    async with relay.call() as call:
        for payload in ("//!8", "//8", "//8=AAAA", "//8é", "="):
            await call.phone.send(call.phone.stray(payload=payload))
        await call.phone.speak(_FRAME)
        _expect_audio(await call.forwarded(), _FRAME)


@checklist.check(24, "Nothing is put before the first frame")
async def first_frame(relay: Relay) -> None:
    async with relay.call() as call:
        call.phone.now_ms = 155
        await call.phone.speak(_FRAME)
        _expect_audio(await call.forwarded(), _FRAME)


@checklist.check(25, "A gap in the timestamps becomes silence")
async def gap(relay: Relay) -> None:
    async with relay.call() as call:
        await _speak_at(call.phone, 100)
        await _speak_at(call.phone, 320)
        _expect_audio(await call.forwarded(), _FRAME + b"\xff" * 1600 + _FRAME)


@checklist.check(26, "A long gap becomes at most ten seconds of silence")
async def long_gap(relay: Relay) -> None:
    async with relay.call() as call:
        await _speak_at(call.phone, 100)
        await _speak_at(call.phone, 60_120)
        heard = await call.forwarded()
        padding = heard[FRAME_BYTES:-FRAME_BYTES]
        expect(0 < len(padding) <= _LONGEST_PADDING_BYTES, f"a minute's gap became {len(padding) // 8} ms")
        _expect_audio(heard, _FRAME + b"\xff" * len(padding) + _FRAME)


@checklist.check(27, "A timestamp that goes back or says nothing adds nothing")
async def odd_timestamps(relay: Relay) -> None:
    async with relay.call() as call:
        await _speak_at(call.phone, 1000)
        odd = ("40", "0", "-20", "soon", "", None)
        await call.phone.send(*(call.phone.stray(_FRAME, timestamp=timestamp) for timestamp in odd))
        _expect_audio(await call.forwarded(), _FRAME * (1 + len(odd)))


async def _begun(relay: Relay, phone: Phone) -> Call:
    """The call that has come of this phone's start, once it carries audio."""
    model = await relay.upstream.next()
    await model.set_up()
    call = Call(phone, model)
    await call.expect_alive()
    return call


async def _speak_at(phone: Phone, timestamp_ms: int) -> None:
    phone.now_ms = timestamp_ms
    await phone.speak(_FRAME)


def _since(before: bytes, after: bytes) -> bytes:
    """What came behind the audio known before and the frame that was sent to know it."""
    return after[len(before) + FRAME_BYTES :]


def _expect_audio(heard: bytes, expected: bytes) -> None:
    if heard == expected:
        return
    same = next((at for at, pair in enumerate(zip(heard, expected, strict=False)) if pair[0] != pair[1]), None)
    where = "" if same is None else f", other from byte {same} on"
    raise UnmetError(f"{len(heard)} bytes came instead of {len(expected)}{where}")
