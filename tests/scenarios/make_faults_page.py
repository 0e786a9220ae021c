"""Write docs/faults.md from what is measured. Run: python -m tests.scenarios.make_faults_page"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.scenarios.troubled import REPLACE_AFTER_S
from benchmarks.scenarios.troubles import TROUBLES, Phase, Trouble
from tests.scenarios.fault_matrix import PHASES, Passage, impossible, measure

PAGE = Path(__file__).parent.parent.parent / "docs" / "faults.md"
_JUST_AS_LONG_S = 0.1

_INTRODUCTION = f"""# What a caller goes through when OpenAI is in trouble

This page is written by `python -m tests.scenarios.make_faults_page`, and a test fails when it no longer says what is
measured. Each line is one call, played through in virtual time, so the figures are the same on every machine: the agent
greets, the caller asks, is answered, asks again, is answered, says goodbye. The trouble strikes once, in the phase that
the heading names. Trouble with opening a session strikes, in the phases in which none is opened, the one that is opened
because the session in use was cut off at that moment.

- *Silence* is the longest time after the trouble in which neither side was heard. Without trouble it is 1 s, where the
  caller thinks and the agent finds its words; where a tool runs, which takes 2 s, it is longer.
- *Goes on* means that the caller's last question was answered, in full. *Ends* means that the apology was played, and
  Twilio then does what the TwiML behind the stream says.
- In these calls the model speaks the greeting itself, and sessions are replaced after {REPLACE_AFTER_S:g} s instead of
  fifty minutes.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *(line for phase in PHASES for line in _section(phase))])


def _section(phase: Phase) -> Iterator[str]:
    usual = measure(None, phase)
    yield f"## {PHASES[phase][0].upper()}{PHASES[phase][1:]}\n"
    yield f"Without trouble: {usual.silence_s:.1f} s of silence at most.\n"
    yield "| What goes wrong | What the caller hears | Silence | The call |"
    yield "|---|---|---|---|"
    for trouble in TROUBLES:
        yield f"| {' | '.join(_cells(trouble, phase, usual))} |"
    yield ""


def _cells(trouble: Trouble, phase: Phase, usual: Passage) -> tuple[str, str, str, str]:
    reason = impossible(trouble, phase)
    if reason is not None:
        return trouble.story, f"cannot be: {reason}", "", ""
    passage = measure(trouble, phase)
    return trouble.story, _heard(passage, usual), f"{passage.silence_s:.1f} s", _course(passage)


def _heard(passage: Passage, usual: Passage) -> str:
    if passage.was_cut:
        return f"the agent breaks off, then {'the apology' if passage.apologised else 'goes on'}"
    if passage.apologised:
        return "the apology"
    is_unusual = passage.silence_s > usual.silence_s + _JUST_AS_LONG_S
    return "a longer pause, then the agent" if is_unusual else "nothing unusual"


def _course(passage: Passage) -> str:
    if passage.goes_on:
        return "goes on"
    return f"ends after {passage.ended_s:.1f} s as `{passage.reason}`"


if __name__ == "__main__":
    PAGE.write_text(page())
