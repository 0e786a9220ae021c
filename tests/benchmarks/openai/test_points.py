"""The list of promises in docs/simulator-openai.md and the tests, one by one."""

import re
from pathlib import Path

from benchmarks.simulators.openai import Faults, Knobs

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[2] / "docs" / "simulator-openai.md"
POINTS = range(1, 63)


def test_every_point_of_the_documentation_is_tested() -> None:
    listed = re.findall(r"^(\d+)\. ", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert [int(number) for number in listed] == list(POINTS)
    tests = "".join(path.read_text("utf-8") for path in HERE.glob("test_*.py"))
    tested = {int(number) for number in re.findall(r"def test_point_(\d\d)_", tests)}
    assert tested == set(POINTS)


def test_every_knob_and_every_fault_is_documented() -> None:
    text = DOCUMENT.read_text("utf-8")
    names = [*Knobs.__struct_fields__, *Faults.__struct_fields__]
    assert [name for name in names if f"`{name}`" not in text] == []
