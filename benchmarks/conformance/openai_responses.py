"""Points 35 to 49 of the OpenAI list: the event stream of a response, and how it ends."""

from typing import Final

import trio

from benchmarks.conformance.check import Checklist, NotShownError, expect, expect_equal
from benchmarks.conformance.openai_client import (
    BYTES_PER_MS,
    GREETING,
    PCMU,
    VAD,
    Realtime,
    of_kind,
    only,
    question,
    silence,
    spoken,
    turn,
    until_shown,
)
from benchmarks.conformance.wire import Json

checklist = Checklist[Realtime]()

_BESIDE: Final = ("conversation.item.input_audio_transcription.", "rate_limits.updated")
_OPENING: Final = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
_CLOSING: Final = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]
_DELTAS: Final = {"response.output_audio.delta", "response.output_audio_transcript.delta"}
_TOKEN_MS: Final = 50  # of the assistant's audio
_CACHED_BLOCK: Final = 64
_RATE_LIMITS_WITHIN_S: Final = 1.0


@checklist.check(35, "A response's events come in their order: opened from the outside in, closed from the inside out")
async def event_order(realtime: Realtime) -> None:
    async with realtime.session() as client:
        kinds = [kind for kind in _kinds(await client.respond()) if not kind.startswith(_BESIDE)]
        expect_equal("the opening", kinds[: len(_OPENING)], _OPENING)
        expect_equal("the closing", kinds[-len(_CLOSING) :], _CLOSING)
        between = set(kinds[len(_OPENING) : -len(_CLOSING)])
        expect_equal("what came between", between, _DELTAS)


@checklist.check(36, "The transcript runs ahead of the audio, and adds up to what the closing events say")
async def transcripts(realtime: Realtime) -> None:
    async with realtime.session() as client:
        events = await client.respond()
        kinds = _kinds(events)
        first_word = kinds.index("response.output_audio_transcript.delta")
        expect(first_word < kinds.index("response.output_audio.delta"), "audio came before the first word")
        said = "".join(event["delta"] for event in of_kind(events, "response.output_audio_transcript.delta"))
        done = only(events, "response.output_audio_transcript.done")
        part = only(events, "response.content_part.done")
        item = only(events, "response.output_item.done")
        content = [{"type": "output_audio", "transcript": said}]
        expect_equal("the transcript", (done["transcript"], part["part"]["transcript"]), (said, said))
        expect_equal("the item's content", item["item"]["content"], content)


@checklist.check(37, "The audio is μ-law, and its bytes are the length that truncation goes by")
async def audio_length(realtime: Realtime) -> None:
    async with realtime.session() as client:
        events = await client.respond()
        length_ms = len(spoken(events)) // BYTES_PER_MS
        expect(length_ms > 0, "there was no audio")
        cut = {"item_id": _item_id(events), "content_index": 0}
        error = await client.refused("conversation.item.truncate", **cut, audio_end_ms=length_ms + 1000)
        expect(f"{length_ms}ms" in error["message"], f"{length_ms} ms came, but: {error['message']}")
        await client.ask("conversation.item.truncate", **cut, audio_end_ms=length_ms)
        truncated = await client.next("conversation.item.truncated")
        expect_equal("the cut", truncated["audio_end_ms"], length_ms)


@checklist.check(38, "Audio comes in deltas of 20 to 1000 ms, faster than it sounds")
async def bursts(realtime: Realtime) -> None:
    async with realtime.session() as client:
        await client.ask("response.create", response=GREETING)
        first = await client.next("response.output_audio.delta")
        began_at = trio.current_time()
        events = [first, *await client.collect("response.output_audio.done")]
        took_ms = (trio.current_time() - began_at) * 1000
        deltas = [len(spoken([event])) // BYTES_PER_MS for event in of_kind(events, "response.output_audio.delta")]
        expect(all(20 <= ms <= 1000 for ms in deltas[:-1]), f"the deltas were of {deltas} ms")
        expect(took_ms < sum(deltas), f"{sum(deltas)} ms of audio took {took_ms:.0f} ms")


@checklist.check(39, "A second response while one runs is refused, and the refusal names the one that runs")
async def second_response(realtime: Realtime) -> None:
    async def attempt() -> None:
        async with realtime.session() as client:
            await client.ask("response.create", response=GREETING)
            second = await client.ask("response.create", response=GREETING)
            first = (await client.next("response.created"))["response"]["id"]
            event = (await client.collect("error", "response.done"))[-1]
            if event["type"] == "response.done":
                raise NotShownError("each response was over before the next one was asked for")
            error = event["error"]
            expect_equal("the error", (error["code"], error["event_id"]), (_ALREADY_ACTIVE, second))
            expect(first in error["message"], f"the message is {error['message']!r}")
            await client.next("response.done")
            expect_equal("the responses created", client.kinds().count("response.created"), 1)

    await until_shown(attempt)


_ALREADY_ACTIVE: Final = "conversation_already_has_active_response"


@checklist.check(39, "A turn's own response that cannot begin is an error that names no event")
async def turn_during_response(realtime: Realtime) -> None:
    async def attempt() -> None:
        async with realtime.session(vad={**VAD, "interrupt_response": False}) as client:
            await client.ask("response.create", response=GREETING)
            await client.append(silence(400) + turn())
            event = await client.next("error", "response.done")
            if event["type"] == "response.done":
                raise NotShownError("each response was over before the turn was")
            expect_equal("the error's code", event["error"]["code"], _ALREADY_ACTIVE)
            expect_equal("the event it names", event["error"]["event_id"], None)

    await until_shown(attempt)


@checklist.check(40, "A response outside the conversation runs beside another and leaves no item; metadata is kept")
async def out_of_band(realtime: Realtime) -> None:
    async with realtime.session() as client:
        item = await client.add_text("Hello.")
        reference = {"type": "item_reference", "id": item["id"]}
        beside = {"conversation": "none", "metadata": {"kind": "note"}, "input": [reference]}
        await client.ask("response.create", response=GREETING)
        await client.ask("response.create", response=beside)
        for _ in range(2):
            await client.next("response.done")
        responses = [event["response"] for event in of_kind(client.messages, "response.done")]
        outside = [response for response in responses if response["metadata"] == {"kind": "note"}]
        expect(len(outside) == 1, f"the metadata came back as {[response['metadata'] for response in responses]}")
        expect_equal("its conversation", outside[0]["conversation_id"], None)
        ids = {output["id"] for output in outside[0]["output"]}
        added = {event["item"]["id"] for event in of_kind(client.messages, "conversation.item.added")}
        expect(not ids & added, "its items were added to the conversation")
        unknown = {**beside, "input": [{"type": "item_reference", "id": "item_nobody"}]}
        await client.refused("response.create", response=unknown)


@checklist.check(41, "What response.create overrides holds for that response alone and is told in it")
async def overrides(realtime: Realtime) -> None:
    async with realtime.session() as client:
        changed = (await client.respond(output_modalities=["text"], max_output_tokens=200))[-1]["response"]
        told = changed["output_modalities"], changed["max_output_tokens"]
        expect_equal("the overridden", told, (["text"], 200))
        usual = (await client.respond())[-1]["response"]
        told = usual["output_modalities"], usual["max_output_tokens"]
        expect_equal("the next response's", told, (["audio"], "inf"))
        expect_equal("its format", usual["audio"]["output"]["format"], PCMU)


@checklist.check(42, "A response in text has text events and output_text content, and no audio")
async def text_response(realtime: Realtime) -> None:
    async with realtime.session() as client:
        events = await client.respond(output_modalities=["text"])
        audio = {kind for kind in _kinds(events) if "audio" in kind}
        expect(not audio, f"there were {sorted(audio)}")
        said = "".join(event["delta"] for event in of_kind(events, "response.output_text.delta"))
        done = only(events, "response.output_text.done")
        expect_equal("the text", done["text"], said)
        contents = [item["content"] for item in events[-1]["response"]["output"]]
        expect_equal("the contents", contents, [[{"type": "output_text", "text": said}]])


@checklist.check(43, "response.cancel ends what runs as client_cancelled; with nothing to cancel it is refused")
async def cancelling(realtime: Realtime) -> None:
    async def attempt() -> None:
        async with realtime.session() as client:
            error = await client.refused("response.cancel")
            expect_equal("the error's code", error["code"], "response_cancel_not_active")
            await client.ask("response.create", response=GREETING)
            await client.next("response.created")
            error = await client.refused("response.cancel", response_id="resp_nobody")
            expect_equal("the error's code", error["code"], "response_cancel_not_active")
            await client.ask("response.cancel")
            response = _cut_short(await client.collect("response.done"))
            details = {"type": "cancelled", "reason": "client_cancelled"}
            expect_equal("the details", response["status_details"], details)

    await until_shown(attempt)


@checklist.check(44, "The caller's speech ends what runs as turn_detected; what was said of it stays as incomplete")
async def interruption(realtime: Realtime) -> None:
    async def attempt() -> None:
        async with realtime.session(vad={**VAD, "create_response": False}) as client:
            await client.ask("response.create", response=GREETING)
            events = await client.collect("response.output_audio_transcript.delta")
            await client.append(silence(400) + question())
            events += await client.collect("response.done")
            response = _cut_short(events)
            details = {"type": "cancelled", "reason": "turn_detected"}
            expect_equal("the details", response["status_details"], details)
            kinds = _kinds(events)
            started_at = kinds.index("input_audio_buffer.speech_started")
            expect(started_at < kinds.index("response.output_item.done"), "it was cut before speech_started was told")
            said = "".join(event["delta"] for event in of_kind(events, "response.output_audio_transcript.delta"))
            items = [(item["status"], item["content"]) for item in response["output"]]
            expect_equal("its items", items, [("incomplete", [{"type": "output_audio", "transcript": said}])])
            heard_ms = len(spoken(events)) / BYTES_PER_MS
            _expect_audio_tokens(response["usage"], heard_ms)
            await client.ask("conversation.item.retrieve", item_id=response["output"][0]["id"])
            await client.next("conversation.item.retrieved")

    await until_shown(attempt)


@checklist.check(46, "A response that would exceed max_output_tokens ends incomplete")
async def token_limit(realtime: Realtime) -> None:
    async with realtime.session() as client:
        response = (await client.respond(**GREETING, max_output_tokens=20))[-1]["response"]
        expected = ("incomplete", {"type": "incomplete", "reason": "max_output_tokens"})
        expect_equal("its end", (response["status"], response["status_details"]), expected)


checklist.beyond_sight(47, "A response that fails says why, and the session lives on", "no request makes one fail")


@checklist.check(48, "Usage adds up, counts the whole conversation, and is never missing")
async def usage(realtime: Realtime) -> None:
    async with realtime.session() as client:
        first, second = [await client.respond() for _ in range(2)]
        bills = [events[-1]["response"]["usage"] for events in (first, second)]
        for bill in bills:
            _expect_sums(bill)
        _expect_audio_tokens(bills[0], len(spoken(first)) / BYTES_PER_MS)
        expect(
            bills[1]["input_tokens"] > bills[0]["input_tokens"],
            f"with more to read, the input went from {bills[0]['input_tokens']} to {bills[1]['input_tokens']} tokens",
        )


@checklist.check(49, "rate_limits.updated follows each response once")
async def rate_limits(realtime: Realtime) -> None:
    async with realtime.session() as client:
        await client.respond()
        with trio.move_on_after(_RATE_LIMITS_WITHIN_S):
            await client.next("rate_limits.updated")
            await client.update()  # and one too many would have come by now
        count = client.kinds().count("rate_limits.updated")
        if not count:
            raise NotShownError("it says nothing of rate limits, as Azure does not")
        expect_equal("how often", count, 1)


def _kinds(events: list[Json]) -> list[str]:
    return [event["type"] for event in events]


def _item_id(events: list[Json]) -> str:
    return str(of_kind(events, "response.output_item.added")[0]["item"]["id"])


def _cut_short(events: list[Json]) -> Json:
    """The response that was to be cancelled. Raises: NotShownError when it was over before."""
    response: Json = events[-1]["response"]
    if response["status"] == "completed":
        raise NotShownError("each response was over before it could be cut")
    expect_equal("its status", response["status"], "cancelled")
    return response


def _expect_sums(bill: Json) -> None:
    given, produced = bill["input_token_details"], bill["output_token_details"]
    sums = {
        "total_tokens": bill["input_tokens"] + bill["output_tokens"],
        "input_tokens": given["text_tokens"] + given["audio_tokens"] + given.get("image_tokens", 0),
        "output_tokens": produced["text_tokens"] + produced["audio_tokens"],
    }
    for name, expected in sums.items():
        expect_equal(name, bill[name], expected)
    cached = given.get("cached_tokens_details", {})
    for name in ("text_tokens", "audio_tokens"):
        count = cached.get(name, 0)
        is_block = count % _CACHED_BLOCK == 0 and count <= given[name]
        expect(is_block, f"of {given[name]} {name}, {count} were cached")


def _expect_audio_tokens(bill: Json, audio_ms: float) -> None:
    """A few tokens more are normal; an eighth more would be somebody's money."""
    tokens, expected = bill["output_token_details"]["audio_tokens"], audio_ms / _TOKEN_MS
    is_near = expected - 1 <= tokens <= expected * 1.125 + 4
    expect(is_near, f"{audio_ms:.0f} ms of audio were {tokens} tokens")
