"""Where and when a benchmark ran, and on what, in words that stand beside its numbers."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def described_machine() -> str:
    """Processor, cores and system, as far as the system says."""
    try:
        described = Path("/proc/cpuinfo").read_text()
    except OSError:
        described = ""
    names = [line.partition(":")[2].strip() for line in described.splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {platform.system()}"


def now() -> str:
    """The date and the time of day, UTC, to the minute."""
    return datetime.now(UTC).isoformat(timespec="minutes")


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of Python and of these packages, as they are installed."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
