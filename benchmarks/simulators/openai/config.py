"""How the simulated service behaves: `Faults`, what goes wrong; `Knobs`, all that a file or a command line can set;
`SimulatorConfig`, that and what only a program can hand over. All are frozen; a change makes a new one.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from benchmarks.simulators.openai.events import (
    Bytes,
    Close,
    CloseCode,
    CloseReason,
    Direction,
    Disturbance,
    Drop,
    Incident,
    Json,
    Milliseconds,
    NotNegative,
    SendEvent,
    SendOversized,
    SendText,
    Stall,
)
from benchmarks.simulators.openai.script import Performance, Script

# Called with the monotonic time in seconds, who sent it, and the event. Never with a key. What is not a JSON object
# comes as {"malformed": text}.
Observer = Callable[[float, Direction, Json], None]

T = TypeVar("T", bound=msgspec.Struct)
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]

UNKNOWN_EVENT: Json = {"type": "response.output_scent.delta", "delta": "basil"}
MALFORMED_JSON = '{"type":"response.output_audio.delta","delta":"//8='


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong in a session; as it stands here, nothing."""

    connections: Count | None = None  # only so many suffer, counted from when the faults were set; None: all

    # Before there is a session
    http_status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None  # instead of the upgrade
    retry_after_s: Count | None = None  # told with that status
    upgrade_delay_s: NotNegative = 0.0
    silent: bool = False  # upgraded, and then never a word

    # In each response, after so much of its audio
    drop_after_audio_ms: Milliseconds | None = None  # the connection, without a close frame
    close_after_audio_ms: Milliseconds | None = None
    close_code: CloseCode = 1011
    close_reason: CloseReason = ""
    stall_after_audio_ms: Milliseconds | None = None
    stall_s: NotNegative = 5.0

    # In each response, once
    unknown_event: bool = False
    malformed_json: bool = False
    oversized_bytes: Bytes = 0  # the padding of an event that is too large; 0: no such event
    reordered_event: bool = False  # its first audio delta comes after the event that should follow it
    duplicate_done: bool = False  # its `response.done` comes twice, id and all

    # In a response that is cancelled
    stray_deltas: Count = 0  # still sent, before it is closed
    late_done: bool = False  # its `response.done` comes after the next `response.created`

    unknown_fields: bool = False  # in every event
    failed_transcription: bool = False  # of every turn

    def disturbances(self) -> tuple[Disturbance, ...]:
        """What each response meets on its way."""
        wanted: list[Disturbance] = []
        if self.unknown_event:
            wanted.append(SendEvent(UNKNOWN_EVENT))
        if self.malformed_json:
            wanted.append(SendText(MALFORMED_JSON))
        if self.oversized_bytes:
            wanted.append(SendOversized(self.oversized_bytes))
        if self.stall_after_audio_ms is not None:
            wanted.append(Stall(self.stall_s, after_audio_ms=self.stall_after_audio_ms))
        if self.close_after_audio_ms is not None:
            wanted.append(Close(self.close_code, self.close_reason, after_audio_ms=self.close_after_audio_ms))
        if self.drop_after_audio_ms is not None:
            wanted.append(Drop(after_audio_ms=self.drop_after_audio_ms))
        return tuple(wanted)


class Knobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that can be written down; the defaults are the pace of a good day."""

    script: Script = Script()
    faults: Faults = Faults()
    seed: int = 0  # equal seeds, scripts and client events give equal sessions, id for id

    # Who may connect
    api_keys: frozenset[str] | None = None  # None: any key will do
    bad_keys: frozenset[str] = frozenset()  # refused, even if any key will do
    bad_key_answer: Literal["close", "http_401"] = "close"  # the service says it after the upgrade; gateways before

    # What a new session starts with, and how it ends
    default_model: str = "gpt-realtime-2.1"  # where the URL may leave it out
    default_voice: str | None = None  # None: as the model has it
    conversation_created: bool = False  # the beta's second event, which old clients wait for
    session_seconds: Positive = 3600.0
    time_scale: Positive = 1.0  # of the session's life alone: 60 makes its hour a minute, `expires_at` included
    expiry_error: bool = True  # say `session_expired` before the close

    # How fast the model is
    first_audio_delay_s: NotNegative = 0.35  # from response.created to its first audio
    pace: Positive = 10.0  # audio per time; 1 is real time, infinity sends it all at once
    # Of audio deltas in order; the last one repeats.
    delta_ms: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(min_length=1)] = (100, 150, 250)
    transcription_when: Literal["before", "during", "after"] = "during"  # the response that answers the turn
    transcription_delay_s: NotNegative = 0.3  # "during": from the end of a turn to its first transcribed word
    rate_limits: Literal["after", "start", "absent"] = "after"  # of a response; Azure has none
    idle_timeout_repeats: bool = True  # after each response; else once until the caller speaks again

    # How it is watched
    capture_dir: str | None = None  # each session becomes a .jsonl file here
    capture_audio: bool = False  # else its length stands in for it


class SimulatorConfig(Knobs, frozen=True, kw_only=True):
    """All that can be set about the simulator."""

    wall_clock: Callable[[], float] = time.time  # for `expires_at` alone
    observer: Observer | None = None
    incidents: tuple[Incident, ...] = ()  # of each session
    performance: Performance | None = None  # of the script, when several sessions share it; None: each begins anew


def knobs_from_json(raw: bytes) -> Knobs:
    """What a file holds. Raises: ValueError, naming the field."""
    return msgspec.json.decode(raw, type=Knobs)


def configured(knobs: Knobs, **more: Any) -> SimulatorConfig:
    """These knobs, and what only a program can hand over."""
    return SimulatorConfig(**{name: getattr(knobs, name) for name in Knobs.__struct_fields__}, **more)


def changed(current: T, changes: Mapping[str, Any], *, strict: bool = True) -> T:
    """A copy with these fields changed, and checked as if they came from a file.

    Args: strict, False where all values are text, as on a command line.
    Raises: ValueError, naming the field.
    """
    fields = {name: getattr(current, name) for name in current.__struct_fields__}
    return msgspec.convert({**msgspec.to_builtins(fields), **changes}, type(current), strict=strict)


def changes_from_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """`name=value` pairs, dashes allowed in names; a list or an object is given as JSON. Raises: ValueError if not."""
    changes: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not name or not equals:
            raise ValueError(f"expected NAME=VALUE, got {pair!r}")
        changes[name.replace("-", "_")] = _json_of(pair, value) if value[:1] in ("[", "{") else value
    return changes


def _json_of(pair: str, value: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"{pair!r} has a value that is no JSON: {error}") from None
