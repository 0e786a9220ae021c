"""Calls that no test could wait for: an hour of conversation, a day of silence, sessions replaced in time."""

import msgspec

from benchmarks.scenarios.expectations import clears, cut, ended, heard, heard_exactly, transcript
from benchmarks.scenarios.expectations_model import asked_for, heard_all_of_caller, responses, retold, sessions
from benchmarks.scenarios.scenario import PERSONA, Break, Expectation, Outcome, Scenario, hearing, says, silence
from benchmarks.simulators.openai import Drop, Reply, Script, SimulatorConfig
from benchmarks.simulators.twilio import At, Network, Utterance
from benchmarks.speech import clip
from relay.patience import Limits, SilencePolicy

TURNS, INTERRUPTIONS = 200, 40
_PAUSE = silence(12_900)  # so that two hundred turns fill the hour, but not the session's sixty minutes

_PATIENT = msgspec.structs.replace(
    PERSONA, silence=SilencePolicy(prompt_after_s=None), limits=Limits(max_duration_s=None)
)
_MUTE = Network(silence_suppression=True)  # of an hour hardly a frame comes
DAY_S = 24 * 3600.0
_ROLL_OVER_S = 3000.0  # from a session's beginning to the one beside it


def _question(turn: int) -> Utterance:
    """What the caller asks. After every fifth turn the caller does not wait for the end of the answer."""
    return says("ask_hours", hearing(3000) if _follows_the_menu(turn) else _PAUSE)


def _follows_the_menu(turn: int) -> bool:
    return turn % (TURNS // INTERRUPTIONS) == 1


def _answer(turn: int) -> Reply:
    return Reply("menu" if _follows_the_menu(turn + 1) and turn < TURNS - 1 else "opening_hours")


def _heard_no_more_than(name: str) -> Expectation:
    """Of a whole day no track is laid out: it would be 691 MB."""
    ms = clip(name).duration_ms

    def check(outcome: Outcome) -> str | None:
        return None if outcome.report.heard_ms == ms else f"{outcome.report.heard_ms} ms"

    return Expectation(f"heard {name!r} and nothing else: {ms} ms", check)


HOUR = Scenario(
    name="an_hour",
    story="Two hundred questions in an hour; forty times the caller breaks into the long answer.",
    persona=_PATIENT,
    caller=tuple(_question(turn) for turn in range(TURNS)),
    script=Script(steps=tuple(_answer(turn) for turn in range(TURNS))),
    max_s=4000.0,
    expect=(
        cut(*["menu"] * INTERRUPTIONS),
        clears(INTERRUPTIONS),
        sessions(2, replaced=1),
        heard_all_of_caller(),
        ended("caller_hung_up"),
    ),
)

IDLE_DAY = Scenario(
    name="an_idle_day",
    story=(
        "For a day a line stays open and nobody speaks; then the caller asks after all. The carrier suppresses "
        "silence: in all that day no frame comes. (With another one there would be 4.3 million frames of silence.) "
        "OpenAI ends a session after an hour, so each is replaced before."
    ),
    persona=msgspec.structs.replace(_PATIENT, greeting=""),
    network=_MUTE,
    caller=(says("ask_hours", At(round(DAY_S * 1000))),),
    script=Script(steps=(Reply("opening_hours"),), input_transcripts=("Until when?",)),
    max_s=2 * DAY_S,
    expect=(
        transcript("Until when?"),
        _heard_no_more_than("opening_hours"),
        clears(0),
        sessions(29, replaced=28),
        ended("caller_hung_up"),
    ),
)

ROLL_OVERS = (
    Scenario(
        name="roll_over",
        story="After fifty minutes a second session is made ready; it takes over when the answer has been heard.",
        persona=_PATIENT,
        network=_MUTE,
        caller=(
            says("ask_hours", At(2_998_000)),
            says("book_table", At(3_020_000)),
            says("ask_menu", At(3_650_000)),  # when the first session would be over
        ),
        script=Script(
            steps=(Reply("opening_hours"), Reply("table_booked"), Reply("menu")), input_transcripts=("Until when?",)
        ),
        max_s=4000.0,
        expect=(
            heard_exactly("greeting", "opening_hours", "table_booked", "menu"),
            retold(1, "Good evening", "Until when?", "We are open"),
            heard_all_of_caller(),
            responses(4),
            sessions(2, replaced=1),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="dropped_during_a_roll_over",
        story="The old session is lost in mid-sentence while the new one waits for its turn: it takes over at once.",
        persona=_PATIENT,
        network=_MUTE,
        caller=(says("ask_menu", At(2_998_000)),),
        hangs_up_ms=3000,
        script=Script(steps=(Reply("menu"), Reply("anything_else"))),
        model=SimulatorConfig(pace=1.5),
        breaks=(Break(after_s=_ROLL_OVER_S + 4.0, what=Drop()),),
        max_s=4000.0,
        expect=(
            heard("greeting", "anything_else"),
            heard_all_of_caller(),
            asked_for("resume"),
            sessions(2, replaced=1),
            ended("caller_hung_up"),
        ),
    ),
    Scenario(
        name="replacement_lost",
        story="The session that is made ready is lost before it was needed; half a minute later there is another.",
        persona=_PATIENT,
        network=_MUTE,
        caller=(says("ask_hours", At(2_999_000)), says("book_table", At(3_050_000))),
        script=Script(steps=(Reply("opening_hours"), Reply("table_booked"))),
        breaks=(Break(session=1, after_s=0.0, what=Drop()),),
        max_s=4000.0,
        expect=(
            heard_exactly("greeting", "opening_hours", "table_booked"),
            heard_all_of_caller(),
            sessions(2, replaced=1),
            ended("caller_hung_up"),
        ),
    ),
)
