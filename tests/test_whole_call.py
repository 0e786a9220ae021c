"""Whole calls through the whole stack in memory, looked at sample by sample; the stories look at what people notice."""

from trio.testing import MockClock

from benchmarks.scenarios import Outcome, Scenario, hearing, memory, says
from benchmarks.simulators.openai import Reply, Script
from benchmarks.speech import clip
from relay.log import AgentHeard, BargedIn, CallEnded, CallerTranscribed


def truncated_at(outcome: Outcome) -> list[int]:
    """What the model was told, in ms."""
    return [event["audio_end_ms"] for event in outcome.said("client", "conversation.item.truncate")]


async def test_a_conversation_is_heard_as_it_was_meant(autojump_clock: MockClock) -> None:
    written = ("Until what time?", "Thank you, goodbye.")
    outcome = await memory.play(
        Scenario(
            name="conversation",
            story="Two questions, two answers.",
            caller=(says("ask_hours"), says("thanks_bye")),
            script=Script(steps=(Reply("opening_hours"), Reply("goodbye")), input_transcripts=written),
            expect=(),
        )
    )
    report, spoken = outcome.report, [clip(name) for name in ("greeting", "opening_hours", "goodbye")]
    assert (report.ended_by, report.error, report.warnings) == ("caller", None, ())
    for each in spoken:
        assert each.mulaw in report.heard_track  # every sample, in order, without a gap
    assert report.heard_ms == sum(each.duration_ms for each in spoken)
    assert [event.words for event in outcome.of(CallerTranscribed)] == list(written)
    assert [event.words for event in outcome.of(AgentHeard)] == [each.transcript for each in spoken]
    assert all(event.heard_ms == event.generated_ms for event in outcome.of(AgentHeard))
    assert (truncated_at(outcome), outcome.refusals, report.clears) == ([], [], 0)
    assert report.marks_sent == report.marks_echoed > 0


async def test_an_interruption_cuts_the_voice_and_the_models_memory_at_the_same_place(
    autojump_clock: MockClock,
) -> None:
    outcome = await memory.play(
        Scenario(
            name="interruption",
            story="The caller has heard enough of the menu.",
            caller=(says("ask_menu"), says("interrupt_vegetarian", hearing(4000))),
            script=Script(steps=(Reply("menu"), Reply("vegetarian"))),
            expect=(),
        )
    )
    report, menu = outcome.report, clip("menu").mulaw
    assert (report.ended_by, report.warnings, report.clears) == ("caller", (), 1)
    [barge_in] = outcome.of(BargedIn)
    assert truncated_at(outcome) == [barge_in.heard_ms]
    assert outcome.refusals == []
    # In memory there is no delay: what the model is told was heard is what was heard, to the millisecond.
    assert menu[: barge_in.heard_ms * 8] in report.heard_track
    assert menu[: (barge_in.heard_ms + 1) * 8] not in report.heard_track
    assert clip("vegetarian").mulaw in report.heard_track
    assert [event.reason for event in outcome.of(CallEnded)] == ["caller_hung_up"]


async def test_a_caller_who_hangs_up_at_once_leaves_a_clean_house(autojump_clock: MockClock) -> None:
    outcome = await memory.play(Scenario(name="wrong_number", story="A wrong number.", hangs_up_ms=0, expect=()))
    assert outcome.report.ended_by == "caller"
    assert [event.reason for event in outcome.of(CallEnded)] == ["caller_hung_up"]
    assert outcome.refusals == []
