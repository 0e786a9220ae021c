"""What a call leaves behind: records that tell its story, and log lines that keep its secrets."""

import json

import structlog
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from relay.log import CallEnded, ResponseEnded, emit
from relay.usage import TokenUsage
from tests.relay import wire
from tests.relay.calls import OpenCall, Records


async def test_the_records_tell_the_story_of_the_call(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        await twilio.send(wire.frame())
        await openai.send(wire.speech_started(), wire.speech_stopped(), wire.transcribed("Where is my order?"))
        await openai.send(wire.response_created(), wire.words_done("On its way."), wire.audio_delta(ms=200))
        await openai.send(wire.audio_done(), wire.response_done())
        await trio.sleep(1)
        await twilio.send(wire.stop())
        await twilio.is_disconnected.wait()
    told = [event.__struct_config__.tag for _, event in records.offered]
    assert told == [
        *("call.started", "upstream.configured", "turn.caller_began", "turn.caller_ended", "turn.caller_transcribed"),
        *("turn.answer_began", "response.ended", "playout.mark_echoed", "turn.answer_sounded", "turn.agent_heard"),
        *("playout.mark_echoed", "call.ended"),
    ]
    (ended,) = records.of(CallEnded)
    assert (ended.frames_from_caller, ended.audio_ms_to_caller, ended.total_tokens) == (1, 200, 140)
    assert {call_sid for call_sid, _ in records.offered} == {wire.CALL}


async def test_log_lines_are_json_and_carry_nobodys_words(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        await twilio.send(wire.dtmf("7"), {"event": "new"}, b"{")
        await openai.send(wire.speech_started(), wire.speech_stopped(), wire.transcribed("my secret"))
        await openai.send(wire.error("rate_limit_exceeded", message="your secret"))
        await openai.send(wire.response_created(), wire.words_delta("our secret"), wire.audio_delta(ms=4000))
        await trio.sleep(3)
        await openai.send(wire.speech_started(), wire.response_done())
    with structlog.testing.capture_logs() as lines:
        for call_sid, event in records.offered:
            emit(call_sid, event)
    assert [line["event"] for line in lines] == [event.__struct_config__.tag for _, event in records.offered]
    assert all(line["call_sid"] == wire.CALL for line in lines)
    assert "secret" not in json.dumps(lines)
    shown = {line["event"]: line for line in lines}
    assert shown["turn.caller_transcribed"]["words"] == "(9 characters)"
    assert shown["turn.agent_heard"]["words"] == "(3 characters)"
    assert shown["dtmf.received"]["digit"] == "(1 characters)"


def test_a_log_line_shows_tokens_by_name() -> None:
    usage = TokenUsage(input_text_tokens=14, output_audio_tokens=136)
    with capture_logs() as lines:
        emit("CA1", ResponseEnded(response_id="resp_1", status="completed", total_tokens=150, usage=usage))
    (line,) = lines
    assert (line["usage"]["input_text_tokens"], line["usage"]["output_audio_tokens"]) == (14, 136)
