"""The barge-in benchmark: its exchange loses nothing and keeps time, and its numbers mean what they say."""

import math

import msgspec
import pytest

from benchmarks import speech
from benchmarks.bargein_exchange import Heard, Ways, exchange
from benchmarks.bench_bargein import BUDGET_MS, LEADS_MS, Onset, Result, main, measure, onset
from proto import mulaw
from relay.bargein import BargeInPolicy

LOCAL = BargeInPolicy(local_detection=True)
AGENT = speech.clip("menu").mulaw


def spoken_over(policy: BargeInPolicy, ways: Ways) -> tuple[Onset, Heard]:
    caller = onset(speech.clip("ask_menu"), seed=3)
    return caller, exchange(policy, caller.audio, AGENT, ways)


def test_openai_alone_stops_the_agent_after_its_vad_and_four_ways() -> None:
    caller, heard = spoken_over(BargeInPolicy(), Ways(one_way_s=0.040))
    assert [decision for _, decision in heard.decisions] == ["interrupt"]
    # Four ways and three windows of the VAD, of which speech fills the first only in part, or not enough.
    assert 0.160 + 0.040 <= heard.silent_from(caller.onset_s) - caller.onset_s <= 0.160 + 0.080


def test_a_hold_falls_silent_with_the_lead_however_slow_openai_is() -> None:
    caller, heard = spoken_over(LOCAL, Ways(one_way_s=0.040, service_s=0.300))
    assert [decision for _, decision in heard.decisions] == ["hold", "interrupt"]
    assert heard.silent_from(caller.onset_s) - caller.onset_s <= 0.040 + 0.060 + 0.200 + 0.040


def test_unconfirmed_the_agent_goes_on_and_not_a_byte_is_lost_or_doubled() -> None:
    _, heard = spoken_over(LOCAL, Ways(service_s=math.inf))
    assert [decision for _, decision in heard.decisions] == ["hold", "resume"]
    before, after = heard.runs
    assert AGENT.startswith(before.audio + after.audio)
    assert len(before.audio + after.audio) > 2 * mulaw.SAMPLE_RATE_HZ
    # 400 ms without new audio, of which what Twilio had covered the lead, or a step less.
    lead_s = BargeInPolicy().lead_ms / 1000
    assert [0.400 - lead_s <= gap <= 0.440 - lead_s + 1e-6 for gap in heard.gaps_s()] == [True]


def test_undisturbed_the_paced_agent_is_heard_without_a_gap() -> None:
    heard = exchange(LOCAL, mulaw.silence(10_000), AGENT, Ways())
    assert heard.decisions == ()
    (run,) = heard.runs
    assert run.start_s == pytest.approx(0.040)
    assert AGENT.startswith(run.audio)


@pytest.fixture(scope="module")
def result() -> Result:
    return measure(seeds=1, minutes=1, one_way_ms=40.0)


def test_the_budget_is_kept(result: Result) -> None:
    assert result.within_budget
    assert 0 < result.hold_p50_ms <= result.hold_p99_ms <= BUDGET_MS


def test_the_less_twilio_is_ahead_the_sooner_the_agent_falls_silent(result: Result) -> None:
    fast = {each.lead_ms: each.p50_ms for each in result.silence if each.service_ms == 0}
    assert [fast[lead_ms] for lead_ms in LEADS_MS] == sorted(fast[lead_ms] for lead_ms in LEADS_MS)
    assert fast[100] < fast[None]


def test_steady_backgrounds_hold_nothing_and_the_lead_covers_part_of_what_is_held(result: Result) -> None:
    steady = ("comfort noise -60", "white noise -40", "hum -30")
    assert [each.holds_per_minute for each in result.false_holds if each.background in steady] == [0.0] * 9
    knocked = [each.median_gap_ms for each in result.false_holds if each.background == "knocks -25"]
    assert knocked == sorted(knocked, reverse=True)
    assert knocked[0] > 0


def test_it_prints_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "1", "--minutes", "1"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert msgspec.json.decode(line, type=Result).onsets == len(speech.clips("caller"))


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--minutes", "9"], ["--one-way-ms", "-1"]])
def test_it_refuses_what_it_cannot_measure(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
