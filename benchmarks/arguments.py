"""What the benchmarks take on their command lines."""

import argparse

MIN_SECONDS, MAX_SECONDS = 1.0, 3600.0  # CPU is counted in ticks of 10 ms: shorter windows would measure those


def count(text: str) -> int:
    """A whole number, at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def seconds(text: str) -> float:
    """How long something is measured."""
    if not MIN_SECONDS <= (number := float(text)) <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"from {MIN_SECONDS:g} to {MAX_SECONDS:g}")
    return number
