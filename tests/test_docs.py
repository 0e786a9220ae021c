"""The documentation says what the tests show."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def _numbers_in_tests(kind: str) -> set[int]:
    # Not tests/benchmarks: the simulators have points of their own.
    tests = (path for room in ("relay", "admin", "tautline") for path in (ROOT / "tests" / room).rglob("test_*.py"))
    sources = (path.read_text() for path in tests)
    return {int(number) for source in sources for number in re.findall(rf"def test_{kind}_(\d+)_", source)}


def _numbers_in_page(heading: str) -> set[int]:
    section = (ROOT / "docs/conformance.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return {int(number) for number in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}


def test_every_promised_case_has_its_test_and_every_test_its_line() -> None:
    assert _numbers_in_page("Twilio Media Streams") == _numbers_in_tests("case") != set()
    assert _numbers_in_page("OpenAI Realtime") == _numbers_in_tests("point") != set()


def test_every_page_that_is_linked_exists() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
