"""What is rendered next: nobody waits for somebody else's trouble, and nobody pays for the same mistake for ever."""

from math import inf
from random import Random

import pytest

from relay.retry import Failure
from tautline.phrases import Phrase
from tautline.render_queue import LONGEST_PAUSE_S, LONGEST_REST_S, MAX_MISSPOKEN, RenderQueue

HELLO, SORRY, GOODBYE = (
    Phrase(service="ws://openai.test", voice="marin", text=text) for text in ("Hello.", "Sorry.", "Goodbye.")
)
OVERLOADED = Failure(kind="refused", status=503)
REFUSED = Failure(kind="refused", status=401)


@pytest.fixture
def queue() -> RenderQueue:
    return RenderQueue(Random(1))


def fail_often(queue: RenderQueue, phrase: Phrase, failure: Failure, times: int) -> float:
    """The service fails it so often, each time as soon as it may be tried. Returns: when it may be tried again."""
    now = 100.0
    for _ in range(times):
        queue.failed(phrase, failure, now)
        now = queue.next()[1]
    return now


def test_what_is_wanted_is_tried_at_once_and_in_order(queue: RenderQueue) -> None:
    assert queue.next() == (None, inf)
    queue.want([HELLO, SORRY])
    assert queue.next() == (HELLO, -inf)
    queue.rendered(HELLO)
    assert queue.next() == (SORRY, -inf)
    queue.fulfilled(SORRY)
    assert queue.next() == (None, inf)
    assert queue.missing == []


def test_what_fails_backs_off_and_the_others_go_first(queue: RenderQueue) -> None:
    queue.want([HELLO, SORRY])
    setback = queue.failed(HELLO, OVERLOADED, now=100.0)
    assert setback.is_first
    assert 0 < setback.again_in_s < 1
    phrase, at = queue.next()
    assert phrase == SORRY
    assert at > 100.0  # the service may need the rest, too
    queue.rendered(SORRY)
    assert queue.next() == (HELLO, 100.0 + setback.again_in_s)
    assert not queue.failed(HELLO, OVERLOADED, now=101.0).is_first


def test_pauses_grow_up_to_a_longest_one_and_nothing_is_given_up_for_an_outage(queue: RenderQueue) -> None:
    queue.want([HELLO])
    before = fail_often(queue, HELLO, OVERLOADED, 40)
    again_in_s = queue.failed(HELLO, OVERLOADED, before).again_in_s
    assert LONGEST_PAUSE_S / 2 < again_in_s <= LONGEST_PAUSE_S


def test_what_somebody_has_to_act_on_is_tried_again_after_a_while(queue: RenderQueue) -> None:
    queue.want([HELLO])
    assert queue.failed(HELLO, REFUSED, now=100.0).again_in_s == LONGEST_PAUSE_S


def test_a_service_that_fails_whoever_comes_has_its_rest_until_it_succeeds(queue: RenderQueue) -> None:
    many = [Phrase(service="ws://openai.test", voice="marin", text=f"Number {number}.") for number in range(20)]
    queue.want([HELLO, *many])
    rests = []
    for phrase in many:
        queue.failed(phrase, REFUSED, now=100.0)
        rests.append(queue.next()[1] - 100.0)
    assert rests == sorted(rests)
    assert (rests[0], rests[-1]) == (0.5, LONGEST_REST_S)
    queue.rendered(many[0])
    queue.failed(many[1], REFUSED, now=200.0)
    assert queue.next() == (HELLO, 200.5)


def test_a_text_that_the_model_changes_is_given_up_after_a_few_attempts(queue: RenderQueue) -> None:
    queue.want([HELLO, SORRY])
    for attempt in range(1, MAX_MISSPOKEN):
        assert queue.failed(HELLO, None, now=10.0 * attempt).again_in_s < inf
    assert queue.failed(HELLO, None, now=200.0).again_in_s == inf
    assert queue.next() == (SORRY, -inf)  # nothing is wrong with the service
    queue.rendered(SORRY)
    assert queue.next()[1] == inf
    assert queue.missing == [HELLO]  # another process may find it yet


def test_what_is_still_wanted_keeps_its_pause_and_what_is_not_is_forgotten(queue: RenderQueue) -> None:
    queue.want([HELLO])
    again_in_s = queue.failed(HELLO, REFUSED, now=100.0).again_in_s
    queue.want([HELLO, SORRY])
    assert queue.next()[0] == SORRY
    queue.rendered(SORRY)
    assert queue.next() == (HELLO, 100.0 + again_in_s)
    queue.want([GOODBYE])
    assert HELLO not in queue
    assert queue.failed(HELLO, None, now=200.0).again_in_s == inf  # it was being tried
    queue.want([HELLO])
    assert queue.next() == (HELLO, -inf)
