"""The tools of every call: what time it is anywhere, and how a call comes to its end."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from relay.standard_tools import end_call, get_time
from relay.tools import ToolBox, ToolContext, ToolReport, run_tool

NEW_YEARS_EVE = datetime(2026, 12, 31, 23, 30, 15, 999_999, tzinfo=UTC)
SUMMER = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


async def call(name: str, arguments: str, at: datetime = NEW_YEARS_EVE) -> ToolReport:
    toolbox = ToolBox([get_time(at.astimezone), end_call()])
    return await run_tool(toolbox, name, arguments, ToolContext(call_sid="CA1"))


@pytest.mark.parametrize(
    ("at", "time_zone", "local_time", "weekday"),
    [
        (NEW_YEARS_EVE, "UTC", "2026-12-31T23:30:15+00:00", "Thursday"),
        (NEW_YEARS_EVE, "Europe/Berlin", "2027-01-01T00:30:15+01:00", "Friday"),
        (NEW_YEARS_EVE, "America/New_York", "2026-12-31T18:30:15-05:00", "Thursday"),
        (SUMMER, "Europe/Berlin", "2026-07-01T14:00:00+02:00", "Wednesday"),
        (SUMMER, "Asia/Kathmandu", "2026-07-01T17:45:00+05:45", "Wednesday"),
    ],
)
async def test_the_time_is_told_where_it_was_asked_for(
    at: datetime, time_zone: str, local_time: str, weekday: str
) -> None:
    report = await call("get_time", json.dumps({"time_zone": time_zone}), at)
    assert (report.outcome, report.then) == ("ok", "speak")
    assert json.loads(report.output) == {"local_time": local_time, "weekday": weekday, "time_zone": time_zone}


async def test_without_a_time_zone_the_time_is_told_in_utc() -> None:
    assert json.loads((await call("get_time", "{}")).output)["local_time"] == "2026-12-31T23:30:15+00:00"


async def test_the_time_comes_from_the_real_clock_unless_another_is_given() -> None:
    report = await run_tool(ToolBox([get_time()]), "get_time", "{}", ToolContext(call_sid="CA1"))
    told = datetime.fromisoformat(json.loads(report.output)["local_time"])
    assert abs((datetime.now(ZoneInfo("UTC")) - told).total_seconds()) < 60


@pytest.mark.parametrize(
    "time_zone", ["Mars/Base", "Europe", "", ".", "../../etc/passwd", "/etc/passwd", "zone.tab", "x\0", "CET+" * 16]
)
async def test_a_time_zone_that_there_is_not_can_be_corrected(time_zone: str) -> None:
    report = await call("get_time", json.dumps({"time_zone": time_zone}))
    assert report.outcome == "invalid_arguments"
    assert "IANA name such as Europe/Berlin" in json.loads(report.output)["error"]["message"]


@pytest.mark.parametrize("arguments", ['{"time_zone": 1}', '{"zone": "UTC"}', json.dumps({"time_zone": "x" * 65})])
async def test_arguments_of_another_shape_are_refused(arguments: str) -> None:
    assert (await call("get_time", arguments)).outcome == "invalid_arguments"


async def test_ending_the_call_is_asked_of_the_call_and_explained_to_the_model() -> None:
    report = await call("end_call", '{"reason": "The caller said goodbye."}')
    assert (report.outcome, report.then) == ("ok", "end_call")
    assert "If the caller speaks before that, it goes on" in report.output


async def test_a_call_is_not_ended_without_a_reason() -> None:
    report = await call("end_call", "{}")
    assert (report.outcome, report.then) == ("invalid_arguments", "speak")


def test_the_end_of_a_call_gives_way_to_the_callers_voice() -> None:
    assert (end_call().on_barge_in, get_time().on_barge_in) == ("cancel", "finish")


def test_the_model_is_told_what_each_argument_means() -> None:
    described = {
        tool.name: [prop["description"] for prop in tool.parameters["properties"].values()]
        for tool in ToolBox([get_time(), end_call()]).definitions()
    }
    assert described == {
        "get_time": ["IANA name of the time zone, such as Europe/Berlin."],
        "end_call": ["Why the call ends, in a few words. It is kept on record."],
    }
