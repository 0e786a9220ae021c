"""What a benchmark ran on, in words that stand beside its numbers."""

import os
import platform
from pathlib import Path


def described_machine() -> str:
    """Processor, cores and system, as far as the system says."""
    try:
        described = Path("/proc/cpuinfo").read_text()
    except OSError:
        described = ""
    names = [line.partition(":")[2].strip() for line in described.splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
