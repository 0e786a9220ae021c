"""What a run of a conformance list is told as: a table for people, JSON for machines, an exit code for scripts."""

from collections import Counter
from typing import Literal

import msgspec
from rich.table import Table
from rich.text import Text

from benchmarks.conformance.check import Outcome, Result

_COLOURS: dict[Outcome, str] = {"pass": "green", "fail": "bold red", "not applicable": "yellow"}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one list. url: what was judged."""

    conformance: Literal["openai", "relay"]
    url: str
    results: tuple[Result, ...]

    def count(self, outcome: Outcome) -> int:
        return Counter(result.outcome for result in self.results)[outcome]

    @property
    def summary(self) -> str:
        """One sentence."""
        passed, failed, beyond = (self.count(outcome) for outcome in ("pass", "fail", "not applicable"))
        return f"{passed} passed, {failed} failed, {beyond} not applicable"


def exit_code(report: Report) -> int:
    """0 when nothing failed, else 1."""
    return 1 if report.count("fail") else 0


def as_table(report: Report) -> Table:
    """For a terminal."""
    table = Table(title=f"{report.conformance} conformance of {report.url}", caption=report.summary)
    table.add_column("no.", justify="right")
    table.add_column("what happens", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("what was seen instead", overflow="fold")
    for result in report.results:
        verdict = Text(result.outcome, style=_COLOURS[result.outcome])
        table.add_row(str(result.number), Text(result.says), verdict, Text(result.seen))
    return table


def as_json(report: Report) -> str:
    """One object: `conformance`, `url`, the three counts, and `checks` with number, says, outcome, seen."""
    counts = {
        "passed": report.count("pass"),
        "failed": report.count("fail"),
        "not_applicable": report.count("not applicable"),
    }
    whole = {"conformance": report.conformance, "url": report.url, **counts, "checks": report.results}
    return msgspec.json.encode(whole).decode()
