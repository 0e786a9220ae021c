"""Cases 31 to 54 of the Twilio list: the agent's voice on its way out, and what happens when the caller speaks."""

import base64
from contextlib import suppress
from typing import Final

import trio

from benchmarks.conformance.check import Checklist, UnmetError, expect, expect_equal, shown
from benchmarks.conformance.relay_call import Relay
from benchmarks.conformance.relay_ends import BYTES_PER_MS, FRAME_BYTES, voice
from benchmarks.conformance.wire import Json

checklist = Checklist[Relay]()

_MARK_WITHIN_BYTES: Final = 200 * BYTES_PER_MS
_SECOND: Final = {"response": "resp_2", "item": "item_2"}
_WITHOUT_ECHO_S: Final = 0.6  # longer than what is sounding


@checklist.check(31, "Audio has the documented keys and adds up to what came in")
async def documented_keys(relay: Relay) -> None:
    async with relay.call() as call:
        audio = await call.answer(50)
        await call.model.finish()
        last = await call.settle()
        padding = call.phone.heard()[len(audio) : -len(last)]
        expect(call.phone.heard().startswith(audio), "other bytes came than were sent")
        expect(len(padding) < FRAME_BYTES and not padding.strip(b"\xff"), f"{len(padding)} bytes were added")
        expect(not call.phone.misshapen, f"Twilio would warn about {call.phone.misshapen[:1]}")


@checklist.check(32, "Deltas of any size leave in whole frames")
async def whole_frames(relay: Relay) -> None:
    async with relay.call() as call:
        deltas = [bytes([size]) * size for size in (100, 100, 120)]
        await call.model.begin()
        for delta in deltas:
            await call.model.speak(delta)
        heard = await call.phone.until_heard(320)
        sizes = [len(base64.b64decode(message["media"]["payload"])) for message in call.phone.of("media")]
        expect(all(size % FRAME_BYTES == 0 for size in sizes), f"messages of {sizes} bytes")
        expect(heard == b"".join(deltas), "other bytes came than were sent")


@checklist.check(33, "A mark follows every 200 ms of audio under a name of its own")
async def marks(relay: Relay) -> None:
    async with relay.call() as call:
        audio = await call.answer(*([35] * 60))
        await call.phone.until_marked(len(audio) - _MARK_WITHIN_BYTES)
        marked = 0
        for came, name in call.phone.between_marks():
            marked = marked if name is None else came
            expect(came - marked <= _MARK_WITHIN_BYTES, f"{(came - marked) // BYTES_PER_MS} ms without a mark")
        names = call.phone.marks()
        expect(len(names) == len(set(names)), "a mark's name came twice")


@checklist.check(34, "The last audio of a part is followed by an end mark")
async def end_mark(relay: Relay) -> None:
    async with relay.call() as call:
        audio = await call.answer(60)
        await call.model.finish_item()
        await call.phone.until_marked(len(audio))


@checklist.check(35, "The first bytes are the model's own")
async def no_header(relay: Relay) -> None:
    async with relay.call() as call:
        audio = b"\x00\x7f\x80\xff" * 40
        await call.model.begin()
        await call.model.speak(audio)
        expect(await call.phone.until_heard(len(audio)) == audio, "other bytes came than were sent")


@checklist.check(36, "Nothing is said after the stop")
async def silence_after_stop(relay: Relay) -> None:
    async with relay.call() as call:
        await call.answer(200)
        await call.phone.until_marked(_MARK_WITHIN_BYTES)
        before = len(call.phone.messages)
        await call.phone.send(call.phone.stop())
        await call.model.until_closed()
        await call.model.speak(voice(200))
        await call.phone.until_closed()
        expect_equal("what came", call.phone.kinds()[before:], [])


@checklist.check(38, "Barge-in between two marks clears once and cuts between them")
async def between_marks(relay: Relay) -> None:
    async with relay.call() as call:
        await call.answer(200, 200)
        await call.phone.echo(await call.phone.until_marked(_MARK_WITHIN_BYTES))
        await call.forwarded()  # the echo has come before the caller is heard to speak
        await trio.sleep(0.05)
        expect_equal("the number of clears", await call.interrupted(), 1)
        _expect_between(200, call.cut(), 400)


@checklist.check(39, "Without an echo no more than the first mark was heard")
async def without_echo(relay: Relay) -> None:
    async with relay.call() as call:
        await call.answer(200, 200)
        await trio.sleep(_WITHOUT_ECHO_S)
        expect_equal("the number of clears", await call.interrupted(), 1)
        _expect_between(0, call.cut(), 200)


@checklist.check(40, "What was heard to its end is left alone")
async def heard_to_its_end(relay: Relay) -> None:
    async with relay.call() as call:
        audio = await call.answer(400)
        await call.phone.until_marked(len(audio))
        marks = len(call.phone.marks())
        await call.model.finish()
        with suppress(UnmetError):  # whether the end has a mark of its own is another case's question
            await call.phone.wait(lambda: len(call.phone.marks()) > marks or None, "an end mark")
        await call.phone.echo(*call.phone.marks())
        await call.forwarded()
        expect_equal("the number of clears", await call.interrupted(), 0)
        expect_equal("the cuts", call.model.truncated(), {})
        expect_equal("the number of cancels", len(call.model.of("response.cancel")), 0)


@checklist.check(41, "An answer that is generated but still sounds is stopped without a cancel")
async def generated(relay: Relay) -> None:
    async with relay.call() as call:
        await call.answer(400)
        await call.model.finish()
        expect_equal("the number of clears", await call.interrupted(), 1)
        _expect_between(0, call.cut(), 400)
        expect_equal("the number of cancels", len(call.model.of("response.cancel")), 0)


@checklist.check(42, "An answer without audio yet is stopped before its first word")
async def before_first_word(relay: Relay) -> None:
    async with relay.call() as call:
        await call.model.begin(item=None)
        await call.model.hear_caller()
        await call.model.speak(voice(200))
        last = await call.settle()
        expect(call.phone.heard() == last, "its audio was sent all the same")
        expect_equal("the cuts", call.model.truncated(), {})


@checklist.check(43, "Of two queued answers the first is cut where it was heard and the second at its beginning")
async def two_answers(relay: Relay) -> None:
    async with relay.call() as call:
        await call.answer(400)
        await call.model.finish()
        await call.answer(300, **_SECOND)
        expect_equal("the number of clears", await call.interrupted(), 1)
        _expect_between(0, call.cut("item_1"), 200)
        expect_equal("the second's cut", call.cut("item_2"), 0)


@checklist.check(44, "Marks of cleared audio change nothing")
async def cleared_marks(relay: Relay) -> None:
    async with relay.call() as call:
        audio = await call.answer(200, 200)
        await call.phone.until_marked(len(audio))
        old = call.phone.marks()
        await call.clear()
        await call.model.finish(status="cancelled")
        await call.answer(200, 200, **_SECOND)
        await call.phone.until_marked(2 * len(audio))
        await call.phone.echo(*old)
        await call.forwarded()
        expect_equal("the number of clears", await call.interrupted(), 1)
        _expect_between(0, call.cut("item_2"), 200)


@checklist.check(45, "Late audio of an interrupted response is not heard")
async def late_audio(relay: Relay) -> None:
    async with relay.call() as call:
        audio = await call.answer(400)
        await call.clear()
        await call.model.speak(voice(200))
        await call.model.speak(voice(200), item="item_2")
        await call.model.finish(status="cancelled")
        last = await call.settle()
        expect(call.phone.heard() == audio + last, f"{len(call.phone.heard()) - len(audio + last)} bytes too many came")


@checklist.check(46, "The next answer is heard and tracked")
async def next_answer(relay: Relay) -> None:
    async with relay.call() as call:
        first = await call.answer(400)
        await call.clear()
        await call.model.finish(status="cancelled")
        second = await call.answer(200, 200, **_SECOND)
        expect(call.phone.heard() == first + second, "other bytes came than were sent")
        await call.phone.echo(await call.phone.until_marked(len(first) + _MARK_WITHIN_BYTES))
        await call.forwarded()
        expect_equal("the number of clears", await call.interrupted(), 1)
        _expect_between(200, call.cut("item_2"), 400)


@checklist.check(47, "Speaking twice stops once")
async def speaking_twice(relay: Relay) -> None:
    async with relay.call() as call:
        await call.answer(400)
        await call.model.hear_caller()
        await call.interrupted()
        expect_equal("the number of clears", len(call.phone.of("clear")), 1)
        call.cut()


@checklist.check(48, "An item of 161 bytes is cut at a whole ms, within it")
async def odd_item(relay: Relay) -> None:
    async with relay.call() as call:
        await call.model.begin()
        await call.model.speak(voice(21)[:161])
        await call.phone.until_heard(FRAME_BYTES)
        await call.phone.echo(*call.phone.marks())
        await call.forwarded()
        await trio.sleep(0.05)
        await call.interrupted()
        _expect_between(0, call.cut(), 20)


@checklist.check(49, "A cut is never beyond the item's audio")
async def within_the_item(relay: Relay) -> None:
    async with relay.call() as call:
        for nbytes in (1, 7, 159, 161, 333, 1607, 3203):
            response, item = f"resp_{nbytes}", f"item_{nbytes}"
            await call.model.begin(response, item)
            await call.model.speak(voice(500)[:nbytes], response, item)
            await call.interrupted()
            for audio_end_ms in call.model.truncated().get(item, []):
                is_within = isinstance(audio_end_ms, int) and 0 <= audio_end_ms <= nbytes // BYTES_PER_MS
                expect(is_within, f"an item of {nbytes} bytes was cut at {audio_end_ms} ms")


@checklist.check(50, "A mark that is none of ours confirms nothing")
async def foreign_marks(relay: Relay) -> None:
    async with relay.call() as call:
        await call.answer(200, 200)
        name = await call.phone.until_marked(2 * _MARK_WITHIN_BYTES)
        phone = call.phone
        bodies: tuple[Json, ...] = ({}, {"mark": None}, {"mark": {}})
        nameless = [phone.numbered({"event": "mark", **body}) for body in bodies]
        other_stream = {**phone.mark(name), "streamSid": f"MZ{0xBAD:032x}"}
        await phone.send(phone.mark("responsePart"), phone.mark(1), other_stream, *nameless)
        await call.forwarded()
        expect_equal("the number of clears", await call.interrupted(), 1)
        _expect_between(0, call.cut(), 200)


@checklist.check(51, "A later echo confirms the marks before it")
async def later_echo(relay: Relay) -> None:
    async with relay.call() as call:
        await call.answer(200, 200, 200, 200)
        await call.phone.echo(await call.phone.until_marked(3 * _MARK_WITHIN_BYTES))
        await call.forwarded()
        expect_equal("the number of clears", await call.interrupted(), 1)
        _expect_between(600, call.cut(), 800)


@checklist.check(53, "A refused cut does not end the call")
async def refused_cut(relay: Relay) -> None:
    async with relay.call() as call:
        await call.answer(400)
        await call.clear()
        truncate = await call.model.next("conversation.item.truncate")
        for code in ("invalid_value", "unsupported_content_type", "response_cancel_not_active", None):
            error = {"type": "invalid_request_error", "code": code, "message": "Audio content is already shorter"}
            await call.model.say("error", error={**error, "param": None, "event_id": truncate.get("event_id")})
        await call.expect_alive()


@checklist.check(54, "The first bytes of the next answer are the model's own")
async def no_remainder(relay: Relay) -> None:
    async with relay.call() as call:
        await call.model.begin()
        await call.model.speak(b"\x01" * 170)
        await call.phone.until_heard(FRAME_BYTES)
        await call.model.hear_caller()
        await call.model.begin(**_SECOND)
        await call.model.speak(b"\x02" * FRAME_BYTES, **_SECOND)
        last = await call.settle()
        expect_equal("the number of clears", len(call.phone.of("clear")), 1)
        behind = call.phone.heard_since_clear()
        expect(behind == b"\x02" * FRAME_BYTES + last, f"behind the clear came {shown(behind[:FRAME_BYTES])}")


def _expect_between(low_ms: int, actual_ms: int, high_ms: int) -> None:
    expect(low_ms <= actual_ms <= high_ms, f"the cut was at {actual_ms} ms, not between {low_ms} and {high_ms}")
