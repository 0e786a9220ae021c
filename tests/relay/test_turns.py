"""How long the caller waited: what of an answer's delay was the model's, and what was the line's."""

import pytest

from relay.log import AnswerBegan, AnswerSounded
from relay.playout import Key, MarkName, Outgoing
from relay.turns import TurnClock

FIRST, SECOND = Key("resp_1", "item_1", 0), Key("resp_2", "item_2", 0)
MARK = MarkName("g0.1")
CHUNK = bytes(1600)  # 200 ms


def test_the_models_part_is_from_the_callers_last_word_to_its_first_audio() -> None:
    clock = TurnClock()
    clock.asked(10.0)
    (began,) = clock.audio_sent(FIRST, [CHUNK], was_idle=True, now=10.5)
    assert isinstance(began, AnswerBegan)
    assert (began.response_id, began.item_id) == ("resp_1", "item_1")
    assert began.model_ms == pytest.approx(500)


def test_an_answer_begins_once() -> None:
    clock = TurnClock()
    clock.asked(10.0)
    clock.audio_sent(FIRST, [CHUNK], was_idle=True, now=10.5)
    assert clock.audio_sent(FIRST, [CHUNK], was_idle=False, now=10.6) == []


def test_an_answer_nobody_asked_for_did_not_let_anyone_wait() -> None:
    (began,) = TurnClock().audio_sent(FIRST, [CHUNK], was_idle=True, now=10.5)
    assert isinstance(began, AnswerBegan)
    assert began.model_ms == 0


def test_a_question_counts_for_one_answer_only() -> None:
    clock = TurnClock()
    clock.asked(10.0)
    clock.audio_sent(FIRST, [CHUNK], was_idle=True, now=10.5)
    (began,) = clock.audio_sent(SECOND, [CHUNK], was_idle=True, now=60.0)
    assert isinstance(began, AnswerBegan)
    assert began.model_ms == 0


def test_the_lines_part_is_how_late_the_first_mark_comes_back() -> None:
    clock = TurnClock()
    clock.asked(10.0)
    clock.audio_sent(FIRST, [CHUNK, MARK], was_idle=True, now=10.5)
    (sounded,) = clock.mark_echoed("g0.1", 10.78)  # 200 ms of audio, and 80 ms on the way
    assert isinstance(sounded, AnswerSounded)
    assert sounded.response_id == "resp_1"
    assert sounded.playout_ms == pytest.approx(80)


def test_the_first_mark_may_come_several_deltas_after_the_first_audio() -> None:
    clock = TurnClock()
    later: list[Outgoing] = [bytes(800), MARK, CHUNK, MarkName("g0.2")]
    clock.audio_sent(FIRST, [bytes(800)], was_idle=True, now=10.5)
    clock.audio_sent(FIRST, later, was_idle=False, now=10.52)
    (sounded,) = clock.mark_echoed("g0.1", 10.75)
    assert isinstance(sounded, AnswerSounded)
    assert sounded.playout_ms == pytest.approx(50)


def test_only_the_first_mark_of_an_answer_tells_when_it_sounded() -> None:
    clock = TurnClock()
    clock.audio_sent(FIRST, [CHUNK, MARK, CHUNK, MarkName("g0.2")], was_idle=True, now=10.5)
    clock.mark_echoed("g0.1", 10.7)
    assert clock.mark_echoed("g0.1", 10.8) == clock.mark_echoed("g0.2", 10.9) == []


def test_an_answer_queued_behind_another_tells_nothing_about_the_line() -> None:
    clock = TurnClock()
    clock.audio_sent(FIRST, [CHUNK, MARK], was_idle=True, now=10.5)
    clock.audio_sent(SECOND, [CHUNK, MarkName("g0.2")], was_idle=False, now=10.6)
    assert clock.mark_echoed("g0.2", 10.9) == []
