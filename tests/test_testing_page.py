"""docs/testing-your-agent.md is run as it stands: every block, every test in it."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "testing-your-agent.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=range(1, len(BLOCKS) + 1))
def test_the_page_does_what_it_says(block: str) -> None:
    namespace: dict[str, object] = {}
    exec(compile(block, str(PAGE), "exec"), namespace)
    tests = [value for name, value in namespace.items() if name.startswith("test_") and callable(value)]
    assert tests, "a block without a test shows nothing"
    for test in tests:
        test()
