"""What tests of call records are made of: events as the relay offers them, and times."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from admin.services.calls.call_record import Offered, Record, Rung, record_of
from admin.services.calls.call_report import CallReport
from admin.services.calls.call_status import StatusReport
from admin.services.calls.call_summary import Models
from relay import CallEnded, LogEvent
from relay.log import AgentHeard, AnswerBegan, AnswerSounded, BargedIn, CallerTranscribed, CallStarted

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
MODELS = Models(realtime="gpt-realtime-2.1")
STARTED = CallStarted(stream_sid="MZ1")
HELLO = CallerTranscribed(item_id="item_1", words="Hello.")
ANSWER = AgentHeard(item_id="item_2", heard_ms=900, generated_ms=1500, words="Good evening", was_cut=True)
RUNG = Rung(call_sid="CA1", direction="inbound", caller="+15551230001", called="+15551230002")


REPORTED = CallReport(
    call_sid="CA1",
    status=StatusReport(at=AT, status="in_progress", sequence_number=2, answered_by="human"),
    caller="+15551230001",
)


def ended(reason: str = "caller_hung_up", **changed: object) -> CallEnded:
    """The end of a call."""
    counts = {
        "duration_ms": 60_000,
        "frames_from_caller": 0,
        "audio_ms_to_caller": 0,
        "barge_ins": 1,
        "total_tokens": 0,
    }
    facts: dict[str, object] = {**counts, "transcription_model": "gpt-realtime-whisper"}
    return CallEnded(reason=reason, **(facts | changed))  # type: ignore[arg-type]  # a test names fields of CallEnded


def answer(model_ms: float, relay_ms: float, playout_ms: float) -> list[LogEvent]:
    """The two events of one answer."""
    return [
        AnswerBegan(response_id="r", item_id="i", model_ms=model_ms, relay_ms=relay_ms),
        AnswerSounded(response_id="r", playout_ms=playout_ms),
    ]


def barged_in() -> BargedIn:
    """The caller spoke over the agent."""
    return BargedIn(item_id="item_2", heard_ms=900, unheard_ms=600, truncate_error_bound_ms=20)


def files(folder: Path, pattern: str = "*") -> list[Path]:
    """What is in it."""
    return sorted(folder.glob(pattern))


def after(seconds: float) -> datetime:
    """So long after AT."""
    return AT + timedelta(seconds=seconds)


def records(*told: LogEvent | Rung | CallReport, call_sid: str = "CA1", began_s: float = 0.0) -> list[Record]:
    """Their records, a second apart."""
    return [record_of(Offered(after(began_s + second), call_sid, each)) for second, each in enumerate(told)]
