"""The part of the settings that says who answers: one persona, as far as the environment can describe it.

`Settings` has these variables among its own, and is read, checked and shown as one; here stands what they mean for the
calls. The defaults are the relay's own.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from admin.services.personas.persona_body import DEFAULT_INSTRUCTIONS
from admin.services.telephone.outcomes import STAFF
from relay import (
    MAX_RENDERED_CHARACTERS,
    BargeInPolicy,
    CallLimits,
    KeyPolicy,
    Persona,
    Privacy,
    SilencePolicy,
)
from relay.privacy import may_capture_private
from tautline.documented import Documented
from tautline.setting_types import Number, Switch, Word

NO_KEY = "none"  # STAFF_KEY: an empty variable means unset, so having no key needs a word

Prose = Annotated[str, msgspec.Meta(max_length=20_000)]

_BARGE_IN = {
    "on": BargeInPolicy(),
    "off": BargeInPolicy(enabled=False),
    "local": BargeInPolicy(local_detection=True),
}


class PersonaSettings(msgspec.Struct, frozen=True, kw_only=True, rename="upper"):
    """What PERSONA_DOCUMENTED describes, checked."""

    voice: Word = "marin"
    instructions: Prose = DEFAULT_INSTRUCTIONS
    greeting: Prose = ""
    apology: Annotated[str, msgspec.Meta(max_length=MAX_RENDERED_CHARACTERS)] = Persona(instructions="").apology
    reconnect_within_s: Annotated[int, msgspec.Meta(ge=0, le=60)] = 8
    barge_in: Literal["on", "off", "local"] = "on"
    protect_greeting: Switch = "off"
    silence_prompt_s: Annotated[int, msgspec.Meta(ge=0, le=600)] = 12
    silence_prompts_max: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    max_call_minutes: Annotated[int, msgspec.Meta(ge=0, le=1440)] = 60
    staff_number: Number | None = None
    staff_key: Annotated[str, msgspec.Meta(pattern=r"\A([0-9*#]|none)\Z")] = "0"
    keep_audio: Switch = "on"
    keep_transcript: Switch = "on"
    mask_digits: Switch = "off"
    cache_greeting: Switch = "on"

    def persona(self) -> Persona:
        """Who answers, as far as the environment says."""
        return Persona(
            instructions=self.instructions,
            voice=self.voice,
            greeting=self.greeting,
            apology=self.apology,
            reconnect_within_s=self.reconnect_within_s,
            barge_in=msgspec.structs.replace(_BARGE_IN[self.barge_in], protect_greeting=self.protect_greeting == "on"),
            silence=SilencePolicy(
                prompt_after_s=self.silence_prompt_s or None, end_after_prompts=self.silence_prompts_max
            ),
            limits=CallLimits(max_duration_s=self.max_call_minutes * 60.0 or None),
            dtmf=self._keys(),
            privacy=self._privacy(),
        )

    @property
    def withholds_captures(self) -> bool:
        """Whether what may be kept of a call is less than a capture with audio holds."""
        return not may_capture_private(self._privacy())

    def _keys(self) -> KeyPolicy:
        has_key = self.staff_number is not None and self.staff_key != NO_KEY
        return KeyPolicy(actions={self.staff_key: STAFF} if has_key else {})

    def _privacy(self) -> Privacy:
        return Privacy(
            keep_audio=self.keep_audio == "on",
            keep_transcript=self.keep_transcript == "on",
            mask_digits=self.mask_digits == "on",
        )


PERSONA_DOCUMENTED: tuple[Documented, ...] = (
    Documented(
        variable="VOICE",
        meaning="The voice it speaks with.",
        must_be="a voice's name, without spaces",
        example="marin",
    ),
    Documented(
        variable="INSTRUCTIONS",
        meaning="What the model is told about its task.",
        must_be="a text of at most 20000 characters",
        example='"You answer the telephone of a pizzeria."',
    ),
    Documented(
        variable="GREETING",
        meaning="What the agent says first; empty lets the caller begin.",
        must_be="a text of at most 20000 characters",
        example='"Good evening, this is Da Mario."',
    ),
    Documented(
        variable="APOLOGY",
        meaning="What is said before the call is handed on because the model cannot be reached.",
        must_be=f"a text of at most {MAX_RENDERED_CHARACTERS} characters",
        example='"Sorry, our assistant is out of reach just now."',
    ),
    Documented(
        variable="RECONNECT_WITHIN_S",
        meaning="How many seconds a caller waits while the model is out of reach, before the apology.",
        must_be="a whole number from 0 to 60",
        example="5",
    ),
    Documented(
        variable="BARGE_IN",
        meaning="Whether callers may interrupt the agent; local also listens here, and so pauses the voice sooner.",
        must_be="on, off or local",
        example="local",
    ),
    Documented(
        variable="PROTECT_GREETING",
        meaning="Whether the greeting is said to its end, even if the caller speaks.",
        must_be="off or on",
        example="on",
    ),
    Documented(
        variable="SILENCE_PROMPT_S",
        meaning="After how many seconds without a word the agent asks whether the caller is still there; 0 is never.",
        must_be="a whole number from 0 to 600",
        example="20",
    ),
    Documented(
        variable="SILENCE_PROMPTS_MAX",
        meaning="How often it asks; after as long a silence again it says goodbye and hangs up.",
        must_be="a whole number from 0 to 10",
        example="3",
    ),
    Documented(
        variable="MAX_CALL_MINUTES",
        meaning="How long a call may last; half a minute before, the agent is told to come to an end. 0 is no limit.",
        must_be="a whole number from 0 to 1440",
        example="30",
    ),
    Documented(
        variable="STAFF_NUMBER",
        meaning="The telephone that rings when a caller wants a person or no model can be had; empty hangs up instead.",
        must_be="an international number, + and 7 to 15 digits without spaces",
        example="+4930901820",
    ),
    Documented(
        variable="STAFF_KEY",
        meaning="The key that callers press for a person, if STAFF_NUMBER is set.",
        must_be="one key of a telephone (0 to 9, * or #) or the word none",
        example="9",
    ),
    Documented(
        variable="KEEP_TRANSCRIPT",
        meaning="Whether words and pressed keys may be written down; off leaves them out of call records and captures.",
        must_be="off or on",
        example="off",
    ),
    Documented(
        variable="KEEP_AUDIO",
        meaning="Whether the voices may be written down; off overrules CAPTURE_AUDIO.",
        must_be="off or on",
        example="off",
    ),
    Documented(
        variable="MASK_DIGITS",
        meaning="Whether numbers and pressed keys become * in what is written down; on overrules CAPTURE_AUDIO, too.",
        must_be="off or on",
        example="on",
    ),
    Documented(
        variable="CACHE_GREETING",
        meaning="Whether greetings and apologies are rendered once and kept in DATA_DIR; off has the model greet live.",
        must_be="off or on",
        example="off",
    ),
)

PERSONA_WARNINGS: tuple[tuple[Callable[[PersonaSettings], bool], str], ...] = (
    (
        lambda settings: settings.max_call_minutes == 0 and settings.silence_prompt_s == 0,
        "MAX_CALL_MINUTES=0 and SILENCE_PROMPT_S=0: a line that nobody hangs up is paid for until Twilio ends it.",
    ),
)
