"""Sessions that cannot be had, are lost, or grow old: points 27 to 35 of our OpenAI list, docs/conformance.md."""

import pytest
import trio
from trio.testing import MockClock

from relay.arbiter import BEGUN_WITHIN_S, CANCELLED_WITHIN_S, STALLED_AFTER_S
from relay.events import DropUpstream, OpenUpstream, SocketClosed, SwitchUpstream, ToBeside, UpstreamUnreachable
from relay.link import CONFIGURED_WITHIN_S, CREATED_WITHIN_S, REPLACE_AFTER_S, REPLACE_AGAIN_AFTER_S
from relay.log import CallEnded, CallerTranscribed, UpstreamFailed, UpstreamReplaced
from relay.persona import Persona
from relay.retry import CALL_BUDGET_S, SETTLED_AFTER_S, Failure
from tests.relay import wire
from tests.relay.calls import OpenCall, Records
from tests.relay.story import Story, answering, purposes, ready, reopened, started
from tests.relay.wire import GREETER, PATIENT, Message


def unreachable(failure: Failure) -> UpstreamUnreachable:
    return UpstreamUnreachable(failure, "no")


def delays_s(story: Story, failure: Failure) -> list[float]:
    """Every attempt fails like this, at once: how long each next one was waited for, until the call gives up."""
    delays: list[float] = []
    story.happens(unreachable(failure))
    while story.hang_up is None:
        failed_at, opened = story.now, story.commands.count(OpenUpstream())
        while story.commands.count(OpenUpstream()) == opened:
            story.passes(max(story.call.deadline - story.now, 0.0))
        delays.append(story.now - failed_at)
        story.happens(unreachable(failure))
    return delays


# 27 to 30: no session


REFUSALS = {
    "401": unreachable(Failure(kind="refused", status=401)),
    "403": unreachable(Failure(kind="refused", status=403)),
    "close 3000": SocketClosed("openai", 3000, "invalid_request_error.invalid_api_key"),
    "close 4000": SocketClosed("openai", 4000, "invalid_request_error.beta_api_shape_disabled"),
}
TERMINAL_CODES = ["invalid_api_key", "account_deactivated", "insufficient_quota", "beta_api_shape_disabled"]


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_point_27_a_refusal_is_told_and_not_tried_again(refusal: UpstreamUnreachable | SocketClosed) -> None:
    story = started()
    story.happens(refusal)
    assert story.hang_up
    assert story.hang_up.reason == "openai_refused"
    assert story.commands.count(OpenUpstream()) == 1
    assert len(story.logged(UpstreamFailed)) == 1  # a warning in the log


@pytest.mark.parametrize("code", TERMINAL_CODES)
@pytest.mark.parametrize("is_ready", [True, False])
def test_point_27_a_code_that_an_operator_has_to_mend_ends_the_call_and_is_named(code: str, is_ready: bool) -> None:
    story = ready() if is_ready else started()
    story.openai(wire.error(code))
    assert story.hang_up
    assert story.hang_up.reason == "openai_refused"
    assert [event.code for event in story.logged(UpstreamFailed)] == [code]


def test_point_28_retry_after_is_honoured() -> None:
    story = started()
    story.happens(unreachable(Failure(kind="refused", status=429, retry_after_s=3.0)))
    assert OpenUpstream() not in story.passes(2.99)
    assert OpenUpstream() in story.passes(0.3)


def test_point_28_a_retry_after_that_no_caller_waits_for_ends_the_call_at_once() -> None:
    story = started()
    story.happens(unreachable(Failure(kind="refused", status=429, retry_after_s=60.0)))
    assert story.hang_up
    assert story.hang_up.reason == "openai_unreachable"


@pytest.mark.parametrize(
    "failure",
    [
        Failure(kind="refused", status=429),
        Failure(kind="refused", status=500),
        Failure(kind="refused", status=503),
        Failure(kind="unreachable"),
        Failure(kind="silent"),
    ],
    ids=str,
)
def test_point_29_it_is_tried_again_ever_more_slowly_within_the_callers_patience(failure: Failure) -> None:
    story = started()
    delays = delays_s(story, failure)
    assert all(0.75 * most <= delay <= most for delay, most in zip(delays, (0.5, 1.0, 2.0, 4.0), strict=False))
    assert len(delays) >= 3
    assert sum(delays) <= CALL_BUDGET_S
    assert story.hang_up
    assert story.hang_up.reason == "openai_unreachable"


def test_point_29_two_calls_do_not_come_back_at_the_same_moment() -> None:
    stories = [Story(), Story()]
    for stream, story in zip(("MZ1", "MZ2"), stories, strict=True):
        story.twilio(wire.connected(), wire.start(stream))
    assert delays_s(stories[0], Failure(kind="unreachable")) != delays_s(stories[1], Failure(kind="unreachable"))


@pytest.mark.parametrize(("is_created", "within_s"), [(False, CREATED_WITHIN_S), (True, CONFIGURED_WITHIN_S)])
def test_point_30_a_session_that_does_not_get_ready_is_closed_and_another_one_tried(
    is_created: bool, within_s: float
) -> None:
    story = started()
    story.openai(*([wire.session_created()] if is_created else []))
    assert story.passes(within_s - 0.01) == []
    given = story.passes(0.6)
    assert [type(one) for one in given] == [UpstreamFailed, DropUpstream, OpenUpstream]
    story.openai(wire.session_created(), wire.session_updated())
    assert wire.to_openai(story.twilio(wire.frame()))


# 31 and 32: a session is lost


def in_conversation() -> Story:
    """The caller asked; of the answer, 2 s long and not all generated, one second has sounded."""
    story = ready(GREETER)
    story.openai(wire.response_created("resp_0", asked=story.asked[-1]), wire.response_done("resp_0"))
    story.openai(wire.speech_started(), wire.committed(), wire.speech_stopped(), wire.response_created())
    story.openai(wire.transcribed("Where is my order?"), wire.item_added("item_1", "item_caller"))
    story.openai(wire.words_delta("It left the warehouse an hour ago and will be there"), wire.audio_delta(ms=2000))
    story.passes(1.0)
    return story


def retold(events: list[Message]) -> list[tuple[str, str, str]]:
    """Role, kind of content, and words of each message that a session is told."""
    items = [event["item"] for event in events if event["type"] == "conversation.item.create"]
    return [(item["role"], item["content"][0]["type"], item["content"][0]["text"]) for item in items]


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1011, 1012, 1013])
def test_point_31_a_lost_session_is_replaced_by_one_that_knows_what_was_heard_and_goes_on(code: int) -> None:
    story = in_conversation()
    assert wire.tags(wire.to_twilio(story.loses_openai(code))) == ["clear"]
    told = wire.to_openai(reopened(story))
    assert wire.tags(told)[0] == "session.update"
    caller, agent = retold(told)
    assert caller == ("user", "input_text", "Where is my order?")
    assert agent[:2] == ("assistant", "output_text")
    assert "It left the warehouse".startswith(agent[2])
    assert agent[2]
    assert purposes(story.commands)[1:] == ["resume"]
    assert story.hang_up is None


def test_point_31_while_there_is_no_session_the_caller_is_kept_and_heard_by_the_next() -> None:
    story = in_conversation()
    story.loses_openai()
    frames = [bytes([n]) * 160 for n in range(50)]
    story.twilio(*(wire.frame(frame) for frame in frames))
    assert wire.appended(wire.to_openai(reopened(story))) == b"".join(frames)


def test_point_31_what_was_generated_to_its_end_sounds_to_its_end() -> None:
    story = answering(1000)
    story.openai(wire.audio_done(), wire.response_done())
    assert wire.to_twilio(story.loses_openai()) == []
    assert purposes(reopened(story)) == []


@pytest.mark.parametrize("within_s", [0.0, 3.0])
def test_point_31_how_long_it_is_tried_is_the_personas_to_say(within_s: float) -> None:
    story = answering(100, persona=Persona(instructions="", silence=PATIENT, reconnect_within_s=within_s))
    story.loses_openai()
    assert sum(delays_s(story, Failure(kind="unreachable"))) <= within_s
    assert story.hang_up
    assert story.hang_up.reason == "openai_unreachable"


@pytest.mark.parametrize("code", [1000, 1001])
def test_point_32_a_close_that_nobody_asked_for_is_a_drop(code: int) -> None:
    story = ready()
    story.passes(SETTLED_AFTER_S)
    assert [type(one) for one in story.loses_openai(code)] == [UpstreamFailed, DropUpstream, OpenUpstream]


async def test_point_31_over_sockets_a_conversation_outlives_its_session(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        successor = openai.next_session()
        await openai.send(wire.response_created(), wire.words_delta("Let me tell you all"), wire.audio_delta(ms=4000))
        await twilio.receive_all()
        await trio.sleep(2)
        await openai.disconnect()
        await successor.is_configured.wait()
        told = await successor.receive_all()
        assert wire.tags(told) == ["session.update", "conversation.item.create", "response.create"]
        await successor.send(wire.response_created("resp_2"), wire.audio_delta("item_2", ms=20, response="resp_2"))
        assert wire.played(await twilio.receive_all()) == wire.voice(20)
    assert [event.reason for event in records.of(CallEnded)] == ["twilio_closed"]


# 33 and 34: a session grows old, and its ids with it


def test_point_33_a_session_that_has_expired_is_replaced() -> None:
    story = in_conversation()
    story.passes(SETTLED_AFTER_S)
    assert OpenUpstream() in story.openai(wire.error("session_expired"))
    assert len(retold(wire.to_openai(reopened(story)))) == 2


def made_ready_beside(story: Story) -> None:
    """The session is old, and another one is being made ready."""
    while OpenUpstream(beside=True) not in story.commands:
        story.passes(story.call.deadline - story.now)
    (configure,) = wire.to_beside(story.beside(wire.session_created()))
    assert configure["type"] == "session.update"


def test_point_33_long_before_its_time_is_up_another_is_opened_and_the_first_is_used_meanwhile() -> None:
    story = ready()
    assert OpenUpstream(beside=True) not in story.passes(REPLACE_AFTER_S - 1)
    made_ready_beside(story)
    assert wire.appended(wire.to_openai(story.twilio(wire.frame()))) == wire.voice(20)
    assert SwitchUpstream() not in story.commands


def test_point_33_it_takes_over_in_a_quiet_moment_and_knows_the_conversation_then() -> None:
    story = in_conversation()
    story.openai(wire.words_done("It left."), wire.audio_done(), wire.response_done())
    story.passes(2.0)
    made_ready_beside(story)
    story.openai(wire.response_created("resp_2"), wire.audio_delta("item_2", ms=1000, response="resp_2"))
    assert SwitchUpstream() not in story.beside(wire.session_updated())
    story.openai(wire.audio_done("item_2", response="resp_2"), wire.response_done("resp_2"))
    assert SwitchUpstream() not in story.passes(0.9)
    given = story.passes(0.2)
    told = [at for at, one in enumerate(given) if isinstance(one, ToBeside)]
    assert max(told) < given.index(SwitchUpstream())
    assert retold(wire.to_beside(given)) == [
        ("user", "input_text", "Where is my order?"),
        ("assistant", "output_text", "It left."),
    ]
    assert purposes(given) == []
    assert len(story.logged(UpstreamReplaced)) == 1


def test_point_33_of_a_caller_whose_line_carries_nothing_it_is_told_nothing() -> None:
    story = ready()
    made_ready_beside(story)
    given = story.beside(wire.session_updated())
    assert SwitchUpstream() in given
    assert wire.to_beside(given) == []


@pytest.mark.parametrize("event", [wire.speech_started(), wire.response_created("resp_9")])
def test_point_33_it_does_not_take_over_while_somebody_speaks_or_is_about_to(event: Message) -> None:
    story = ready()
    made_ready_beside(story)
    story.openai(event)
    assert SwitchUpstream() not in story.beside(wire.session_updated())


def test_point_33_it_does_not_take_over_while_a_caller_waits_for_an_answer() -> None:
    story = ready()
    made_ready_beside(story)
    story.openai(wire.speech_started(), wire.speech_stopped())
    assert SwitchUpstream() not in story.beside(wire.session_updated())


def test_point_33_one_that_cannot_be_opened_costs_nothing_and_is_tried_again() -> None:
    story = ready()
    made_ready_beside(story)
    story.beside(wire.error("server_error"))
    assert OpenUpstream(beside=True) in story.passes(REPLACE_AGAIN_AFTER_S)
    assert wire.appended(wire.to_openai(story.twilio(wire.frame()))) == wire.voice(20)
    assert story.hang_up is None


def test_point_33_if_the_old_one_ends_first_the_new_one_takes_over_at_once() -> None:
    story = ready()
    made_ready_beside(story)
    story.openai(wire.response_created(), wire.audio_delta(ms=100))
    story.beside(wire.session_updated())
    assert SwitchUpstream() in story.loses_openai(1001)
    assert story.hang_up is None


async def test_point_33_over_sockets_the_old_session_is_closed_when_the_new_one_is_in_use(
    autojump_clock: MockClock, open_call: OpenCall
) -> None:
    async with open_call(lasts_s=2 * REPLACE_AFTER_S) as (twilio, openai):
        successor = openai.next_session()
        await successor.is_configured.wait()
        await openai.is_disconnected.wait()
        assert trio.current_time() >= REPLACE_AFTER_S
        assert openai.closed
        assert openai.closed.code == 1000
        await successor.receive_all()
        await twilio.send(wire.frame())
        assert wire.appended(await successor.receive_all()) == wire.voice(20)


def test_point_34_what_still_names_ids_of_the_old_session_does_nothing() -> None:
    story = in_conversation()
    story.loses_openai()
    reopened(story)
    late = [wire.audio_delta(ms=100), wire.audio_done(), wire.response_done()]
    assert wire.to_twilio(story.openai(*late)) == []
    assert story.call.ignored["openai.stale_audio"] == 1


def test_point_34_an_answer_of_the_old_session_is_not_truncated_in_the_new_one_but_told_anew() -> None:
    story = answering(4000)
    story.openai(wire.words_done("one two three four five six seven eight"), wire.audio_done(), wire.response_done())
    story.passes(1.0)
    story.loses_openai()
    reopened(story)
    told = wire.to_openai(story.openai(wire.speech_started()))
    assert wire.tags(told) == ["conversation.item.delete", "conversation.item.create"]
    ((role, _, words),) = retold(told)
    assert role == "assistant"
    assert "one two three four five six seven eight".startswith(words)
    assert words != "one two three four five six seven eight"


async def test_point_34_what_still_arrives_on_the_old_socket_is_discarded(
    autojump_clock: MockClock, open_call: OpenCall, records: Records
) -> None:
    async with open_call() as (twilio, openai):
        successor = openai.next_session()
        openai.answers_close = False
        await openai.send(wire.error("session_expired"), wire.transcribed("Too late"), wire.response_created())
        await openai.send(wire.audio_delta(ms=100))
        await successor.is_configured.wait()
        assert await twilio.receive_all() == []
    assert records.of(CallerTranscribed) == []


# 35: nothing moves


def test_point_35_a_response_that_stands_still_is_cancelled_and_asked_for_again() -> None:
    story = answering(100)
    assert wire.to_openai(story.passes(STALLED_AFTER_S - 0.1)) == []
    (cancel,) = wire.to_openai(story.passes(0.2))
    assert (cancel["type"], cancel["response_id"]) == ("response.cancel", "resp_1")
    assert purposes(story.openai(wire.response_done(status="cancelled"))) == ["retry"]


def test_point_35_a_session_that_does_not_even_cancel_is_given_up() -> None:
    story = answering(100)
    story.passes(STALLED_AFTER_S + CANCELLED_WITHIN_S + 0.6)
    assert DropUpstream() in story.commands
    assert OpenUpstream() in story.commands[story.commands.index(DropUpstream()) :]
    assert purposes(reopened(story)) == ["retry"]


def test_point_35_a_turn_that_nothing_answers_is_answered_by_a_response_of_ours() -> None:
    story = ready()
    story.openai(wire.speech_started(), wire.speech_stopped())
    assert story.passes(BEGUN_WITHIN_S - 0.1) == []
    assert purposes(story.passes(0.1)) == ["retry"]


def test_point_35_a_caller_who_says_nothing_is_no_fault_of_the_service() -> None:
    story = ready()
    for _ in range(60):
        story.twilio(*[wire.frame()] * 50)
        assert wire.to_openai(story.passes(1.0)) == []
    assert story.hang_up is None
    assert DropUpstream() not in story.commands
