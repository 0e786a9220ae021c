"""Every captured call in tests/fixtures/calls still goes as it went: drop a file there, and it is a test."""

from pathlib import Path

import pytest

from tautline.replay import describe, read_lines, replay

CALLS = sorted((Path(__file__).parent / "fixtures" / "calls").glob("*.jsonl"))


@pytest.mark.parametrize("path", CALLS, ids=[path.stem for path in CALLS])
def test_a_captured_call_goes_as_it_went(path: Path) -> None:
    with path.open("rb") as file:
        outcome = replay(read_lines(file))
    assert outcome.difference is None, "\n".join(describe(outcome))
    assert outcome.steps > 0
