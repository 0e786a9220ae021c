"""Who speaks when in a simulated conversation: a deterministic script for each call.

Pure. Sizes and pace are those seen of the Realtime API: the first audio some 0.4 s after the end of the caller's turn,
first deltas of 100 and 150 ms, then 250 ms, made ten times faster than they sound. How often callers interrupt, how
long turns are and how long people think is our choice, and can be changed.
"""

from collections.abc import Iterator
from random import Random
from typing import Final

import msgspec

DELTAS_MS: Final = (100, 150, 250)  # the last one is repeated

Range = tuple[float, float]


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How people and model talk. Ranges are drawn from evenly, in s; barge_in_share, of all turns.

    pause_s: after the agent, before the caller speaks; speech_s: the caller's turn; answer_s: of the agent's audio;
    barge_in_at: where in the sounding answer, as a part of it; think_s: from the turn's end to the first audio; pace:
    how much faster than real time audio is made; first_s: before the first turn, so that calls do not speak in step.
    """

    first_s: Range = (0.1, 3.0)
    pause_s: Range = (0.3, 1.2)
    speech_s: Range = (1.0, 3.0)
    answer_s: Range = (2.0, 6.0)
    think_s: Range = (0.35, 0.5)
    barge_in_share: float = 0.3
    barge_in_at: Range = (0.2, 0.8)
    pace: float = 10.0


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The caller speaks, the agent answers. next_after_s: from the answer's first audio to the next turn's speech."""

    speech_s: float
    think_s: float
    answer_ms: int
    is_interrupted: bool  # the next turn begins while this answer sounds
    next_after_s: float


def first_turn_after_s(manner: Manner, seed: int, call: int) -> float:
    """When the caller first speaks, from the call's first frame on."""
    return _random(seed, call, "first").uniform(*manner.first_s)


def turns(manner: Manner, seed: int, call: int) -> Iterator[Turn]:
    """Without end; the same for the same seed and call."""
    random = _random(seed, call, "turns")
    while True:
        answer_s = random.uniform(*manner.answer_s)
        is_interrupted = random.random() < manner.barge_in_share
        part, pause_s = random.uniform(*manner.barge_in_at), random.uniform(*manner.pause_s)
        yield Turn(
            speech_s=random.uniform(*manner.speech_s),
            think_s=random.uniform(*manner.think_s),
            answer_ms=round(answer_s * 1000),
            is_interrupted=is_interrupted,
            next_after_s=answer_s * part if is_interrupted else answer_s + pause_s,
        )


def deltas_ms(answer_ms: int) -> list[int]:
    """How an answer is cut."""
    cut: list[int] = []
    while (rest_ms := answer_ms - sum(cut)) > 0:
        cut.append(min(rest_ms, DELTAS_MS[min(len(cut), len(DELTAS_MS) - 1)]))
    return cut


def _random(seed: int, call: int, what: str) -> Random:
    return Random(f"{seed} {call} {what}")
