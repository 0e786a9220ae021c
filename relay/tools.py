"""Tools: what a model may call while it talks, and how one such call is carried out.

A tool declares its arguments as a frozen msgspec Struct. The JSON Schema that OpenAI is told is made from it, and what
the model sends is decoded into it, so the two cannot disagree. A tool that only has a JSON Schema of its own has no
place here yet: that would take a validator of its own, and nothing needs it so far.

Knows Trio, for the deadline, but neither call nor socket. `relay.tool_runs` decides when a run begins, what its output
means for the conversation, and what the caller's voice does to it.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, Literal, TypeVar

import msgspec
import structlog
import trio

from proto import realtime
from relay.log import ToolOutcome

MAX_TOOLS = 64
MAX_ARGUMENTS_CHARS = 65_536
MAX_OUTPUT_BYTES = 16_384  # the model reads all of it again for every later answer
MAX_MESSAGE_CHARS = 500

OnBargeIn = Literal["cancel", "finish", "detach"]
Then = Literal["speak", "end_call", "silent"]
Arguments = TypeVar("Arguments", bound=msgspec.Struct)

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # what OpenAI takes
_REFERENCE = "#/$defs/"
_logger = structlog.stdlib.get_logger("tautline.tools")


class ToolContext(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a tool runs. parameters: those of the media stream; their values may be secrets."""

    call_sid: str
    parameters: Mapping[str, str] = {}


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool may return when the bare output does not say it all.

    output: for the model: text as it is, anything else as msgspec's JSON. then: "speak" lets the model go on with what
    it now knows; "end_call" ends the call once all that was said has been heard; "silent" leaves the next word to the
    caller.
    """

    output: Any
    then: Then = "speak"


class ToolReport(msgspec.Struct, frozen=True):
    """What came of one run. output: the text that the model reads, never more than MAX_OUTPUT_BYTES of UTF-8."""

    outcome: ToolOutcome
    output: str
    then: Then = "speak"


class Tool(msgspec.Struct, Generic[Arguments], frozen=True, kw_only=True):
    """Something a model may do.

    description: for the model: what it does, and when to use it. run: takes the decoded arguments, and returns the
    output or a ToolResult. It shares the thread with every call's audio, so what waits must await, and what computes
    belongs into `trio.to_thread`.

    on_barge_in: what becomes of a run when the caller barges in before it is over.
    - "cancel": it is stopped, and the model is told so. For what only reads.
    - "finish": it goes on, and its output follows as if nobody had spoken. For what the caller will ask about.
    - "detach": the model is told at once that it goes on in the background; how it ends is logged, and told to nobody.
      For what must happen but needs no word. It still ends with the call, and with its deadline.

    filler: what the agent says when the run is not over after `filler_after_ms`; "" for nothing.
    """

    name: str
    description: str
    arguments: type[Arguments]
    run: Callable[[Arguments, ToolContext], Awaitable[Any]]
    deadline_s: float = 10.0
    on_barge_in: OnBargeIn = "finish"
    filler: str = ""
    filler_after_ms: int = 1500

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a tool cannot be named {self.name!r}: letters, digits, _ and -, at most 64")
        if self.deadline_s <= 0 or self.filler_after_ms <= 0:
            raise ValueError(f"{self.name}: deadline_s and filler_after_ms must be more than 0")


class ToolOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What a call must know of a tool: everything but how it is carried out. The fields are those of `Tool`."""

    definition: realtime.FunctionTool
    deadline_s: float
    on_barge_in: OnBargeIn
    filler: str
    filler_after_ms: int


class ToolBox(Mapping[str, Tool[Any]]):
    """The tools that one call has, by name.

    Raises: ValueError for too many tools, two of one name, or arguments that contain themselves; TypeError for
    arguments that have no JSON Schema.
    """

    def __init__(self, tools: Iterable[Tool[Any]] = ()) -> None:
        listed = list(tools)
        self._tools = {tool.name: tool for tool in listed}
        if len(listed) > MAX_TOOLS:
            raise ValueError(f"{len(listed)} tools are too many, {MAX_TOOLS} are allowed")
        if len(self._tools) < len(listed):
            raise ValueError(f"two tools have the same name: {[tool.name for tool in listed]}")
        self._definitions = [_definition(tool) for tool in listed]
        self._decoders = {tool.name: msgspec.json.Decoder(tool.arguments) for tool in listed}

    def __getitem__(self, name: str) -> Tool[Any]:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def definitions(self) -> list[realtime.FunctionTool]:
        """What OpenAI is told of them."""
        return list(self._definitions)

    def offers(self) -> list[ToolOffer]:
        """What a call is told of them."""
        return [
            ToolOffer(
                definition=definition,
                deadline_s=tool.deadline_s,
                on_barge_in=tool.on_barge_in,
                filler=tool.filler,
                filler_after_ms=tool.filler_after_ms,
            )
            for tool, definition in zip(self._tools.values(), self._definitions, strict=True)
        ]

    def decode(self, name: str, arguments: str) -> Any:
        """Read one call's arguments, JSON text as the model wrote it; none at all stands for an empty object.

        Raises: ValueError, which says where they are wrong.
        """
        if len(arguments) > MAX_ARGUMENTS_CHARS:
            raise ValueError(f"{len(arguments)} characters are too many")
        try:
            return self._decoders[name].decode(arguments or "{}")
        except RecursionError:
            raise ValueError("nested too deeply") from None


async def run_tool(toolbox: ToolBox, name: str, arguments: str, context: ToolContext) -> ToolReport:
    """Carry out one call of a model: validate, run within the tool's deadline, put the result into words for the model.

    Raises nothing but Cancelled: whatever goes wrong becomes a report that the model can act on. What a crashed tool's
    exception says is logged; the model is not told, since it might read it out.
    """
    tool = toolbox.get(name)
    if tool is None:
        return unknown_tool(toolbox, name)
    try:
        decoded = toolbox.decode(name, arguments)
    except ValueError as error:
        return failure("invalid_arguments", f"The arguments do not fit the tool's schema: {error}")
    report = failure("timeout", f"{name} took longer than {tool.deadline_s:g} s. Whether it took effect is not known.")
    try:
        with trio.move_on_after(tool.deadline_s):
            report = _report(await tool.run(decoded, context))
    except* Exception as group:  # also the one that a tool's nursery raised beside its Cancelled
        _logger.error("tool.crashed", call_sid=context.call_sid, name=name, exc_info=group)
        report = failure("error", f"{name} failed. Whether it took effect is not known.")
    return report


def unknown_tool(names: Iterable[str], name: str) -> ToolReport:
    """The report on a call of a tool that there is not. names: of those that there are."""
    return failure("unknown_tool", f"There is no tool {name[:64]!r}. There are: {', '.join(names) or 'none'}.")


def failure(outcome: ToolOutcome, message: str) -> ToolReport:
    """A report of something that did not come about; message: for the model, in a sentence or two."""
    error = {"error": {"code": outcome, "message": message[:MAX_MESSAGE_CHARS]}}
    return ToolReport(outcome, _text(error))


def _report(returned: Any) -> ToolReport:
    result = returned if isinstance(returned, ToolResult) else ToolResult(returned)
    return ToolReport("ok", _text(result.output), result.then)


def _text(output: Any) -> str:
    """The output as UTF-8 can carry it, cut where it gets too long."""
    raw = output.encode(errors="replace") if isinstance(output, str) else msgspec.json.encode(output)
    if len(raw) <= MAX_OUTPUT_BYTES:
        return raw.decode()
    note = f" … (cut, {len(raw)} bytes in all)"
    return raw[: MAX_OUTPUT_BYTES - len(note.encode())].decode(errors="ignore") + note


def _definition(tool: Tool[Any]) -> realtime.FunctionTool:
    (reference,), definitions = msgspec.json.schema_components([tool.arguments], ref_template=_REFERENCE + "{name}")
    schema = _inlined(reference, definitions, ())
    # Its title and docstring are for us; the tool's own name and description are for the model.
    parameters = {key: value for key, value in schema.items() if key not in ("title", "description")}
    return realtime.FunctionTool(name=tool.name, description=tool.description, parameters=parameters)


def _inlined(schema: Any, definitions: dict[str, Any], within: tuple[str, ...]) -> Any:
    """A JSON Schema with each reference replaced by what it refers to. within: the definitions around it."""
    if isinstance(schema, list):
        return [_inlined(part, definitions, within) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: _inlined(part, definitions, within) for key, part in schema.items() if not _is_hint(part)}
    if not isinstance(schema.get("$ref"), str):
        return parts
    name = parts.pop("$ref").removeprefix(_REFERENCE)
    if name in within:
        raise ValueError(f"{name} contains itself, which cannot be told to the model")
    return _inlined(definitions[name], definitions, (*within, name)) | parts


def _is_hint(part: Any) -> bool:
    """OpenAPI's `discriminator`: not JSON Schema, and made of references."""
    return isinstance(part, dict) and {"propertyName", "mapping"} == part.keys()
