"""What this program is called, which version runs, and whether it is ready: the answers of the probes."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import msgspec

NAME = "tautline"


class About(msgspec.Struct, frozen=True):
    """What `GET /` answers. links: a word -> the path it stands for."""

    name: str
    version: str
    links: dict[str, str]


class Health(msgspec.Struct, frozen=True):
    """What `GET /health` answers: that there is an answer is the whole message."""

    status: str = "ok"


class Readiness(msgspec.Struct, frozen=True):
    """What `GET /ready` answers. reasons: why no call can be taken now, one sentence each; [] when ready."""

    ready: bool
    reasons: list[str]


def version() -> str:
    """The installed version, "unknown" when the code runs from a directory that is not installed."""
    try:
        return installed_version(NAME)
    except PackageNotFoundError:
        return "unknown"
