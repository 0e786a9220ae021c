"""The story of the demo: somebody calls a pizzeria, asks twice, and interrupts the long answer."""

from benchmarks.simulators.openai import Reply, Script
from benchmarks.simulators.twilio import AfterHearing, AfterSilence, Caller, Conversation, Utterance
from benchmarks.speech import clip

INSTRUCTIONS = "You answer the telephone of Luna's Pizzeria. Be warm and brief."
GREETING = clip("greeting").transcript

_TURN = AfterSilence(600)  # people leave about that much before they answer
_CALLER_SAYS = (
    ("ask_hours", _TURN),
    ("ask_menu", _TURN),
    ("interrupt_vegetarian", AfterHearing(4_000)),  # in the middle of the menu
    ("thanks_bye", _TURN),
)
HANG_UP_AFTER_SILENCE_MS = 1_200


def script() -> Script:
    """What the simulated model hears and says."""
    replies = ("opening_hours", "menu", "vegetarian", "goodbye")
    return Script(
        steps=tuple(Reply(name) for name in replies),
        input_transcripts=tuple(clip(name).transcript for name, _ in _CALLER_SAYS),
    )


def caller() -> Caller:
    """Who calls."""
    utterances = [Utterance(clip(name).mulaw, after) for name, after in _CALLER_SAYS]
    return Conversation(utterances, hang_up_after_silence_ms=HANG_UP_AFTER_SILENCE_MS)
