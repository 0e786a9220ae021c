"""A session that has died without a word is found, whoever spoke meanwhile; one that lives is left in peace."""

from math import inf

import pytest

from proto import mulaw, realtime
from relay.caller_audio import LEAD_IN_BYTES
from relay.events import Command, DropUpstream, OpenUpstream
from relay.log import ErrorReceived, UpstreamFailed
from relay.vigil import ANSWERED_WITHIN_S, QUIET_FOR_S, Vigil
from tests.relay import wire
from tests.relay.story import Story, ready
from tests.relay.wire import Message

FOUND_WITHIN_S = QUIET_FOR_S + ANSWERED_WITHIN_S


def watching() -> Vigil:
    """Of a session that has answered once, and said something last at 10.0."""
    vigil = Vigil()
    assert vigil.opened(5.0) == "ask"
    vigil.answered()
    vigil.seen(10.0)
    return vigil


def test_nobody_is_asked_before_a_session_is_open_and_after_it_is_lost() -> None:
    vigil = Vigil()
    vigil.seen(1.0)
    assert vigil.deadline == inf
    vigil.opened(2.0)
    vigil.lost()
    vigil.seen(3.0)
    assert vigil.deadline == inf


def test_a_session_that_answers_is_asked_again_and_never_given_up() -> None:
    vigil, now = watching(), 10.0
    for _ in range(20):
        now += QUIET_FOR_S
        assert vigil.deadline == now
        assert vigil.timeout(now - 0.001, is_at_stake=True) == "nothing"
        assert vigil.timeout(now, is_at_stake=True) == "ask"
        now += 0.1
        vigil.seen(now)
    assert vigil.deadline == now + QUIET_FOR_S


def test_a_session_that_does_not_answer_is_lost_once() -> None:
    vigil = watching()
    assert vigil.timeout(13.0, is_at_stake=True) == "ask"
    assert vigil.deadline == 13.0 + ANSWERED_WITHIN_S
    assert vigil.timeout(14.999, is_at_stake=True) == "nothing"
    assert vigil.timeout(15.0, is_at_stake=True) == "lost"
    assert vigil.deadline == inf


def test_while_nothing_is_at_stake_nobody_is_asked() -> None:
    vigil = watching()
    assert [vigil.timeout(vigil.deadline, is_at_stake=False) for _ in range(20)] == ["nothing"] * 20
    assert vigil.timeout(vigil.deadline, is_at_stake=True) == "ask"


def test_who_was_asked_must_answer_whatever_is_at_stake() -> None:
    vigil = watching()
    vigil.timeout(13.0, is_at_stake=True)
    assert vigil.timeout(15.0, is_at_stake=False) == "lost"


def test_a_service_that_never_answered_is_asked_on_and_not_given_up() -> None:
    vigil, now = Vigil(), 10.0
    vigil.opened(now)
    verdicts = [vigil.timeout(vigil.deadline, is_at_stake=True) for _ in range(20)]
    assert verdicts == ["nothing", "ask"] * 10


def test_the_first_session_is_asked_at_once_and_the_next_one_trusted() -> None:
    vigil = watching()
    vigil.lost()
    assert vigil.opened(20.0) == "nothing"
    assert vigil.deadline == 20.0 + QUIET_FOR_S


# In a call.


def probes(commands: list[Command]) -> list[Message]:
    said = [wire.written(command) for command in commands if isinstance(command, realtime.Outbound)]
    return [message for message in said if wire.is_probe(message)]


def lives(story: Story) -> Story:
    """The session gives the sign of life that it was asked for last."""
    story.openai(wire.probe_refused(probes(story.commands)[-1]))
    return story


@pytest.mark.parametrize("caller_speaks", [False, True])
def test_a_session_that_dies_without_a_word_is_replaced_within_seconds(caller_speaks: bool) -> None:
    story = lives(ready())
    if caller_speaks:
        story.openai(wire.speech_started())
    else:  # what the line carries is sent on, silence too: VAD is the session's
        story.twilio(*[wire.frame(mulaw.silence(mulaw.FRAME_MS))] * 50)
    story.passes(FOUND_WITHIN_S - 0.1)
    assert DropUpstream() not in story.commands
    story.passes(0.1 + 0.5)  # and the delay before it is opened again
    assert [event.detail for event in story.logged(UpstreamFailed)] == ["no sign of life"]
    assert story.commands.count(OpenUpstream()) == 2
    assert story.hang_up is None


def test_on_a_line_that_carries_nothing_the_session_is_left_in_peace() -> None:
    story = lives(ready())
    asked_before = len(probes(story.commands))
    story.passes(60.0)
    assert len(probes(story.commands)) == asked_before
    story.twilio(*[wire.frame(mulaw.silence(mulaw.FRAME_MS))] * 50)
    story.passes(QUIET_FOR_S)
    assert len(probes(story.commands)) == asked_before + 1


def test_what_the_caller_said_to_a_dead_session_is_heard_by_the_next_one() -> None:
    story = lives(ready())
    frames = [bytes([number]) * mulaw.FRAME_BYTES for number in range(1, 200)]
    for frame in frames:  # nobody hears the question
        story.twilio(wire.frame(frame))
        story.passes(mulaw.FRAME_MS / 1000)
    story.passes(FOUND_WITHIN_S)
    told = story.openai(wire.session_created(), wire.session_updated())
    assert wire.appended(wire.to_openai(told)) == b"".join(frames)


def test_what_was_heard_by_a_session_that_lived_is_not_heard_twice() -> None:
    story = lives(ready())
    before, after = b"\x11" * mulaw.FRAME_BYTES, b"\x22" * mulaw.FRAME_BYTES
    story.twilio(*[wire.frame(before)] * 100)
    story.passes(QUIET_FOR_S)
    lives(story)
    story.twilio(*[wire.frame(after)] * 50)
    story.loses_openai()
    story.passes(1.0)
    told = story.openai(wire.session_created(), wire.session_updated())
    lead_in = before * (LEAD_IN_BYTES // mulaw.FRAME_BYTES)
    assert wire.appended(wire.to_openai(told)) == lead_in + after * 50


def test_a_sign_of_life_is_no_error_that_anybody_is_told_of() -> None:
    assert lives(ready()).logged(ErrorReceived) == []
