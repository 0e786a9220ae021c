"""What sounds on the line and what keys do: <Say>, <Play>, <Pause>, <Gather>."""

from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from benchmarks.simulators.twilio import (
    AfterSilence,
    Conversation,
    Digits,
    HangUp,
    Recording,
    StoredRecording,
    Utterance,
)
from benchmarks.simulators.twilio.speaking import KeyEntry
from proto import mulaw
from tests.benchmarks.twilio.application import BASE, Application, call, speech

if TYPE_CHECKING:  # at run time pytest hands these over
    from tests.benchmarks.twilio.conftest import FakeRelay


def wav(audio: bytes) -> bytes:
    return StoredRecording(sid="RE", call_sid="CA", account_sid="AC", status="completed", audio=audio).wav()


def keys(*presses: tuple[int, str], hang_up_ms: int = 15_000) -> Recording:
    return Recording(b"", actions=[*(Digits(at_ms, pressed) for at_ms, pressed in presses), HangUp(hang_up_ms)])


async def test_a_text_takes_as_long_as_saying_it(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    report = await call(Application({"/voice": f"<Say>{'word ' * 30}</Say>"}), relay, caller=Recording(b""))
    assert report.duration_ms == pytest.approx(10_000, abs=100)
    assert report.ended_by == "hangup_verb"


async def test_the_caller_answers_a_text_when_it_is_over(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    caller = Conversation([Utterance(speech(200), AfterSilence(300))])
    page = f"<Say>{'x' * 30}</Say><Pause length='3'/>"
    report = await call(Application({"/voice": page}), relay, caller=caller)
    spoken_at = report.sent_track.index(speech(200)) // 8
    assert spoken_at == pytest.approx(2300, abs=40)


async def test_a_caller_may_hang_up_in_the_middle_of_a_text(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    report = await call(Application({"/voice": "<Say loop='0'>On and on.</Say>"}), relay)
    assert (report.ended_by, report.duration_ms) == ("caller", 1000)


async def test_a_file_is_fetched_and_heard(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = Application({"/voice": '<Play loop="2">/hold.wav</Play>', "/hold.wav": wav(speech(400))})
    report = await call(application, relay, caller=Recording(b""))
    assert application.paths == ["/voice", "/hold.wav"]
    assert report.played == (f"{BASE}/hold.wav",)
    assert (report.heard_ms, report.duration_ms) == (800, 800)
    assert len(report.heard_track) == 800 * 8
    assert not mulaw.is_silence(report.heard_track[-160:])


async def test_a_file_that_is_missing_is_a_warning_and_the_next_verb_follows(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    report = await call(Application({"/voice": "<Play>/gone.wav</Play><Say>Hi.</Say>"}), relay)
    assert (report.said, [warning.code for warning in report.warnings]) == (("Hi.",), [11200])


async def test_a_file_that_cannot_be_read_sounds_all_the_same(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = Application({"/voice": "<Play>/song.mp3</Play>", "/song.mp3": b"ID3"})
    report = await call(application, relay, caller=Recording(b""))
    assert (report.played, report.duration_ms) == ((f"{BASE}/song.mp3",), 2000)


async def test_played_digits_take_their_time(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    report = await call(Application({"/voice": '<Play digits="wW12"/>'}), relay, caller=Recording(b""))
    assert (report.played, report.duration_ms) == (("wW12",), 2000)


@pytest.mark.parametrize(
    ("finish_on_key", "num_digits", "pressed", "kept", "finished_on"),
    [
        ("#", None, "12#3", "12", "#"),
        ("#", 2, "123", "12", ""),
        ("", None, "1#", "1#", ""),
        ("*", 3, "*", "", "*"),
    ],
)
def test_an_entry_is_complete_with_its_last_key(
    finish_on_key: str, num_digits: int | None, pressed: str, kept: str, finished_on: str
) -> None:
    entry = KeyEntry(finish_on_key, num_digits)
    entry.press(pressed)
    assert (entry.keys, entry.finished_on) == (kept, finished_on)


MENU = '<Gather action="/menu" timeout="2" numDigits="{}"><Say>{}</Say></Gather><Say>No choice.</Say>'


async def test_a_key_interrupts_the_prompt_and_is_told_to_the_action(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    application = Application({"/voice": MENU.format(1, "x" * 150), "/menu": "<Hangup/>"})
    report = await call(application, relay, caller=keys((500, "5")))
    assert application.told("/menu")[0]["Digits"] == "5"
    assert application.requests[1].at_s == pytest.approx(0.52)
    assert report.gathered == ("5",)


async def test_keys_are_gathered_until_the_finishing_one(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = Application({"/voice": '<Gather action="/menu"/>', "/menu": "<Hangup/>"})
    await call(application, relay, caller=keys((500, "12"), (3000, "3#4")))
    [told] = application.told("/menu")
    assert (told["Digits"], told["FinishedOnKey"], told["CallStatus"]) == ("123", "#", "in-progress")


async def test_waiting_too_long_after_a_key_ends_the_entry(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = Application({"/voice": '<Gather action="/menu" timeout="2"/>', "/menu": "<Hangup/>"})
    await call(application, relay, caller=keys((500, "1"), (3000, "2")))
    assert application.told("/menu")[0]["Digits"] == "1"
    assert application.requests[1].at_s == pytest.approx(2.52)


async def test_without_a_key_the_next_verb_follows(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    application = Application({"/voice": MENU.format(4, "Number?"), "/menu": "<Hangup/>"})
    report = await call(application, relay, caller=keys())
    assert application.paths == ["/voice"]
    assert (report.said, report.gathered) == (("Number?", "No choice."), ("",))


async def test_without_a_key_the_action_is_asked_if_wanted(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    page = '<Gather action="/menu" actionOnEmptyResult="true" timeout="1"/>'
    application = Application({"/voice": page, "/menu": "<Hangup/>"})
    await call(application, relay, caller=keys())
    assert application.told("/menu")[0]["Digits"] == ""


async def test_keys_pressed_before_the_gather_do_not_count(autojump_clock: MockClock, relay: "FakeRelay") -> None:
    page = '<Pause length="2"/><Gather action="/menu" timeout="1"/>'
    application = Application({"/voice": page, "/menu": "<Hangup/>"})
    await call(application, relay, caller=keys((500, "9")))
    assert application.paths == ["/voice"]


async def test_a_caller_who_leaves_during_the_gather_is_not_asked_about(
    autojump_clock: MockClock, relay: "FakeRelay"
) -> None:
    application = Application({"/voice": '<Gather action="/menu"/>', "/menu": "<Hangup/>"})
    report = await call(application, relay, caller=keys((500, "1"), hang_up_ms=980))
    assert (application.paths, report.ended_by, report.gathered) == (["/voice"], "caller", ("1",))
