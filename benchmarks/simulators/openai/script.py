"""The script: what the model will say and do, decided before the call.

A script is a sequence, one step for each response. A disturbance or a bill between two steps belongs to the response
that the next step describes. The greeting stands apart: the first response that a client asks for with instructions,
before the caller has said anything, is the greeting whatever the script says. When the script is used up, replies
rotate, so a load test can run for hours on none at all.
"""

from typing import Annotated, Final, Literal

import msgspec

from benchmarks.simulators.openai.events import Disturbance, Json, NotNegative


class _Step(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """What all parts of a script share: in a file, `type` names the class."""


class Reply(_Step, frozen=True):
    """One spoken message: a clip of `benchmarks.speech` by name (in a text-only session, its transcript)."""

    clip: str


class ToolCall(_Step, frozen=True):
    """One function call; `arguments` is the JSON text, streamed as it stands."""

    name: str
    arguments: str = "{}"


class McpCall(_Step, frozen=True):
    """A tool that the service itself runs, with what came of it; an `error` makes it fail."""

    server_label: str
    name: str
    arguments: str = "{}"
    output: str = ""
    error: Json | None = None  # such as {"type": "tool_execution_error", "message": "…"}
    seconds: NotNegative = 0.2  # that the server takes
    approval_request_id: str | None = None


class McpApproval(_Step, frozen=True):
    """The model asks whether it may run a tool of an MCP server."""

    server_label: str
    name: str
    arguments: str = "{}"


Piece = Reply | ToolCall | McpCall | McpApproval


class Several(_Step, frozen=True):
    """Several output items in one response, in this order: a word before a call, calls in parallel."""

    items: tuple[Piece, ...]


class Incomplete(_Step, frozen=True):
    """A spoken message that breaks off after so much audio."""

    clip: str
    spoken_ms: int
    reason: Literal["max_output_tokens", "content_filter"] = "max_output_tokens"


class Fail(_Step, frozen=True):
    """The response fails before it says anything."""

    code: str | None
    message: str
    kind: str = "server_error"  # the error's `type` on the wire


class Silence(_Step, frozen=True):
    """The response completes without an output item: the model has nothing to say."""


Step = Piece | Several | Incomplete | Fail | Silence


class Bill(_Step, frozen=True):
    """What the next response's `response.done` is to show as its `usage`, whatever it was."""

    usage: Json | None


class FailedTranscription(_Step, frozen=True):
    """A turn that the transcription model could not write down."""

    code: str | None = None
    message: str = "The input could not be transcribed."
    kind: str = "server_error"


class McpTool(_Step, frozen=True):
    """One tool as an MCP server lists it."""

    name: str
    description: str = ""
    input_schema: Json = msgspec.field(default_factory=dict)


class McpServer(_Step, frozen=True):
    """What listing a server's tools comes to, when a session names it. Servers that no script knows have none."""

    label: str
    tools: tuple[McpTool, ...] = ()
    is_reachable: bool = True
    listing_s: NotNegative = 0.2


# Short enough for a caller to answer within a few seconds.
ROTATION: Final = ("opening_hours", "table_booked", "anything_else", "vegetarian")


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens in one session."""

    steps: tuple[Step | Disturbance | Bill, ...] = ()
    greeting: Step | None = Reply("greeting")  # None: a greeting takes its turn in the script like any other response
    # Clips spoken once the steps are used up.
    rotation: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ROTATION
    input_transcripts: tuple[str | FailedTranscription, ...] = ()  # of the caller's turns, in order
    generic_transcript: str = "The caller said something."  # of every further turn
    mcp_servers: tuple[McpServer, ...] = ()


class Scene(msgspec.Struct, frozen=True):
    """One response of the script, with what belongs to it."""

    step: Step
    disturbances: tuple[Disturbance, ...] = ()
    bill: Bill | None = None


class Performance:
    """How far one session has come in its script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._scenes = _scenes(script)
        self._scripted = sum(isinstance(one, Step) for one in script.steps)  # the others only go with a step
        self._responses = 0
        self._turns = 0
        self._has_greeted = False

    def next_scene(self, *, is_greeting: bool) -> Scene:
        """What the response that now begins will do."""
        if is_greeting and not self._has_greeted and self._script.greeting is not None:
            self._has_greeted = True
            return Scene(self._script.greeting)
        position, rotation = self._responses, self._script.rotation
        self._responses += 1
        if position < len(self._scenes):
            return self._scenes[position]
        return Scene(Reply(rotation[(position - self._scripted) % len(rotation)]))

    def next_transcript(self) -> str | FailedTranscription:
        """What the caller is understood to have said in the turn that just ended."""
        position, texts = self._turns, self._script.input_transcripts
        self._turns += 1
        return texts[position] if position < len(texts) else self._script.generic_transcript


def _scenes(script: Script) -> list[Scene]:
    """The steps, each with the disturbances and the bill before it; what comes last belongs to the first rotation."""
    scenes: list[Scene] = []
    waiting = Scene(Reply(script.rotation[0]))
    for one in script.steps:
        if isinstance(one, Bill):
            waiting = msgspec.structs.replace(waiting, bill=one)
        elif isinstance(one, Disturbance):
            waiting = msgspec.structs.replace(waiting, disturbances=(*waiting.disturbances, one))
        else:
            scenes.append(msgspec.structs.replace(waiting, step=one))
            waiting = Scene(Reply(script.rotation[0]))
    return [*scenes, waiting] if waiting.disturbances or waiting.bill else scenes
