"""What a persona is: everything that is versioned of it, checked, with the defaults, and made into what a call takes.

Pure. Every rule that can be a type's constraint is one, so that /openapi.json tells it. `null` in a field means its
default, here as in a merge patch (RFC 7396), which has no other way to say so; what can be switched off has a switch.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from admin.errors import InvalidInputError
from admin.patterns import END, KEEPABLE
from admin.services.personas import templates
from admin.services.personas.merge_patch import merged, patch_type
from admin.services.personas.templates import CallFacts
from relay import (
    BargeInPolicy,
    CallLimits,
    KeyPolicy,
    Persona,
    Privacy,
    SilencePolicy,
    takes_reasoning,
)
from relay import SemanticVad as RelaySemanticVad
from relay import ServerVad as RelayServerVad

DEFAULT_INSTRUCTIONS: Final = "You are a friendly assistant on the telephone. Answer in one or two short sentences."
MAX_NAME_CHARACTERS: Final = 100
WRAP_UP_BEFORE_S: Final = 30.0  # a call's end, if the call may be that long

_RELAY: Final = Persona(instructions="")  # whose defaults are ours

_VOICES = "alloy|ash|ballad|cedar|coral|echo|marin|sage|shimmer|verse"

_OF_ALL_DETECTION: Final = ("create_response", "interrupt_response")

Text = Annotated[str, msgspec.Meta(pattern=KEEPABLE, max_length=1000)]
Instructions = Annotated[str, msgspec.Meta(pattern=KEEPABLE, max_length=20_000)]
Greeting = Annotated[str, msgspec.Meta(pattern=KEEPABLE, max_length=2000)]
Name = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*{END}",
        min_length=1,
        max_length=MAX_NAME_CHARACTERS,
    ),
]
Language = Annotated[str, msgspec.Meta(pattern=rf"^([A-Za-z]{{2,3}}(-[A-Za-z0-9]{{2,8}}){{0,3}})?{END}")]
Voice = Annotated[str, msgspec.Meta(pattern=rf"^({_VOICES}|voice_[A-Za-z0-9_-]{{1,100}}){END}")]
Word = Annotated[str, msgspec.Meta(pattern=rf"^[\x21-\x7e]+{END}", max_length=100)]
ToolName = Annotated[str, msgspec.Meta(pattern=rf"^[A-Za-z0-9_-]{{1,64}}{END}")]
Key = Annotated[str, msgspec.Meta(pattern=rf"^[0-9*#A-D]{END}")]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of a persona's fields."""


class ServerVad(Part, frozen=True, kw_only=True, tag_field="type", tag="server_vad"):
    """A turn ends when the caller has been quiet for long enough. threshold: how loud speech is, 0 to 1."""

    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    prefix_padding_ms: Annotated[int, msgspec.Meta(ge=0, le=5000)] = 300
    silence_duration_ms: Annotated[int, msgspec.Meta(ge=50, le=10_000)] = 500
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(Part, frozen=True, kw_only=True, tag_field="type", tag="semantic_vad"):
    """A turn ends when the caller seems to have finished. eagerness: how soon that is believed."""

    eagerness: Literal["auto", "low", "medium", "high"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


class Transcription(Part, frozen=True, kw_only=True):
    """Writing down what callers say. language: two letters, null to follow the persona's."""

    enabled: bool = True
    model: Word = "gpt-realtime-whisper"
    language: Annotated[str, msgspec.Meta(pattern=rf"^[a-z]{{2}}{END}")] | None = None


class BargeIn(Part, frozen=True, kw_only=True):
    """Whether and when the caller may interrupt. min_speech_ms: shorter speech does not; local_detection: pause the
    voice as soon as we hear speech, and go on with it unless OpenAI confirms it in confirm_within_ms; lead_ms: how much
    audio Twilio is given ahead meanwhile."""

    enabled: bool = True
    min_speech_ms: Annotated[int, msgspec.Meta(ge=0, le=5000)] = 0
    protect_greeting: bool = False
    local_detection: bool = False
    confirm_within_ms: Annotated[int, msgspec.Meta(ge=50, le=2000)] = 400
    lead_ms: Annotated[int, msgspec.Meta(ge=60, le=2000)] = 100


class Silence(Part, frozen=True, kw_only=True):
    """What happens when the caller says nothing: after prompt_after_s (0: never) the agent asks, in the words of the
    prompts, one after the other; after end_after_prompts of them in vain it says goodbye."""

    prompt_after_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 12.0
    prompts: Annotated[list[Annotated[Text, msgspec.Meta(min_length=1)]], msgspec.Meta(max_length=10)] = msgspec.field(
        default_factory=lambda: list(_RELAY.silence.prompts)
    )
    end_after_prompts: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2


class PrivacyPolicy(Part, frozen=True, kw_only=True):
    """What may be written down of a call: its sound, its words and keys, the digits in them."""

    keep_audio: bool = True
    keep_transcript: bool = True
    mask_digits: bool = False


class PersonaBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a persona in each of its versions.

    language: that it speaks, "" if its instructions say; model: null for the server's; instructions, greeting: may have
    gaps, `{{shop.name}}`, filled with the facts of each call; greeting: spoken first, "" lets the caller begin;
    apology: said when no model can be reached; noise_reduction: how far the caller's mouth is from the microphone;
    tools: the names of those that it may use, null for all; keys: what a key that a caller presses stands for, null for
    the server's staff key, {} for none; max_duration_s: of a call, 0 for no limit.
    """

    name: Name
    description: Text = ""
    language: Language = ""
    voice: Voice = _RELAY.voice
    model: Word | None = None
    instructions: Instructions = DEFAULT_INSTRUCTIONS
    greeting: Greeting = _RELAY.greeting
    apology: Text = _RELAY.apology
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=1.5)] = 1.0
    reasoning_effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None
    turn_detection: ServerVad | SemanticVad = ServerVad()
    noise_reduction: Literal["near_field", "far_field"] | None = None
    transcription: Transcription = Transcription()
    tools: Annotated[list[ToolName], msgspec.Meta(max_length=64)] | None = None
    barge_in: BargeIn = BargeIn()
    silence: Silence = Silence()
    keys: dict[Key, Literal["staff"]] | None = None
    max_duration_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 3600
    privacy: PrivacyPolicy = PrivacyPolicy()


class PersonaInput(PersonaBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A persona as it is sent. temperature: taken and left out, because the Realtime API refuses it."""

    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None


PersonaPatch: Final = patch_type(PersonaInput)


class InputWarning(msgspec.Struct, frozen=True):
    """Something in what was sent has no effect. code: for programs, stable; message: for people."""

    code: str
    message: str


NO_TEMPERATURE: Final = InputWarning(
    "temperature_ignored", "The Realtime API has no temperature any more and refuses it; it was not kept."
)

NO_REASONING: Final = InputWarning(
    "reasoning_effort_ignored", "The model cannot think, so calls leave reasoning_effort out; it was kept."
)


def accept(given: PersonaInput) -> tuple[PersonaBody, list[InputWarning]]:
    """What is kept of what was sent, and what has no effect.

    Raises: InvalidInputError, invalid_template.
    """
    templates.check("instructions", given.instructions)
    templates.check("greeting", given.greeting)
    body = PersonaBody(**{name: getattr(given, name) for name in PersonaBody.__struct_fields__})
    return body, _warnings(given)


def _warnings(given: PersonaInput) -> list[InputWarning]:
    found = [] if given.temperature is None else [NO_TEMPERATURE]
    if given.reasoning_effort is not None and given.model is not None and not takes_reasoning(given.model):
        found.append(NO_REASONING)
    return found


def patched(body: PersonaBody, patch: dict[str, Any]) -> PersonaInput:
    """The persona with a merge patch applied. What only the other kind of turn detection has does not hinder a change.

    Raises: InvalidInputError.
    """
    target = msgspec.to_builtins(body)
    chosen = patch.get("turn_detection")
    if isinstance(chosen, dict) and chosen.get("type") != target["turn_detection"]["type"]:
        target["turn_detection"] = {name: target["turn_detection"][name] for name in _OF_ALL_DETECTION}
    try:
        return msgspec.convert(merged(target, patch), PersonaInput)
    except msgspec.ValidationError as error:
        raise InvalidInputError(str(error)) from None


def to_relay(body: PersonaBody, facts: CallFacts, usual_keys: KeyPolicy = _RELAY.dtmf) -> Persona:
    """Who answers one call: the persona, its texts filled with the call's facts.

    usual_keys: of a persona that does not say what its keys stand for.
    """
    values = facts.values()
    return Persona(
        instructions=templates.fill(body.instructions, values),
        voice=body.voice,
        greeting=templates.fill(body.greeting, values),
        apology=body.apology,
        model=body.model or "",
        speed=body.speed,
        reasoning_effort=body.reasoning_effort,
        language=body.transcription.language or _two_letters(body.language),
        turn_detection=_turn_detection(body.turn_detection),
        tools=None if body.tools is None else frozenset(body.tools),
        transcription_model=body.transcription.model if body.transcription.enabled else None,
        noise_reduction=body.noise_reduction,
        barge_in=BargeInPolicy(**msgspec.structs.asdict(body.barge_in)),
        silence=_silence(body.silence),
        limits=_limits(body.max_duration_s),
        dtmf=usual_keys if body.keys is None else KeyPolicy(actions=dict(body.keys)),
        privacy=Privacy(**msgspec.structs.asdict(body.privacy)),
    )


def _two_letters(language: str) -> str:
    """The language as ISO 639-1 names it, "" if it does not: OpenAI refuses a session with any other name."""
    primary = language.partition("-")[0].lower()
    return primary if len(primary) == 2 else ""


def _turn_detection(detection: ServerVad | SemanticVad) -> RelayServerVad | RelaySemanticVad:
    fields = msgspec.structs.asdict(detection)
    return RelayServerVad(**fields) if isinstance(detection, ServerVad) else RelaySemanticVad(**fields)


def _silence(silence: Silence) -> SilencePolicy:
    return SilencePolicy(
        prompt_after_s=silence.prompt_after_s or None,
        prompts=tuple(silence.prompts),
        end_after_prompts=silence.end_after_prompts if silence.prompts else 0,
    )


def _limits(max_duration_s: int) -> CallLimits:
    wrap_up_before_s = WRAP_UP_BEFORE_S if max_duration_s > WRAP_UP_BEFORE_S else 0.0
    return CallLimits(max_duration_s=float(max_duration_s) or None, wrap_up_before_s=wrap_up_before_s)
