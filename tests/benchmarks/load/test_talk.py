"""Conversations by script: who speaks when, what each byte of the agent's voice becomes, and what an upstream says."""

import base64
import json
from itertools import islice
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from trio_websocket import WebSocketConnection, open_websocket_url

from benchmarks.load import Manner, open_far_end
from benchmarks.load.ledger import FrameLedger, base64_of, call_of, name_base64
from benchmarks.load.script import deltas_ms, turns
from benchmarks.load.talk import Talk, Voice
from proto import mulaw

AT_ONCE = Manner(
    first_s=(0, 0), pause_s=(0, 0), speech_s=(0, 0), answer_s=(0.3, 0.3), think_s=(0, 0), barge_in_share=0, pace=1000
)


def payload(ledger: FrameLedger, number: int) -> str:
    return name_base64(number).decode() + ledger.tail_base64


def test_a_frame_is_160_quiet_bytes_that_name_themselves() -> None:
    ledger = FrameLedger(7)
    audio = base64.b64decode(payload(ledger, 300))
    assert len(audio) == mulaw.FRAME_BYTES
    assert int.from_bytes(audio[:3]) == 300
    assert call_of(payload(ledger, 300)) == 7
    assert max(abs(mulaw.decode(audio[6:]).astype(int))) < 130
    assert payload(FrameLedger(8), 300) != payload(ledger, 300)


def test_same_seed_same_talk() -> None:
    first, again = (list(islice(turns(Manner(), 1, 5), 20)) for _ in range(2))
    assert first == again
    assert first != list(islice(turns(Manner(), 2, 5), 20))
    assert {turn.is_interrupted for turn in first} == {True, False}
    assert all(turn.next_after_s < turn.answer_ms / 1000 for turn in first if turn.is_interrupted)


@given(answer_ms=st.integers(1, 10_000))
def test_an_answer_is_cut_as_the_service_cuts_it(answer_ms: int) -> None:
    cut = deltas_ms(answer_ms)
    assert sum(cut) == answer_ms
    assert cut[:-1] == [100, 150, *[250] * len(cut)][: len(cut) - 1]
    assert max(cut) <= 250


def told(talk: Talk, lengths: list[int]) -> list[bytes]:
    talk.begin_response()
    return [base64.b64decode(talk.say(length, 1.0)) for length in lengths]


def test_audio_that_is_cut_and_joined_is_still_told_apart() -> None:
    talk = Talk(FrameLedger(1))
    first, second = told(talk, [800, 1200]), told(talk, [400])
    heard = b"".join(first + second)
    for piece in (heard[:700], heard[700:2100] + b"\xff" * 60, heard[2100:]):
        talk.hear(base64_of(piece).decode(), 2.0)
    assert talk.voice(60.0) == Voice(sent=2400, heard=2400, cleared=0, lost=0, extra=0, padding=60)
    assert list(talk.first_audio_ms) == [1000.0, 1000.0]


def test_missing_audio_is_lost_unless_the_caller_spoke_over_it() -> None:
    talk = Talk(FrameLedger(1))
    told(talk, [800])
    told(talk, [400])
    talk.barge_in(5.0)
    talk.clear(5.25)
    talk.clear(6.0)  # one more than was needed
    assert talk.voice(60.0) == Voice(sent=1200, heard=0, cleared=400, lost=800, extra=0, padding=0)
    assert list(talk.clear_ms) == [250.0]


def test_audio_that_comes_twice_or_was_never_said_is_extra() -> None:
    talk = Talk(FrameLedger(1))
    [audio] = told(talk, [800])
    for piece in (audio, audio, b"\x09" * 50):
        talk.hear(base64_of(piece).decode(), 2.0)
    assert talk.voice(60.0).extra == 850


def test_audio_that_has_not_sounded_yet_is_not_judged() -> None:
    talk = Talk(FrameLedger(1))
    told(talk, [8000])
    assert talk.voice(1.9).lost == 0
    assert talk.voice(2.6).lost == 8000


async def events_until(socket: WebSocketConnection, last: str) -> list[dict[str, Any]]:
    events = [json.loads(await socket.get_message())]
    while events[-1]["type"] != last:
        events.append(json.loads(await socket.get_message()))
    return events


def append(call: int) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": payload(FrameLedger(call), 0)})


async def test_the_conversations_upstream_speaks_a_whole_turn() -> None:
    async with (
        open_far_end("conversation", manner=AT_ONCE) as far_end,
        open_websocket_url(far_end.upstream_url) as socket,
    ):
        far_end.new_callers(2)  # after the session was opened: a relay may have had it as a spare
        await socket.send_message(append(1))
        events = await events_until(socket, "rate_limits.updated")
    kinds = [event["type"] for event in events]
    assert kinds[:6] == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert kinds[-2] == "response.done"
    response = events[-2]["response"]
    assert response["status"] == "completed"
    usage = response["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    deltas = [base64.b64decode(event["delta"]) for event in events if event["type"] == "response.output_audio.delta"]
    assert [len(delta) for delta in deltas] == [800, 1200, 400]
    words = [event["delta"] for event in events if event["type"] == "response.output_audio_transcript.delta"]
    assert response["output"][0]["content"][0]["transcript"] == "".join(words)
    assert len({event["event_id"] for event in events}) == len(events)


async def test_a_relay_may_ask_for_a_greeting_cancel_it_and_truncate() -> None:
    slow = Manner(first_s=(60, 60), think_s=(0, 0), pace=0.1)
    async with open_far_end("conversation", manner=slow) as far_end, open_websocket_url(far_end.upstream_url) as socket:
        far_end.new_callers(1)
        for asked in ("response.cancel", "response.create"):
            await socket.send_message(json.dumps({"type": asked}))
        await socket.send_message(append(0))
        begun = await events_until(socket, "response.output_audio.delta")
        await socket.send_message(json.dumps({"type": "response.create"}))
        await socket.send_message(json.dumps({"type": "response.cancel"}))
        truncate = {"type": "conversation.item.truncate", "item_id": "item_1", "audio_end_ms": 40, "content_index": 0}
        await socket.send_message(json.dumps(truncate))
        ended = await events_until(socket, "conversation.item.truncated")
    assert begun[1]["error"]["code"] == "response_cancel_not_active"
    assert ended[0]["error"]["code"] == "conversation_already_has_active_response"
    [done] = [event["response"] for event in ended if event["type"] == "response.done"]
    assert (done["status"], done["output"][0]["status"]) == ("cancelled", "incomplete")
    assert ended[-1]["audio_end_ms"] == 40


async def test_the_echo_begins_a_new_response_after_a_cancelled_one() -> None:
    async with open_far_end() as far_end, open_websocket_url(far_end.upstream_url) as socket:
        for kind in ("session.update", "response.cancel"):
            await socket.send_message(json.dumps({"type": kind}))
        await socket.send_message(append(0))
        events = await events_until(socket, "response.output_audio.delta")
    assert [event["type"] for event in events] == [
        "session.created",
        "session.updated",
        "response.created",
        "response.done",
        "response.created",
        "response.output_audio.delta",
    ]
    first, second = events[2]["response"]["id"], events[4]["response"]["id"]
    assert events[5]["response_id"] == second != first
    assert events[5]["delta"] == payload(FrameLedger(0), 0)
