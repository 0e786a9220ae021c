"""The flight recorder: all that happens to a call is kept, nothing that is secret is, and no call suffers from it."""

from typing import Any, get_args

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from proto import realtime, twilio
from relay import recorder
from relay.events import (
    Abort,
    Beside,
    CancelTool,
    Command,
    DropUpstream,
    Event,
    HangUp,
    Malformed,
    OpenUpstream,
    RunTool,
    SocketClosed,
    StartRefused,
    SwitchUpstream,
    Timeout,
    ToBeside,
    ToolFinished,
    UpstreamUnreachable,
)
from relay.log import AgentHeard, BargedIn, CallEnded, CallStarted, KeyPressed, LogEvent
from relay.opening import Admitted
from relay.persona import Persona, greeting_config, session_config
from relay.privacy import Privacy
from relay.recorder import Capture, command_line, encode_line, event_line, read_event
from relay.retry import Failure
from relay.session import CallSession
from relay.tools import ToolReport
from relay.totals import Totals
from tests.relay import wire
from tests.relay.calls import Records
from tests.relay.peers import FakeOpenAI, FakeTwilio

KEY = "sk-proj-0123456789abcdefghijklmnop"
TOKEN = "00112233445566778899aabbccddeeff"

FROM_TWILIO = (
    wire.connected(),
    wire.start(accountSid="***"),
    wire.frame(timestamp="140"),
    wire.frame(),
    wire.mark("g0.1"),
    wire.dtmf("7"),
    wire.stop(),
    {"event": "new"},
)
FROM_OPENAI = (
    wire.session_created(),
    wire.session_updated(),
    wire.error("rate_limit_exceeded", message="slower"),
    wire.speech_started(),
    wire.speech_stopped(),
    {"type": "input_audio_buffer.committed", "item_id": "item_1"},
    wire.transcribed("Where is my order?"),
    {"type": "conversation.item.input_audio_transcription.failed", "item_id": "item_1", "error": {"message": "no"}},
    wire.response_created(),
    wire.response_done(),
    {"type": "response.output_item.done", "response_id": "resp_1", "item": {"id": "item_1", "arguments": "{}"}},
    wire.audio_delta(ms=20),
    wire.audio_done(),
    wire.words_delta("On its "),
    wire.words_done("On its way."),
    {"type": "conversation.item.truncated", "item_id": "item_1", "audio_end_ms": 240},
    {"type": "conversation.item.added", "item": {"id": "item_1", "arguments": "{}"}, "previous_item_id": "item_0"},
    {"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "limit": 1000, "remaining": 900}]},
    {"type": "response.content_part.added"},
)
EVENTS: list[Event] = [
    *(wire.read("twilio", message) for message in FROM_TWILIO),
    *(wire.read("openai", message) for message in FROM_OPENAI),
    Malformed("twilio", "media", "no payload"),
    SocketClosed("openai", 1011, "going away"),
    UpstreamUnreachable(Failure(kind="refused", status=401), "refused"),
    Beside(realtime.SessionCreated(realtime.Session(id="sess_2"))),
    StartRefused("token_used", "CA1"),
    ToolFinished("call_1", ToolReport("ok", "noon")),
    Abort("shutdown"),
    Timeout(),
]
COMMANDS: list[Command] = [
    twilio.Play("MZ1", twilio.PlayBody(wire.voice(20))),
    twilio.SendMark("MZ1", twilio.MarkBody("g0.1")),
    twilio.Clear("MZ1"),
    realtime.UpdateSession("configure-1", session_config(wire.GREETER)),
    realtime.AppendAudio(wire.voice(20)),
    realtime.TruncateItem("truncate-1", "item_1", 0, 240),
    realtime.CreateItem("seed-1", realtime.NewFunctionOutput(id="seed_1", call_id="call_1", output="noon")),
    realtime.DeleteItem("delete-1", "seed_1"),
    realtime.CreateResponse("greet-1", greeting_config(wire.GREETER)),
    realtime.CancelResponse("cancel-1", "resp_1"),
    OpenUpstream(),
    ToBeside(realtime.AppendAudio(wire.voice(20))),
    SwitchUpstream(),
    DropUpstream(beside=True),
    RunTool("call_1", "get_time", "{}"),
    CancelTool("call_1"),
    HangUp("caller_hung_up"),
]


def as_text(event: Event, *, keeps_private: bool = False) -> str:
    return encode_line(event_line(event, 0.0, keeps_private=keeps_private)).decode()


def kept(event: Event, *, keeps_private: bool) -> Event:
    """What a replay sees of an event."""
    line = msgspec.json.decode(as_text(event, keeps_private=keeps_private))
    return read_event(line["from"], line["event"])


ANSWERED = Admitted(persona=wire.PERSONA)


def nothing(_event: Event, _now: float) -> list[Command]:
    """What a call decides that cares for nothing."""
    return []


def lines_of(capture: Capture) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in capture.take()]


# What is kept


def test_every_kind_of_event_and_command_has_its_place_in_the_file() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))
    assert {type(command) for command in COMMANDS} == set(get_args(Command)) - {LogEvent}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_with_everything_kept_an_event_is_read_back_as_it_was(event: Event) -> None:
    assert kept(event, keeps_private=True) == event


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_what_was_masked_once_stays_as_it_is(event: Event) -> None:
    once = kept(event, keeps_private=False)
    assert type(once) is type(event)
    assert kept(once, keeps_private=False) == once


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_stands_in_the_file_as_on_the_wire(command: Command) -> None:
    line = msgspec.json.decode(encode_line(command_line(command, keeps_private=True)))
    if isinstance(command, twilio.Message | realtime.ClientEvent):
        assert line["command"] == wire.written(command)
    beside = {"ToBeside": "beside"}.get(type(command).__name__, "session")
    assert line["to"] == {"tw": "twilio", "re": "openai"}.get(type(command).__module__[6:8], beside)


@given(
    st.sampled_from([0.0]) | st.floats(1e4, 1e6),
    st.floats(0, 1e4),
)
@settings(deadline=None)
def test_times_are_exact_again_when_they_are_added_to_the_calls_beginning(began_at: float, since: float) -> None:
    now = began_at + since
    capture = Capture(version="1", keeps_private=False)
    capture.begin(nothing, began_at)
    capture.answered(ANSWERED, nothing)(Timeout(), now)
    header, event = lines_of(capture)
    assert header["began_at"] + event["at"] == now


def test_an_event_that_the_call_could_not_bear_is_kept() -> None:
    def break_down(event: Event, now: float) -> list[Command]:
        raise KeyError(event)

    capture = Capture(version="1", keeps_private=False)
    capture.begin(nothing, 5.0)
    decide = capture.answered(ANSWERED, break_down)
    with pytest.raises(KeyError):
        decide(Timeout(), 6.0)
    assert lines_of(capture)[1:] == [{"at": 1.0, "from": "session", "event": {"type": "timeout"}}]


def test_what_only_the_sessions_clock_can_measure_is_left_out() -> None:
    barged_in = BargedIn(item_id="item_1", heard_ms=1, unheard_ms=2, clear_ms=3.0)
    assert list(command_line(barged_in, keeps_private=True)["command"]) == [
        "event",
        "item_id",
        "heard_ms",
        "unheard_ms",
        "truncate_error_bound_ms",
    ]


# What is not


def test_no_secret_is_kept_whatever_else_is() -> None:
    persona = Persona(instructions=f"Ask the till; its key is {KEY}.", greeting=f"Hello {TOKEN}")
    capture = Capture(version="1", keeps_private=True)
    capture.begin(nothing, 0.0)
    decide = capture.answered(Admitted(persona=persona), nothing)
    decide(wire.read("twilio", wire.start(customParameters={"ticket": "hush"}, accountSid="AC0123")), 0.0)
    decide(wire.read("openai", wire.error("invalid_api_key", message=f"Incorrect API key: {KEY}")), 0.0)
    decide(UpstreamUnreachable(Failure(kind="unreachable"), "Authorization: Bearer hush"), 0.0)
    decide(
        wire.read("openai", {"type": "response.created", "response": {"id": "r", "metadata": {"api_key": "hush"}}}), 0.0
    )
    text = b"".join(capture.take()).decode()
    for secret in (KEY, TOKEN, "hush", "AC0123"):
        assert secret not in text
    assert "Ask the till; its key is *****" in text
    assert '"ticket":"****"' in text


@pytest.mark.parametrize(
    "event",
    [
        wire.read("twilio", wire.dtmf("7")),
        wire.read("openai", wire.transcribed("sevenseven7")),
        wire.read("openai", wire.words_delta("sevenseven7")),
        wire.read("openai", wire.words_done("sevenseven7")),
        wire.read("openai", wire.error("server_error", message="you said sevenseven7")),
        wire.read("openai", {"type": "response.output_item.done", "response_id": "r", "item": {"arguments": "7"}}),
    ],
    ids=lambda event: type(event).__name__,
)
def test_words_and_keys_are_kept_only_when_that_is_asked_for(event: Event) -> None:
    assert "7" in as_text(event, keeps_private=True)
    assert "7" not in as_text(event)
    assert '*"' in as_text(event)


def test_masked_words_keep_what_a_call_decides_by() -> None:
    """Where the agent's words end, for a cut; and whether the caller said anything, for the transcript."""
    said = kept(wire.read("openai", wire.words_delta(" On its  way.")), keeps_private=False)
    assert isinstance(said, realtime.AgentWords)
    assert said.delta == " ** ***  ****"
    written = [kept(wire.read("openai", wire.transcribed(words)), keeps_private=False) for words in ("", " ", "On it")]
    assert [each.transcript for each in written if isinstance(each, realtime.CallerTranscribed)] == ["", " ", "*****"]


@pytest.mark.parametrize(
    "record", [KeyPressed(digit="7"), AgentHeard(item_id="i", heard_ms=1, generated_ms=1, words="7")]
)
def test_the_records_private_fields_are_masked_too(record: LogEvent) -> None:
    assert b'"*"' in encode_line(command_line(record, keeps_private=False))
    assert b'"7"' in encode_line(command_line(record, keeps_private=True))


@pytest.mark.parametrize("keeps_private", [False, True])
def test_who_called_whom_is_masked_like_the_parameters_it_stands_in(keeps_private: bool) -> None:
    started = CallStarted(stream_sid="MZ1", caller="+1555", called="")
    command = command_line(started, keeps_private=keeps_private)["command"]
    assert (command["caller"], command["called"]) == ("*****", "")


def test_audio_that_is_not_kept_leaves_its_length_and_is_silence_again() -> None:
    frame = wire.read("twilio", wire.frame(wire.voice(35)))
    delta = wire.read("openai", wire.audio_delta(ms=400))
    assert '"payload":280' in as_text(frame)
    assert '"delta":3200' in as_text(delta)
    again = kept(frame, keeps_private=False)
    assert isinstance(again, twilio.Media)
    assert again.media.payload == b"\xff" * 280
    assert kept(delta, keeps_private=False) == msgspec.structs.replace(delta, delta=b"\xff" * 3200)


@pytest.mark.parametrize("nbytes", [-1, 10**12])
def test_a_length_that_no_audio_has_is_refused(nbytes: int) -> None:
    with pytest.raises(ValueError, match="bytes of audio"):
        read_event("openai", {"type": "response.output_audio.delta", "delta": nbytes})


# The call


async def hold(capture: Capture, records: Records, *, frames: int) -> None:
    """One call, captured, that ends when the caller hangs up."""
    async with trio.open_nursery() as nursery:
        phone, model = FakeTwilio(nursery), FakeOpenAI(nursery)
        session = CallSession(
            lambda _: ANSWERED, connect=model.connect, call_log=records, totals=Totals(), capture=capture
        )
        nursery.start_soon(phone.run)
        nursery.start_soon(session.run, phone.line)
        with trio.fail_after(60):
            await phone.send(wire.connected(), wire.start())
            await model.is_configured.wait()
            await phone.send(*(wire.frame() for _ in range(frames)))
            await phone.send(wire.stop())
            await phone.is_disconnected.wait()
        nursery.cancel_scope.cancel()


async def test_a_call_is_kept_from_its_first_word_to_the_hang_up(autojump_clock: MockClock, records: Records) -> None:
    capture = Capture(version="1", keeps_private=False)
    await hold(capture, records, frames=3)
    assert capture.is_closed
    lines = lines_of(capture)
    assert (lines[0]["capture"], lines[0]["persona"]["instructions"]) == (recorder.FORMAT, "Short answers.")
    said = [line["event"].get("event") for line in lines[1:] if line.get("from") == "twilio"]
    assert said == ["connected", "start", "media", "media", "media", "stop"]
    assert lines[-1] == {"to": "session", "command": {"type": "hang_up", "reason": "caller_hung_up", "code": 1000}}
    assert (capture.call_sid, capture.last_line()) == (wire.CALL, b"")


async def test_nothing_is_written_before_it_is_known_who_answers_and_whether_they_mind() -> None:
    capture = Capture(version="1", keeps_private=True)
    capture.begin(nothing, 0.0)(twilio.Connected(), 0.0)
    assert capture.take() == []
    discreet = Persona(instructions="", privacy=Privacy(keep_transcript=False))
    capture.answered(Admitted(persona=discreet, direction="outbound", persona_version="p:7"), nothing)
    header, connected = lines_of(capture)
    assert (header["keeps_private"], header["direction"], header["persona_version"]) == (False, "outbound", "p:7")
    assert connected["event"] == {"event": "connected"}


async def test_a_stream_that_begins_no_call_is_kept_without_a_persona_and_without_what_is_private() -> None:
    capture = Capture(version="1", keeps_private=True)
    capture.begin(nothing, 0.0)(wire.read("twilio", wire.frame()), 0.5)
    capture.close()
    header, frame = lines_of(capture)
    assert (header["persona"], header["keeps_private"], header["tools"]) == (None, False, [])
    assert frame["event"]["media"]["payload"] == 160
    assert capture.take() == []


@pytest.mark.parametrize(("limit", "value"), [("MAX_WAITING_STEPS", 20), ("MAX_WAITING_AUDIO_BYTES", 1600)])
async def test_a_writer_that_falls_behind_cuts_the_capture_and_not_the_call(
    autojump_clock: MockClock, records: Records, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(recorder, limit, value)
    capture = Capture(version="1", keeps_private=False)
    await hold(capture, records, frames=100)
    assert [(ended.reason, ended.frames_from_caller) for ended in records.of(CallEnded)] == [("caller_hung_up", 100)]
    written = [line for line in lines_of(capture) if "event" in line]
    assert 10 <= len(written) <= 20
    last = msgspec.json.decode(capture.last_line())
    assert last == {"cut": capture.cut, "steps_lost": 105 - len(written)}  # connected, start, two of OpenAI's, stop
