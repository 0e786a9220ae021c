"""Points 26 to 31 of the OpenAI list: the caller's audio and the turns found in it."""

import base64
from typing import Final

from benchmarks.conformance.check import Checklist, expect, expect_equal
from benchmarks.conformance.openai_client import (
    BYTES_PER_MS,
    PREFIX_MS,
    SILENCE_MS,
    VAD,
    Realtime,
    of_kind,
    question,
    silence,
    turn,
)

checklist = Checklist[Realtime]()

_ONSET_WITHIN_MS: Final = 400  # how long a detector may take to believe that it hears speech, and how soft words begin
_LISTENS_ONLY: Final = {**VAD, "create_response": False}


@checklist.check(26, "An append is not acknowledged; a broken one is an error and the session goes on")
async def appends(realtime: Realtime) -> None:
    async with realtime.session() as client:
        await client.append(silence(200))
        for broken in ({"audio": "not base64!"}, {}):
            error = await client.refused("input_audio_buffer.append", **broken)
            expect_equal("the error's type", error["type"], "invalid_request_error")
        await client.update(audio={"input": {"format": {"type": "audio/pcm", "rate": 24000}}})
        await client.ask("input_audio_buffer.append", audio=base64.b64encode(b"\x00").decode())
        await client.update()
        others = set(client.kinds()) - {"session.created", "session.updated", "error"}
        expect(not others, f"appends were answered with {sorted(others)}")


@checklist.check(27, "Turns are found on the audio's own time: as fast as it comes, and not at all when none comes")
async def vad_time(realtime: Realtime) -> None:
    async with realtime.session(vad=_LISTENS_ONLY) as client:
        await client.append(silence(2000) + question())
        started = await client.next("input_audio_buffer.speech_started")
        expect(started["audio_start_ms"] >= 1500, f"2 s into the audio, speech began at {started['audio_start_ms']} ms")
        await client.update()
        early = of_kind(client.messages, "input_audio_buffer.speech_stopped")
        expect(not early, "the turn ended though no silence was appended")
        await client.append(silence(SILENCE_MS + 300))
        await client.next("input_audio_buffer.speech_stopped")


@checklist.check(28, "speech_started names the item to come and lies the padding before the onset, never below 0")
async def onset(realtime: Realtime) -> None:
    for lead_ms in (1000, 0):
        async with realtime.session(vad=_LISTENS_ONLY) as client:
            await client.append(silence(lead_ms) + turn())
            started = await client.next("input_audio_buffer.speech_started")
            earliest = max(0, lead_ms - PREFIX_MS)
            start_ms = started["audio_start_ms"]
            is_near = earliest <= start_ms <= earliest + _ONSET_WITHIN_MS
            expect(is_near, f"after {lead_ms} ms of silence, speech began at {start_ms} ms")
            committed = await client.next("input_audio_buffer.committed")
            expect_equal("the item", committed["item_id"], started["item_id"])


@checklist.check(29, "Silence ends the turn: stopped, committed, item added and done, then the response")
async def end_of_turn(realtime: Realtime) -> None:
    async with realtime.session(vad=VAD) as client:
        await client.append(silence(400) + turn())
        events = await client.collect("response.created")
        expected = [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
        ]
        expect_equal("the order", [event["type"] for event in events], expected)
        ids = {event.get("item_id") or event["item"]["id"] for event in events[:-1]}
        expect(len(ids) == 1, f"one turn has the ids {sorted(ids)}")
        content = events[-2]["item"]["content"]
        expect_equal("the content", content, [{"type": "input_audio", "transcript": None}])
        length_ms = events[1]["audio_end_ms"] - events[0]["audio_start_ms"]
        expected_ms = len(question()) / BYTES_PER_MS + SILENCE_MS
        expect(length_ms <= expected_ms + PREFIX_MS, f"the turn, silence included, was {length_ms} ms long")


@checklist.check(30, "Without turn detection nothing happens by itself; a commit makes an item and no response")
async def manual_turns(realtime: Realtime) -> None:
    async with realtime.session() as client:
        await client.append(silence(50))
        error = await client.refused("input_audio_buffer.commit")
        expect_equal("the error's code", error["code"], "input_audio_buffer_commit_empty")
        expect("50.00ms" in error["message"], f"the message is {error['message']!r}")
        await client.ask("input_audio_buffer.clear")
        await client.next("input_audio_buffer.cleared")
        await client.append(silence(400) + turn())
        await client.ask("input_audio_buffer.commit")
        made = [event["type"] for event in await client.collect("conversation.item.done")]
        expect_equal("a commit's events", made, ["input_audio_buffer.committed", *_ADDED])
        await client.update()
        expect("response.created" not in client.kinds(), "a commit made a response")
        expect((await client.respond())[-1]["response"]["status"] == "completed", "the response did not complete")


_ADDED: Final = ["conversation.item.added", "conversation.item.done"]


@checklist.check(31, "A commit while the caller speaks uses the id that was announced")
async def commit_during_speech(realtime: Realtime) -> None:
    async with realtime.session(vad=_LISTENS_ONLY) as client:
        await client.append(silence(400) + question())
        started = await client.next("input_audio_buffer.speech_started")
        await client.ask("input_audio_buffer.commit")
        committed = await client.next("input_audio_buffer.committed")
        expect_equal("the item", committed["item_id"], started["item_id"])
