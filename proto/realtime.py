"""OpenAI Realtime events (the GA interface): what they look like, how they are read and written.

The model's end of a frame's way through the relay. Knows nothing of sockets, calls or time. Facts from OpenAI's
Realtime reference and the official SDK's types. Audio is raw μ-law (`audio/pcmu`, 8 kHz): base64 on the wire, plain
bytes in the structs. Inbound types are named for what happened, outbound ones for what to do.
"""

from collections.abc import Callable
from typing import Any, Literal, final

import msgspec
from msgspec import UNSET, UnsetType

from proto.errors import RemoteProtocolError


class ServerEvent(msgspec.Struct, tag_field="type", frozen=True, gc=False):
    """What all events from OpenAI share: `type` is the tag. Unknown fields are skipped."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """An inner object of an event."""


# Sessions.


class AudioFormat(Part, frozen=True):
    """type: "audio/pcmu" is G.711 μ-law, 8 kHz, 8 bytes per ms."""

    type: str = ""


class AudioEnd(Part, frozen=True):
    """One direction of a session's audio, as far as it must be checked."""

    format: AudioFormat = AudioFormat()


class SessionAudio(Part, frozen=True):
    """Both directions, named from the model's side: input is the caller."""

    input: AudioEnd = AudioEnd()
    output: AudioEnd = AudioEnd()


class Session(Part, frozen=True):
    """The effective session as the service echoes it. expires_at: Unix s."""

    id: str = ""
    expires_at: int | None = None
    audio: SessionAudio = SessionAudio()
    model: str = ""


class SessionCreated(ServerEvent, frozen=True, tag="session.created"):
    """The socket is a session now, still on default settings."""

    session: Session


class SessionUpdated(ServerEvent, frozen=True, tag="session.updated"):
    """Our settings are in force."""

    session: Session


class ErrorDetail(Part, frozen=True):
    """Branch on `code`; `message` is for people. event_id: the client event that failed, if it had one."""

    type: str = ""
    code: str | None = None
    message: str = ""
    param: str | None = None
    event_id: str | None = None


class ErrorReported(ServerEvent, frozen=True, tag="error"):
    """Something we sent was refused, or the service is in trouble. Most leave the session usable."""

    error: ErrorDetail


# The caller's turn.


class SpeechStarted(ServerEvent, frozen=True, tag="input_audio_buffer.speech_started"):
    """The caller began to speak. audio_start_ms counts appended audio, prefix padding included."""

    item_id: str
    audio_start_ms: int = 0


class SpeechStopped(ServerEvent, frozen=True, tag="input_audio_buffer.speech_stopped"):
    """The caller fell silent. audio_end_ms counts appended audio, the silence window included."""

    item_id: str
    audio_end_ms: int = 0


class AudioCommitted(ServerEvent, frozen=True, tag="input_audio_buffer.committed"):
    """The caller's turn is an item of the conversation now, behind `previous_item_id`."""

    item_id: str
    previous_item_id: str | None = None


class TranscriptionUsage(Part, frozen=True):
    """What writing down one turn cost: tokens, or seconds of audio, as the transcription model is priced."""

    total_tokens: int = 0
    seconds: float = 0.0


class CallerTranscribed(ServerEvent, frozen=True, tag="conversation.item.input_audio_transcription.completed"):
    """What the caller said, written down by a separate model; may come at any time after the turn."""

    item_id: str
    transcript: str
    usage: TranscriptionUsage | None = None


class TranscriptionFailed(ServerEvent, frozen=True, tag="conversation.item.input_audio_transcription.failed"):
    """The caller's words could not be written down; the conversation goes on."""

    item_id: str
    error: ErrorDetail = ErrorDetail()


# Responses.


class Item(Part, frozen=True):
    """One entry of the conversation: a message, a function call, or the output of one."""

    id: str = ""
    type: str = ""
    status: str | None = None
    role: str | None = None
    name: str | None = None
    call_id: str | None = None
    arguments: str | None = None


class ItemAdded(ServerEvent, frozen=True, tag="conversation.item.added"):
    """The conversation has one more item, behind `previous_item_id` (None: it is the first)."""

    item: Item = Item()
    previous_item_id: str | None = None


class Tokens(Part, frozen=True):
    """Tokens by kind, as far as the service tells."""

    text_tokens: int | None = None
    audio_tokens: int | None = None


class InputTokens(Tokens, frozen=True):
    """What a response was made from. cached_tokens_details: those among them that were seen before."""

    cached_tokens_details: Tokens | None = None


class Usage(Part, frozen=True):
    """Tokens of one response; the details are priced apart."""

    total_tokens: int | None = 0
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    input_token_details: InputTokens | None = None
    output_token_details: Tokens | None = None


class StatusDetails(Part, frozen=True):
    """Why a response was cancelled, incomplete or failed."""

    reason: str | None = None
    error: ErrorDetail | None = None


class Response(Part, frozen=True):
    """One answer of the model. status: in_progress, completed, cancelled, incomplete, failed."""

    id: str
    status: str = ""
    status_details: StatusDetails | None = None
    usage: Usage | None = None
    metadata: dict[str, Any] | None = None


class ResponseCreated(ServerEvent, frozen=True, tag="response.created"):
    """The model begins to answer."""

    response: Response


class ResponseDone(ServerEvent, frozen=True, tag="response.done"):
    """The model has generated all of the answer, or was stopped. The caller may still be hearing it."""

    response: Response


class OutputItemDone(ServerEvent, frozen=True, tag="response.output_item.done"):
    """One item of an answer is complete; a function call is acted on here."""

    response_id: str
    item: Item


@final
class AudioDelta(ServerEvent, frozen=True, tag="response.output_audio.delta"):
    """Some of the agent's voice. delta: μ-law bytes, any length; bursts run far ahead of real time."""

    response_id: str
    item_id: str
    delta: bytes
    content_index: int = 0


class AudioDone(ServerEvent, frozen=True, tag="response.output_audio.done"):
    """All audio of this content part has been sent."""

    response_id: str
    item_id: str
    content_index: int = 0


class AgentWords(ServerEvent, frozen=True, tag="response.output_audio_transcript.delta"):
    """The next words of this content part; they run ahead of its audio."""

    item_id: str
    delta: str
    content_index: int = 0


class AgentTranscribed(ServerEvent, frozen=True, tag="response.output_audio_transcript.done"):
    """The words of this content part, all that were generated, heard or not."""

    item_id: str
    transcript: str
    content_index: int = 0


class ItemTruncated(ServerEvent, frozen=True, tag="conversation.item.truncated"):
    """The model's memory of an item now ends where we said the caller stopped hearing it."""

    item_id: str
    audio_end_ms: int = 0


class RateLimit(Part, frozen=True):
    """One allowance of the account. name: "requests" or "tokens"; full again after `reset_seconds`."""

    name: str = ""
    limit: int = 0
    remaining: int = 0
    reset_seconds: float = 0.0


class RateLimitsUpdated(ServerEvent, frozen=True, tag="rate_limits.updated"):
    """What the account may still use. May stand anywhere, or be absent."""

    rate_limits: list[RateLimit] = []


class Unhandled(msgspec.Struct, frozen=True):
    """A well-formed event of a kind we do not act on."""

    tag: str


Inbound = (
    SessionCreated
    | SessionUpdated
    | ErrorReported
    | SpeechStarted
    | SpeechStopped
    | AudioCommitted
    | CallerTranscribed
    | TranscriptionFailed
    | ResponseCreated
    | ResponseDone
    | ItemAdded
    | OutputItemDone
    | AudioDelta
    | AudioDone
    | AgentWords
    | AgentTranscribed
    | ItemTruncated
    | RateLimitsUpdated
)

# What we send. `event_id` is echoed in errors, so everything that can fail carries a unique one.


class ClientEvent(msgspec.Struct, tag_field="type", frozen=True, gc=False, omit_defaults=True):
    """What all events to OpenAI share: `type` is the tag; fields left at their default are not written."""


ReasoningEffort = Literal["minimal", "low", "medium", "high", "xhigh"]


class ServerVad(Part, frozen=True, kw_only=True, tag_field="type", tag="server_vad"):
    """Turns end with silence. Every field is written out: the service's defaults differ from model to model."""

    threshold: float
    prefix_padding_ms: int
    silence_duration_ms: int
    create_response: bool
    interrupt_response: bool


class SemanticVad(Part, frozen=True, kw_only=True, tag_field="type", tag="semantic_vad"):
    """Turns end when a model thinks that they do. eagerness: how soon; it waits 8, 4 or 2 s at most."""

    eagerness: Literal["low", "medium", "high", "auto"]
    create_response: bool
    interrupt_response: bool


class Transcription(Part, frozen=True):
    """model: which model writes down what the caller says; language: ISO 639-1, in which they are expected to."""

    model: str
    language: str | UnsetType = UNSET


class NoiseReduction(Part, frozen=True):
    """type: how far the caller's mouth is from the microphone."""

    type: Literal["near_field", "far_field"]


class FunctionTool(Part, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A function that the model may call. parameters: a JSON Schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


class InputAudio(Part, frozen=True, kw_only=True):
    """The caller's direction. None switches a feature off."""

    format: AudioFormat
    turn_detection: ServerVad | SemanticVad | None
    transcription: Transcription | None
    noise_reduction: NoiseReduction | None


class CustomVoice(Part, frozen=True):
    """A voice that OpenAI made for this account. id: `voice_…`."""

    id: str


def voice_of(name: str) -> str | CustomVoice:
    """A voice as a session is told of it: OpenAI's own ones are names, others have an identifier."""
    return CustomVoice(name) if name.startswith("voice_") else name


class OutputAudio(Part, frozen=True, kw_only=True):
    """The agent's direction. speed: 0.25 to 1.5, how fast it speaks; the audio is shorter or longer by it."""

    format: AudioFormat
    voice: str | CustomVoice
    speed: float | UnsetType = UNSET


class AudioConfig(Part, frozen=True):
    """Both directions."""

    input: InputAudio
    output: OutputAudio


class Reasoning(Part, frozen=True):
    """effort: how much a model that can think does so before it speaks; any other model refuses the field."""

    effort: ReasoningEffort


class SessionConfig(Part, frozen=True, kw_only=True):
    """A complete configuration. `type` must stand in every update, or the whole update is refused."""

    type: Literal["realtime"] = "realtime"
    output_modalities: list[str]
    instructions: str
    audio: AudioConfig
    tools: list[FunctionTool] | UnsetType = UNSET
    reasoning: Reasoning | UnsetType = UNSET


class UpdateSession(ClientEvent, frozen=True, tag="session.update"):
    """Put a configuration in force. Answered by SessionUpdated or ErrorReported, all or nothing."""

    event_id: str
    session: SessionConfig


@final
class AppendAudio(ClientEvent, frozen=True, tag="input_audio_buffer.append"):
    """Caller audio, μ-law; never acknowledged."""

    audio: bytes


class TruncateItem(ClientEvent, frozen=True, tag="conversation.item.truncate"):
    """Cut the model's memory of its own words to what was heard.

    audio_end_ms: of that item's audio; must not exceed what the service produced. content_index is written even when
    it is 0: the service demands it.
    """

    event_id: str
    item_id: str
    content_index: int
    audio_end_ms: int


class ResponseConfig(Part, frozen=True, kw_only=True, omit_defaults=True):
    """What differs for one response. instructions replace the session's for it; metadata comes back with it.

    conversation: "none" keeps the response out of the conversation; the model then remembers nothing of it.
    """

    instructions: str | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    tool_choice: Literal["auto", "none", "required"] | UnsetType = UNSET
    conversation: Literal["auto", "none"] | UnsetType = UNSET


class CreateResponse(ClientEvent, frozen=True, tag="response.create"):
    """Ask the model to speak."""

    event_id: str
    response: ResponseConfig | UnsetType = UNSET


class CancelResponse(ClientEvent, frozen=True, tag="response.cancel"):
    """Stop a response that is still being generated; only needed when server VAD does not do it by itself."""

    event_id: str
    response_id: str


class NewItem(msgspec.Struct, tag_field="type", frozen=True, gc=False, kw_only=True):
    """What a client may add to the conversation. id: ours to choose, at most 32 characters."""

    id: str


class InputText(Part, frozen=True, tag_field="type", tag="input_text"):
    """What somebody else than the model said or wrote."""

    text: str


class OutputText(Part, frozen=True, tag_field="type", tag="output_text"):
    """What the model said. Its audio cannot be given back to it, only its words."""

    text: str


class NewMessage(NewItem, frozen=True, kw_only=True, tag="message"):
    """One turn of somebody. Content parts fit the role: the model's own are OutputText."""

    role: Literal["system", "user", "assistant"]
    content: list[InputText | OutputText]


class NewFunctionCall(NewItem, frozen=True, kw_only=True, tag="function_call"):
    """A call the model made earlier, in a session that is gone. arguments: JSON text."""

    call_id: str
    name: str
    arguments: str


class NewFunctionOutput(NewItem, frozen=True, kw_only=True, tag="function_call_output"):
    """What came of a call. output: any text; the model reads it."""

    call_id: str
    output: str


class CreateItem(ClientEvent, frozen=True, tag="conversation.item.create"):
    """Add an item: behind `previous_item_id`, or at the end. Answered by ItemAdded or ErrorReported."""

    event_id: str
    item: NewMessage | NewFunctionCall | NewFunctionOutput
    previous_item_id: str | UnsetType = UNSET


class DeleteItem(ClientEvent, frozen=True, tag="conversation.item.delete"):
    """Take an item out of the conversation."""

    event_id: str
    item_id: str


Outbound = UpdateSession | AppendAudio | TruncateItem | CreateItem | DeleteItem | CreateResponse | CancelResponse

_decoder: msgspec.json.Decoder[Inbound] = msgspec.json.Decoder(Inbound, strict=False)
encode: Callable[[Outbound], bytes] = msgspec.json.Encoder().encode  # one event as compact JSON
_TAGS = frozenset(str(kind.__struct_config__.tag) for kind in Inbound.__args__)


class _Envelope(msgspec.Struct, frozen=True):
    type: str


_envelope_decoder = msgspec.json.Decoder(_Envelope)


def decode(raw: bytes) -> Inbound | Unhandled:
    """Read one event.

    Args: raw, one WebSocket text message.
    Raises: RemoteProtocolError when it is no JSON object, has no `type`, or lacks what its kind must have.
    """
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        tag = _tag_of(raw)
        if tag in _TAGS:
            raise RemoteProtocolError("openai", tag, str(error)) from None
        return Unhandled(tag[:64])


def _tag_of(raw: bytes) -> str:
    try:
        return _envelope_decoder.decode(raw).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError("openai", "", f"no event: {error}") from None
