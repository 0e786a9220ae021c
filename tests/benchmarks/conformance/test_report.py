"""What a run is told as, to people, machines and scripts."""

import io
import json

import pytest
from rich.console import Console

from benchmarks.conformance.check import Outcome, Result
from benchmarks.conformance.report import Report, as_json, as_table, exit_code


def report_of(*outcomes: Outcome) -> Report:
    results = [
        Result(number=number, says=f"[b]claim[/] {number}", outcome=outcome, seen="" if outcome == "pass" else "[red]")
        for number, outcome in enumerate(outcomes, 1)
    ]
    return Report(conformance="openai", url="ws://127.0.0.1:1/v1/realtime", results=tuple(results))


@pytest.mark.parametrize(
    ("outcomes", "code"), [(["pass"], 0), (["pass", "not applicable"], 0), (["pass", "fail"], 1), ([], 0)]
)
def test_only_a_failure_fails(outcomes: list[Outcome], code: int) -> None:
    assert exit_code(report_of(*outcomes)) == code


def test_the_table_shows_every_check_as_it_was_written() -> None:
    shown = io.StringIO()
    Console(file=shown, width=120).print(as_table(report_of("pass", "fail", "not applicable")))
    for text in ("[b]claim[/] 2", "[red]", "not applicable", "1 passed, 1 failed, 1 not applicable"):
        assert text in shown.getvalue()


def test_the_json_counts_and_lists() -> None:
    told = json.loads(as_json(report_of("pass", "fail", "not applicable")))
    assert (told["conformance"], told["passed"], told["failed"], told["not_applicable"]) == ("openai", 1, 1, 1)
    assert told["checks"][1] == {"number": 2, "says": "[b]claim[/] 2", "outcome": "fail", "seen": "[red]"}
