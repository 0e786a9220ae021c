"""What tests of the playout share: its sizes, and a look at it that changes nothing."""

from copy import deepcopy

from relay.playout import Heard, Playout

FRAME_BYTES = 160
MARK_BYTES = 1600  # 200 ms


def silence_of(nbytes: int) -> bytes:
    """So much of it."""
    return b"\xff" * nbytes


def if_stopped(playout: Playout, now: float) -> list[Heard]:
    """What would be settled if the caller spoke now; the playout itself goes on."""
    return deepcopy(playout).interrupt(now)
