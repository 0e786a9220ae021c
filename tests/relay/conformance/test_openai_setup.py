"""How the model is prepared: numbered points of our OpenAI conformance list, docs/conformance.md, 1 to 11."""

import json

import pytest
import structlog
import trio
from trio.testing import MockClock

from proto.errors import HandshakeError
from relay.bargein import BargeInPolicy
from relay.log import AgentHeard, AskDropped, CallEnded, ErrorReceived, UpstreamFailed, UpstreamReady, emit
from relay.persona import Persona
from relay.tools import ToolBox
from relay.upstream import Upstream
from tests.relay import wire
from tests.relay.calls import OpenCall, Records
from tests.relay.peers import FakeOpenAI, FakeTwilio
from tests.relay.story import Story, answering, purposes, ready, reopened, started
from tests.relay.test_tools import tool
from tests.relay.wire import GREETER, HAND_CUT, PATIENT

KEY = "sk-this-is-a-secret"
UPSTREAM = Upstream(url="wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1", api_key=KEY)


def test_point_01_the_upgrade_carries_the_key_and_nothing_of_the_beta() -> None:
    assert dict(UPSTREAM.headers) == {"Authorization": f"Bearer {KEY}"}


def test_point_01_without_a_key_nothing_is_claimed() -> None:
    assert list(Upstream(url="ws://127.0.0.1:1/", api_key="").headers) == []


def test_point_02_one_complete_configuration_answers_session_created() -> None:
    story = started()
    (update,) = wire.to_openai(story.openai(wire.session_created()))
    assert update["type"] == "session.update"
    assert update["event_id"]
    config, audio = update["session"], update["session"]["audio"]
    assert (config["type"], config["instructions"]) == ("realtime", "Short answers.")
    assert audio["input"]["format"] == audio["output"]["format"] == {"type": "audio/pcmu"}
    assert audio["output"]["voice"] == "marin"
    assert audio["input"]["transcription"] == {"model": "gpt-realtime-whisper"}
    assert audio["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": True,
        "interrupt_response": True,
    }


def test_point_02_neither_audio_nor_a_greeting_goes_before_session_updated() -> None:
    story = started(GREETER)
    story.twilio(wire.frame())
    assert wire.tags(wire.to_openai(story.openai(wire.session_created()))) == ["session.update"]
    story.twilio(wire.frame())
    released = wire.to_openai(story.openai(wire.session_updated()))
    assert wire.tags(released) == ["input_audio_buffer.append", "response.create"]
    assert wire.appended(released) == wire.voice(20) * 2


def test_point_02_an_early_session_updated_is_not_believed() -> None:
    assert wire.to_openai(started(GREETER).openai(wire.session_updated())) == []


@pytest.mark.parametrize("format_type", ["audio/pcm", "audio/pcma", ""])
def test_point_02_a_format_that_was_not_taken_fails_the_call(format_type: str) -> None:
    story = started(GREETER)
    commands = story.openai(wire.session_created(), wire.session_updated(format_type))
    assert wire.tags(wire.to_openai(commands)) == ["session.update"]
    assert story.hang_up
    assert story.hang_up.reason == "openai_refused"


def test_point_02_a_repeated_session_updated_greets_nobody_twice() -> None:
    story = ready(GREETER)
    assert story.openai(wire.session_updated(), wire.session_created()) == []


@pytest.mark.parametrize("is_created", [True, False])
def test_point_03_an_error_during_setup_is_fatal_and_named(is_created: bool) -> None:
    story = started()
    story.openai(*([wire.session_created()] if is_created else []))
    story.openai(wire.error("unknown_parameter", param="session.voice"))
    assert story.hang_up
    assert story.hang_up.reason == "openai_refused"
    assert [(event.code, event.param) for event in story.logged(ErrorReceived)] == [
        ("unknown_parameter", "session.voice")
    ]


def heard_greeting(story: Story, *, ms: int) -> None:
    """The model speaks so much of the greeting that was asked for last."""
    story.openai(wire.response_created("resp_g", asked=story.asked[-1]))
    if ms:
        story.openai(wire.audio_delta("item_g", ms=ms, response="resp_g"))


def test_point_04_the_greeting_is_asked_for_once_and_its_response_is_known_by_its_marks() -> None:
    story = ready(GREETER)
    (greeting,) = story.asked
    assert "Hello, how can I help?" in greeting["response"]["instructions"]
    assert greeting["response"]["metadata"] == {"purpose": "greeting", "ask": greeting["event_id"]}
    heard_greeting(story, ms=500)
    story.openai(wire.response_done("resp_g"))
    story.passes(60.0)
    assert len(story.asked) == 1


def test_point_04_who_heard_some_of_the_greeting_is_not_greeted_again() -> None:
    story = ready(GREETER)
    heard_greeting(story, ms=500)
    story.loses_openai()
    assert purposes(reopened(story)) == ["resume"]


@pytest.mark.parametrize("has_begun", [False, True])
def test_point_04_who_heard_nothing_of_the_greeting_is_greeted_once_by_the_next_session(has_begun: bool) -> None:
    story = ready(GREETER)
    if has_begun:
        heard_greeting(story, ms=0)
    story.loses_openai()
    assert purposes(reopened(story)) == ["greeting"]
    heard_greeting(story, ms=500)
    assert purposes(story.openai(wire.response_done("resp_g"))) == []


def test_point_04_who_spoke_before_the_greeting_is_answered_and_not_greeted() -> None:
    story = ready(GREETER)
    story.openai(wire.speech_started())
    story.loses_openai()
    assert purposes(reopened(story)) == []


def test_point_05_of_a_long_wait_the_last_ten_seconds_are_kept() -> None:
    story = started()
    frames = [bytes([n % 251]) * 160 for n in range(600)]
    story.twilio(*(wire.frame(frame) for frame in frames))
    given = story.openai(wire.session_created(), wire.session_updated())
    assert wire.appended(wire.to_openai(given)) == b"".join(frames[100:])
    assert [event.lost_audio_ms for event in story.logged(UpstreamReady)] == [2000]


def test_point_06_every_event_that_can_fail_has_an_id_that_no_other_has() -> None:
    story = answering(400, persona=HAND_CUT, toolbox=ToolBox([tool("find")]))
    story.openai(wire.tool_called(), wire.speech_started(), wire.speech_stopped())
    story.tool_brings()
    story.twilio(wire.dtmf("1"), wire.dtmf("#"))
    story.openai(wire.response_done())
    story.loses_openai()
    reopened(story)
    sent = [event for event in wire.to_openai(story.commands) if event["type"] != "input_audio_buffer.append"]
    kinds = {"session.update", "conversation.item.truncate", "response.cancel", "conversation.item.create"}
    assert set(wire.tags(sent)) >= kinds
    assert len({event["event_id"] for event in sent}) == len(sent)


def test_point_06_an_error_is_about_the_event_that_it_names() -> None:
    story = ready(GREETER)
    (greeting,) = story.asked
    story.openai(wire.error("invalid_value", event_id="somebody-elses"))
    assert story.logged(AskDropped) == []
    story.openai(wire.error("invalid_value", event_id=greeting["event_id"]))
    assert story.logged(AskDropped) == [AskDropped(purpose="greeting", why="refused")]


def test_point_07_the_key_shows_in_no_form_of_the_settings() -> None:
    shown = [repr(UPSTREAM), str(UPSTREAM), f"{UPSTREAM!r:>10}", str({"upstream": UPSTREAM})]
    shown += [str(field) for field in UPSTREAM.__rich_repr__()]  # what rich prints, in tracebacks with locals too
    assert [form for form in shown if KEY in form] == []


@pytest.mark.parametrize("refusal", [HandshakeError("refused", status=401), OSError("no route to host")])
async def test_point_07_the_key_is_in_no_log_line_of_a_refused_call(
    autojump_clock: MockClock, open_call: OpenCall, records: Records, refusal: HandshakeError | OSError
) -> None:
    def refuse(_twilio: FakeTwilio, openai: FakeOpenAI) -> None:
        openai.refusal = refusal

    with structlog.testing.capture_logs() as lines:
        async with open_call(prepare=refuse, is_ready=False) as (twilio, _):
            await twilio.send(wire.start())
            await twilio.is_disconnected.wait()
        for call_sid, event in records.offered:
            emit(call_sid, event)
    assert records.of(UpstreamFailed)
    assert KEY not in json.dumps(lines)


async def test_point_08_the_callers_voice_is_appended_without_a_pause(
    autojump_clock: MockClock, open_call: OpenCall
) -> None:
    frames = [wire.frame(bytes([n]) * 160, timestamp=str(100 + 20 * n)) for n in range(200)]
    async with open_call() as (twilio, openai):
        for frame in frames:
            await twilio.send(frame)
            await trio.sleep(0.020)
        appends = await openai.receive_all()
    assert wire.tags(appends) == ["input_audio_buffer.append"] * 200
    assert wire.appended(appends) == b"".join(bytes([n]) * 160 for n in range(200))


def test_point_09_deltas_of_any_size_leave_in_whole_frames_and_the_rest_at_the_end() -> None:
    story = answering()
    given = [story.openai(wire.audio_delta(audio=bytes(size))) for size in (7, 333, 1, 160)]
    given.append(story.openai(wire.audio_done()))
    sizes = [len(wire.played(wire.to_twilio(commands))) for commands in given]
    assert sizes == [0, 320, 0, 160, 160]  # the last 21 bytes, and silence


PACED = Persona(instructions="Short answers.", silence=PATIENT, barge_in=BargeInPolicy(local_detection=True))


def test_point_09_a_paced_voice_is_never_more_than_its_lead_ahead_of_what_sounds() -> None:
    story = answering(5000, persona=PACED)
    for n in range(1, 100):
        story.passes(0.05)
        sent_ms = len(wire.played(wire.to_twilio(story.commands))) / 8
        assert 0 <= sent_ms - min(n * 50, 5000) <= PACED.barge_in.lead_ms


def test_point_10_of_each_item_is_known_how_much_came_and_how_much_was_heard() -> None:
    story = answering(400)
    story.openai(wire.audio_done(), wire.audio_delta("item_2", ms=260), wire.audio_done("item_2"))
    names = wire.marks(wire.to_twilio(story.commands))
    story.wait(0.4)
    story.twilio(*(wire.mark(name) for name in names[:3]))
    story.wait(0.1)
    story.twilio(wire.stop())
    assert [(part.item_id, part.heard_ms, part.generated_ms) for part in story.logged(AgentHeard)] == [
        ("item_1", 400, 400),
        ("item_2", 100, 260),
    ]
    (ended,) = story.logged(CallEnded)
    assert ended.audio_ms_to_caller == 660


@pytest.mark.parametrize("persona", [wire.PERSONA, PACED], ids=["at once", "paced"])
def test_point_11_of_a_reply_that_comes_all_at_once_nothing_is_lost(persona: Persona) -> None:
    story = answering(*[1000] * 60, persona=persona)
    story.openai(wire.audio_done(), wire.response_done())
    story.passes(61.0)
    assert wire.played(wire.to_twilio(story.commands)) == wire.voice(1000) * 60
    assert [part.heard_ms for part in story.logged(AgentHeard)] == [60_000]


def test_the_time_that_openai_took_is_recorded() -> None:
    story = started()
    story.wait(0.3)
    story.openai(wire.session_created())
    story.twilio(wire.frame())
    story.wait(0.05)
    story.openai(wire.session_updated())
    (event,) = story.logged(UpstreamReady)
    assert (event.session_id, event.held_audio_ms) == ("sess_1", 20)
    assert event.open_ms == pytest.approx(300)
    assert event.configure_ms == pytest.approx(50)
