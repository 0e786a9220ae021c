"""The `.env` file: lines of NAME=VALUE, read without touching the process's own environment.

What is understood: blank lines; `# comments`, which after an unquoted value need a space before the #; an `export ` in
front; single quotes, taken literally; double quotes, with the escapes backslash-n, backslash-t, and a backslash before
a quote or a backslash. A value stays on its line, and $NAME means a dollar sign. When a name stands twice, the later
line counts, as it does for a shell.
"""

import re

_NAME = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "t": "\t"}  # any other character stands for itself


class EnvFileError(Exception):
    """Lines that cannot be read. Attributes: problems, one sentence each, with line numbers and without values."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def parse(text: str) -> dict[str, str]:
    """Names and values, unquoted. Raises EnvFileError, naming every line that is wrong."""
    found: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        try:
            found.update(_read_line(line.strip()))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise EnvFileError(tuple(problems))
    return found


def quote(value: str) -> str:
    """The value as it may stand after NAME=, in double quotes only where it needs them."""
    if re.fullmatch(r"[A-Za-z0-9_./:@%+,-]*", value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _read_line(line: str) -> dict[str, str]:
    if not line or line.startswith("#"):
        return {}
    name = _NAME.match(line)
    if name is None:
        raise ValueError("expected NAME=VALUE, for example PORT=5050")
    return {name[1]: _read_value(line[name.end() :])}


def _read_value(text: str) -> str:
    if text[:1] not in ("'", '"'):
        return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
    quoted = (_SINGLE if text[0] == "'" else _DOUBLE).match(text)
    if quoted is None:
        raise ValueError("the quote is never closed; write a line break as \\n inside double quotes")
    rest = text[quoted.end() :].strip()
    if rest and not rest.startswith("#"):
        raise ValueError("something follows the closing quote; only a # comment may")
    return quoted[1] if text[0] == "'" else _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), quoted[1])
