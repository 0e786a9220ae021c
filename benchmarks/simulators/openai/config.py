"""SimulatorConfig: all that can be set about the simulator, frozen before it starts."""

import time
from collections.abc import Callable
from typing import Literal

import msgspec

from benchmarks.simulators.openai.events import Direction, Json
from benchmarks.simulators.openai.script import Script

# Called with the monotonic time in seconds, who sent it, and the event. Never with a key.
Observer = Callable[[float, Direction, Json], None]


class SimulatorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the simulated service behaves; the defaults are the pace of a good day."""

    script: Script = Script()
    seed: int = 0  # equal seeds, scripts and client events give equal sessions, id for id

    # Who may connect
    api_keys: frozenset[str] | None = None  # None: any key will do
    bad_keys: frozenset[str] = frozenset()  # refused, even if any key will do
    bad_key_answer: Literal["close", "http_401"] = "close"  # the service says it after the upgrade; gateways before

    # What a new session starts with
    default_model: str = "gpt-realtime-2.1"  # where the URL may leave it out
    default_voice: str | None = None  # None: as the model has it
    session_seconds: float = 3600.0

    # How fast the model is
    first_audio_delay_s: float = 0.35  # from response.created to its first audio
    pace: float = 10.0  # audio per time; 1 is real time, math.inf sends it all at once
    delta_ms: tuple[int, ...] = (100, 150, 250)  # of audio deltas in order; the last one repeats
    transcription_delay_s: float = 0.3  # from the end of a turn to its first transcribed word

    # How it is watched
    wall_clock: Callable[[], float] = time.time  # for `expires_at` alone
    observer: Observer | None = None
