"""Points 50 to 60 of the OpenAI list: the conversation's items, wrong requests, and the session's end."""

import base64
import time
from typing import Final

import trio

from benchmarks.conformance.check import Checklist, NotShownError, expect, expect_equal
from benchmarks.conformance.openai_client import (
    BYTES_PER_MS,
    GREETING,
    Client,
    Realtime,
    of_kind,
    question,
    spoken,
    turn,
)
from benchmarks.conformance.wire import Json

checklist = Checklist[Realtime]()

_TOOL: Final[Json] = {
    "type": "function",
    "name": "opening_hours",
    "description": "Tells until when the shop is open.",
    "parameters": {"type": "object", "properties": {}},
}
_NOBODY: Final = "item_nobody"


@checklist.check(50, "Items of each kind can be created, and are put where previous_item_id says")
async def creating(realtime: Realtime) -> None:
    async with realtime.session() as client:
        first = await client.add_text("Hello.")
        for role in ("system", "assistant"):
            expect_equal("the role", (await client.add_text("Hello.", role=role))["role"], role)
        call = {"type": "function_call", "name": "opening_hours", "arguments": "{}", "call_id": "call_check"}
        output = {"type": "function_call_output", "call_id": "call_check", "output": "{}"}
        for item in (call, output):
            added, done = await _create(client, item=item)
            expect_equal("the item done", done["item"], added["item"])
            expect(item.items() <= added["item"].items(), f"the item came back as {added['item']}")
        text = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Where?"}]}
        root, _ = await _create(client, item=text, previous_item_id="root")
        after, _ = await _create(client, item=text, previous_item_id=first["id"])
        expect_equal("the predecessors", (root["previous_item_id"], after["previous_item_id"]), (None, first["id"]))


@checklist.check(50, "An item after one that does not exist, or under an id that is taken, is not added")
async def creating_in_vain(realtime: Realtime) -> None:
    async with realtime.session() as client:
        item = await client.add_text("Hello.", id="item_check")
        text = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Where?"}]}
        await client.refused("conversation.item.create", item=text, previous_item_id=_NOBODY)
        await client.refused("conversation.item.create", item={**text, "id": item["id"]})
        expect_equal("the items added", client.kinds().count("conversation.item.added"), 1)


@checklist.check(51, "An assistant's audio or an unknown kind of content cannot be created")
async def wrong_content(realtime: Realtime) -> None:
    async with realtime.session() as client:
        audio = {"type": "output_audio", "audio": "//8="}
        for role, part in (("assistant", audio), ("user", {"type": "scent", "scent": "basil"})):
            item = {"type": "message", "role": role, "content": [part]}
            error = await client.refused("conversation.item.create", item=item)
            expect_equal(f"the error about {part['type']}", error["code"], "invalid_value")


@checklist.check(52, "Truncating shortens the audio and forgets the transcript; 0 is allowed")
async def truncating(realtime: Realtime) -> None:
    async with realtime.session() as client:
        audio, item_id = await _spoken_item(client)
        for audio_end_ms in (200, 0):
            cut = {"item_id": item_id, "content_index": 0, "audio_end_ms": audio_end_ms}
            await client.ask("conversation.item.truncate", **cut)
            truncated = await client.next("conversation.item.truncated")
            expect(cut.items() <= truncated.items(), f"the answer was {truncated}")
            content = await _content(client, item_id)
            _expect_audio(content, audio[: audio_end_ms * BYTES_PER_MS])
            expect(not content.get("transcript"), f"the transcript is still {content.get('transcript')!r}")


@checklist.check(52, "What cannot be truncated is refused and left as it is: too long, unknown, or no spoken audio")
async def truncating_in_vain(realtime: Realtime) -> None:
    async with realtime.session() as client:
        written = await client.add_text("Hello.")
        audio, item_id = await _spoken_item(client)
        too_long = len(audio) // BYTES_PER_MS + 1
        cut = {"content_index": 0, "audio_end_ms": too_long}
        error = await client.refused("conversation.item.truncate", item_id=item_id, **cut)
        expect_equal("the error's code", error["code"], "invalid_value")
        expect(f"already shorter than {too_long}ms" in error["message"], f"the message is {error['message']!r}")
        error = await client.refused("conversation.item.truncate", item_id=_NOBODY, **cut)
        expect_equal("the error's code", error["code"], "item_truncate_invalid_item_id")
        error = await client.refused("conversation.item.truncate", item_id=written["id"], **cut)
        expect_equal("the error about a written item", error["code"], None)
        _expect_audio(await _content(client, item_id), audio)


@checklist.check(53, "Items can be read, the caller's audio with its bytes, and deleted; unknown ones are refused")
async def reading_and_deleting(realtime: Realtime) -> None:
    async with realtime.session() as client:
        await client.append(question())
        await client.ask("input_audio_buffer.commit")
        item = (await client.next("conversation.item.done"))["item"]
        _expect_audio(await _content(client, item["id"]), question())
        await client.ask("conversation.item.delete", item_id=item["id"])
        deleted = await client.next("conversation.item.deleted")
        expect_equal("the item deleted", deleted["item_id"], item["id"])
        for verb in ("delete", "retrieve"):
            error = await client.refused(f"conversation.item.{verb}", item_id=item["id"])
            expect_equal("the error's code", error["code"], f"item_{verb}_invalid_item_id")


@checklist.check(54, "A function call is streamed and told whole, and the server waits for its output")
async def function_calls(realtime: Realtime) -> None:
    async with realtime.session(tools=[_TOOL], tool_choice="required") as client:
        await client.add_text("Until when are you open?")
        events = await client.respond(tool_choice="required")
        done = of_kind(events, "response.function_call_arguments.done")
        if not done:
            raise NotShownError("it called no function though it was to call one")
        items = [event["item"] for event in of_kind(events, "response.output_item.done")]
        calls = {item["call_id"]: item["arguments"] for item in items if item["type"] == "function_call"}
        expect_equal("the calls told", {event["call_id"]: event["arguments"] for event in done}, calls)
        for call_id, arguments in calls.items():
            deltas = of_kind(events, "response.function_call_arguments.delta")
            streamed = "".join(event["delta"] for event in deltas if event["call_id"] == call_id)
            expect_equal("the arguments streamed", streamed, arguments)
            await _create(client, item={"type": "function_call_output", "call_id": call_id, "output": "{}"})
        await client.update()
        expect_equal("the responses created", client.kinds().count("response.created"), 1)


@checklist.check(54, "The output of a call that nobody made is refused")
async def output_of_no_call(realtime: Realtime) -> None:
    async with realtime.session() as client:
        output = {"type": "function_call_output", "call_id": "call_nobody", "output": "{}"}
        error = await client.refused("conversation.item.create", item=output)
        expect_equal("the error's type", error["type"], "invalid_request_error")


checklist.beyond_sight(
    55, "The tools of an MCP server are listed and called", "it takes an MCP server that the service can reach"
)


@checklist.check(56, "Unknown events and broken JSON are errors, and the session goes on")
async def wrong_events(realtime: Realtime) -> None:
    async with realtime.session() as client:
        error = await client.refused("response.applaud")
        expect_equal("the error", (error["code"], error["param"]), ("invalid_value", "type"))
        for broken in ("{", "[]", '"x"', "null"):
            await client.send(broken)
            error = (await client.next("error"))["error"]
            expect_equal(f"the error about {broken}", error["type"], "invalid_request_error")
        await client.update()


@checklist.check(57, "A session that expires is closed with 1001, and says so")
async def expiry(realtime: Realtime) -> None:
    async with realtime.connect() as client:
        session = (await client.next("session.created"))["session"]
        left_s = session["expires_at"] - time.time()
        if left_s > realtime.patience_s:
            raise NotShownError(f"it expires in {left_s:.0f} s, and that is not waited for")
        expect_equal("the close code", await client.until_closed(), 1001)
        expect("maximum duration" in client.close_reason, f"the close reason is {client.close_reason!r}")


@checklist.check(60, "A client that closes, even while a response runs, is answered with a close at once")
async def closing(realtime: Realtime) -> None:
    async with realtime.session() as client:
        await client.append(turn())
        await client.ask("response.create", response=GREETING)
        await client.next("response.created")
        with trio.move_on_after(realtime.patience_s) as waiting:
            await client.socket.aclose(1000)
        expect(not waiting.cancelled_caught, f"no close came back within {realtime.patience_s:g} s")
    async with realtime.session():
        pass  # and the next one is served


async def _create(client: Client, **fields: object) -> tuple[Json, Json]:
    """Create an item; gives the events that it was added and done."""
    await client.ask("conversation.item.create", **fields)
    added = await client.next("conversation.item.added")
    return added, await client.next("conversation.item.done")


async def _spoken_item(client: Client) -> tuple[bytes, str]:
    """Have the model speak; gives the audio and its item's id."""
    events = await client.respond()
    return spoken(events), str(of_kind(events, "response.output_item.added")[0]["item"]["id"])


async def _content(client: Client, item_id: str) -> Json:
    """The only content part of an item, with its audio."""
    await client.ask("conversation.item.retrieve", item_id=item_id)
    parts: list[Json] = (await client.next("conversation.item.retrieved"))["item"]["content"]
    expect(len(parts) == 1, f"the item has {len(parts)} content parts")
    return parts[0]


def _expect_audio(content: Json, expected: bytes) -> None:
    audio = base64.b64decode(content.get("audio") or "")
    expect(audio == expected, f"{len(audio)} bytes of audio came instead of {len(expected)}, or other ones")
