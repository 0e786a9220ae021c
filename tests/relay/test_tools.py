"""Tools: what the model is told of them, and that every call of one comes to a report, whatever goes wrong."""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import msgspec
import pytest
import structlog
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.realtime import RealtimeClientEvent, RealtimeFunctionTool
from pydantic import TypeAdapter
from trio.testing import MockClock

from proto import realtime
from relay.persona import Persona, session_config
from relay.standard_tools import end_call, get_time
from relay.tools import (
    MAX_ARGUMENTS_CHARS,
    MAX_OUTPUT_BYTES,
    MAX_TOOLS,
    Tool,
    ToolBox,
    ToolContext,
    ToolReport,
    ToolResult,
    run_tool,
)

CONTEXT = ToolContext(call_sid="CA1", parameters={"shop": "north"})


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of an order."""

    article: Annotated[str, msgspec.Meta(description="Its number.")]
    quantity: Annotated[int, msgspec.Meta(ge=1)] = 1


class Voucher(msgspec.Struct, frozen=True, tag="voucher"):
    code: str


class Card(msgspec.Struct, frozen=True, tag="card"):
    digits: str


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For developers only."""

    lines: list[Line]
    payment: Voucher | Card
    title: Literal["ms", "mr"] | None = None


class Present(msgspec.Struct, frozen=True):
    line: Annotated[Line, msgspec.Meta(description="What is given away.")]


class Anything(msgspec.Struct, frozen=True):
    pass


class Folder(msgspec.Struct, frozen=True):
    folders: "list[Folder]"


Body = Callable[[Any, ToolContext], Awaitable[Any]]


async def nothing(_arguments: object, _context: ToolContext) -> str:
    return "done"


def tool(name: str = "act", run: Body = nothing, **fields: Any) -> Tool[Any]:
    fields.setdefault("arguments", Anything)
    return Tool(name=name, description="Acts.", run=run, **fields)


async def outcome_of(run: Body, raw: str = "{}", **fields: Any) -> ToolReport:
    return await run_tool(ToolBox([tool(run=run, **fields)]), "act", raw, CONTEXT)


def error_in(report: ToolReport) -> dict[str, str]:
    (error,) = json.loads(report.output).values()
    assert error.keys() == {"code", "message"}
    assert error["code"] == report.outcome
    return dict(error)


# What the model is told


def test_a_schema_is_one_object_without_references() -> None:
    (definition,) = ToolBox([tool(arguments=Order)]).definitions()
    line = {
        "title": "Line",
        "description": "One line of an order.",
        "type": "object",
        "properties": {
            "article": {"type": "string", "description": "Its number."},
            "quantity": {"type": "integer", "minimum": 1, "default": 1},
        },
        "required": ["article"],
        "additionalProperties": False,
    }
    kinds: list[dict[str, Any]] = [
        {
            "title": title,
            "type": "object",
            "properties": {"type": {"enum": [tag]}, key: {"type": "string"}},
            "required": ["type", key],
        }
        for title, tag, key in (("Voucher", "voucher", "code"), ("Card", "card", "digits"))
    ]
    payment = definition.parameters["properties"].pop("payment")
    assert sorted(payment.pop("anyOf"), key=str) == sorted(kinds, key=str)
    assert payment == {}
    assert definition.parameters == {
        "type": "object",
        "properties": {
            "lines": {"type": "array", "items": line},
            "title": {"anyOf": [{"enum": ["mr", "ms"]}, {"type": "null"}], "default": None},
        },
        "required": ["lines", "payment"],
        "additionalProperties": False,
    }


def test_what_a_field_says_of_itself_goes_before_what_its_type_says() -> None:
    (definition,) = ToolBox([tool(arguments=Present)]).definitions()
    assert definition.parameters["properties"]["line"]["description"] == "What is given away."
    assert definition.parameters["properties"]["line"]["required"] == ["article"]


def test_the_official_sdk_takes_the_definitions_as_function_tools() -> None:
    definitions = ToolBox([get_time(), end_call(), tool(arguments=Order)]).definitions()
    config = msgspec.structs.replace(session_config(Persona(instructions="")), tools=definitions)
    sdk: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)
    update = sdk.validate_json(realtime.encode(realtime.UpdateSession("configure-1", config)))
    assert [type(taken) for taken in update.session.tools] == [RealtimeFunctionTool] * 3
    assert [taken.model_extra for taken in update.session.tools] == [{}] * 3
    assert [taken.name for taken in update.session.tools] == ["get_time", "end_call", "act"]


def test_a_tool_without_arguments_is_an_empty_object() -> None:
    (definition,) = ToolBox([tool()]).definitions()
    assert definition.parameters == {"type": "object", "properties": {}, "required": []}


def test_a_toolbox_is_a_mapping_by_name() -> None:
    toolbox = ToolBox([tool("one"), tool("two")])
    assert (list(toolbox), len(toolbox), toolbox["two"].name, "three" in toolbox) == (["one", "two"], 2, "two", False)


@pytest.mark.parametrize("name", ["", "a" * 65, "get time", "get.time", "zeit_für", "name\n"])
def test_a_name_that_openai_would_refuse_is_refused_before_any_call(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be named"):
        tool(name)


@pytest.mark.parametrize("fields", [{"deadline_s": 0.0}, {"filler_after_ms": 0}])
def test_a_tool_without_time_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        tool(**fields)


@pytest.mark.parametrize(
    ("tools", "why"),
    [
        ([tool(f"tool_{n}") for n in range(MAX_TOOLS + 1)], "too many"),
        ([tool("one"), tool("two"), tool("one")], "same name"),
        ([tool(arguments=Folder)], "Folder contains itself"),
    ],
    ids=["too many", "same name", "recursive"],
)
def test_a_toolbox_that_cannot_work_is_refused_before_any_call(tools: list[Tool[Any]], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ToolBox(tools)


# What comes of a call


async def test_a_tool_gets_its_arguments_decoded_and_knows_its_call() -> None:
    async def run(order: Order, context: ToolContext) -> str:
        return f"{order.lines[0].quantity} of {order.lines[0].article} for {context.call_sid}"

    arguments = '{"lines": [{"article": "42", "quantity": 2}], "payment": {"type": "voucher", "code": "x"}}'
    report = await outcome_of(run, arguments, arguments=Order)
    assert report == ToolReport("ok", "2 of 42 for CA1", "speak")


@pytest.mark.parametrize(
    ("returned", "report"),
    [
        ("as it is: ü", ToolReport("ok", "as it is: ü")),
        ("", ToolReport("ok", "")),
        ({"left": 3}, ToolReport("ok", '{"left":3}')),
        (Line("42"), ToolReport("ok", '{"article":"42","quantity":1}')),
        (None, ToolReport("ok", "null")),
        (ToolResult([1], then="silent"), ToolReport("ok", "[1]", "silent")),
        (ToolResult("Bye.", then="end_call"), ToolReport("ok", "Bye.", "end_call")),
        ("half of \ud83d", ToolReport("ok", "half of ?")),
    ],
)
async def test_what_a_tool_returns_is_put_into_words_for_the_model(returned: Any, report: ToolReport) -> None:
    async def run(_arguments: Anything, _context: ToolContext) -> Any:
        return returned

    assert await outcome_of(run) == report


async def test_a_model_that_sends_no_arguments_at_all_means_none() -> None:
    assert (await outcome_of(nothing, "")).outcome == "ok"


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ('{"payment": {"type": "card", "digits": "1"}}', "missing required field `lines`"),
        ('{"lines": [{"article": 42}], "payment": {"type": "card", "digits": "1"}}', "].article`"),
        ('{"lines": [], "payment": {"type": "cash"}}', "$.payment.type"),
        ('{"lines": [], "payment": {"type": "card", "digits": "1"}, "note": ""}', "unknown field `note`"),
        ('{"lines": [', "truncated"),
        ("[]", "Expected `object`"),
        ("{" * 3, "malformed"),
        ('{"lines": ' + "[" * 5000, ""),
        ('{"lines": "\ud83d"}', ""),
        (" " * (MAX_ARGUMENTS_CHARS + 1), "too many"),
    ],
)
async def test_wrong_arguments_go_back_with_the_place_where_they_are_wrong(arguments: str, where: str) -> None:
    ran: list[Order] = []

    async def run(order: Order, _context: ToolContext) -> None:
        ran.append(order)

    report = await outcome_of(run, arguments, arguments=Order)
    assert where in error_in(report)["message"]
    assert (report.outcome, report.then, ran) == ("invalid_arguments", "speak", [])


async def test_a_very_long_complaint_is_cut() -> None:
    report = await outcome_of(nothing, json.dumps({"title": "x" * 20_000}), arguments=Order)
    assert len(report.output) < 1000
    assert error_in(report)["message"].startswith("The arguments do not fit")


async def test_a_tool_that_there_is_not_is_named_with_those_that_there_are() -> None:
    report = await run_tool(ToolBox([tool("one"), tool("two")]), "tree", "{}", CONTEXT)
    assert report.outcome == "unknown_tool"
    assert error_in(report)["message"] == "There is no tool 'tree'. There are: one, two."


class Secret:
    """Nothing that could be written as JSON."""


async def crash(_arguments: Anything, _context: ToolContext) -> None:
    raise RuntimeError("password=hunter2")


async def crash_in_a_nursery(arguments: Anything, context: ToolContext) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash, arguments, context)
        await trio.sleep_forever()


async def crash_when_cancelled(_arguments: Anything, _context: ToolContext) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise RuntimeError("password=hunter2")


async def return_what_cannot_be_written(_arguments: Anything, _context: ToolContext) -> Secret:
    return Secret()


def forget_to_be_async(_arguments: Anything, _context: ToolContext) -> Any:
    return "not awaitable"


@pytest.mark.parametrize(
    "run",
    [crash, crash_in_a_nursery, crash_when_cancelled, return_what_cannot_be_written, forget_to_be_async],
)
async def test_a_crash_is_told_without_its_secrets_and_logged_with_its_cause(
    autojump_clock: MockClock, run: Body
) -> None:
    with structlog.testing.capture_logs() as lines:
        report = await outcome_of(run)
    assert error_in(report) == {"code": "error", "message": "act failed. Whether it took effect is not known."}
    (line,) = lines
    assert (line["event"], line["name"], line["call_sid"]) == ("tool.crashed", "act", "CA1")
    assert isinstance(line["exc_info"], ExceptionGroup)


async def test_a_slow_tool_is_stopped_at_its_deadline(autojump_clock: MockClock) -> None:
    stopped_at: list[float] = []

    async def run(_arguments: Anything, _context: ToolContext) -> None:
        try:
            await trio.sleep_forever()
        finally:
            stopped_at.append(trio.current_time())

    began_at = trio.current_time()
    report = await outcome_of(run, deadline_s=3.0)
    assert stopped_at == [began_at + 3.0]
    assert (report.outcome, error_in(report)["message"]) == (
        "timeout",
        "act took longer than 3 s. Whether it took effect is not known.",
    )


async def test_tools_run_beside_each_other_and_beside_everything_else(autojump_clock: MockClock) -> None:
    heard_at: list[float] = []
    reports: list[ToolReport] = []

    async def slow(_arguments: Anything, _context: ToolContext) -> str:
        await trio.sleep(5)
        return "slow"

    async def run_one() -> None:
        reports.append(await outcome_of(slow))

    began_at = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(run_one)
        while len(reports) < 3:
            heard_at.append(trio.current_time() - began_at)
            await trio.sleep(1.0)
    assert [report.output for report in reports] == ["slow"] * 3
    assert heard_at[:5] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert trio.current_time() - began_at <= 6.0


@pytest.mark.parametrize("run", [crash_when_cancelled, crash_in_a_nursery])
async def test_a_cancelled_run_ends_without_a_report_and_without_an_error(autojump_clock: MockClock, run: Body) -> None:
    reports: list[ToolReport] = []

    async def wait_first(arguments: Anything, context: ToolContext) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                await run(arguments, context)

    async def run_one() -> None:
        reports.append(await outcome_of(wait_first))

    with structlog.testing.capture_logs():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_one)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert reports == []
    assert nursery.cancel_scope.cancelled_caught


@given(st.text(max_size=40).map(lambda text: text * 1000))
@settings(deadline=None, max_examples=50)
def test_a_long_output_is_cut_with_a_note_and_never_within_a_character(output: str) -> None:
    async def run(_arguments: Anything, _context: ToolContext) -> str:
        return output

    told = trio.run(outcome_of, run).output
    raw = output.encode(errors="replace")
    if len(raw) <= MAX_OUTPUT_BYTES:
        assert told == raw.decode()
    else:
        kept, note = told.rsplit(" … ", 1)
        assert raw.startswith(kept.encode())
        assert note == f"(cut, {len(raw)} bytes in all)"
        assert MAX_OUTPUT_BYTES - 4 < len(told.encode()) <= MAX_OUTPUT_BYTES
