"""A call as people are shown it: what its rows in the database become. Pure.

Money is in millionths of a US dollar, durations in ms, moments in UTC. Words and keys are those that the persona's
privacy let be written down; what was not written down is not here.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.engine import RowMapping

from admin.services.calls.call_record import ANSWER_BEGAN, ANSWER_SOUNDED, BARGED_IN, Speaker
from admin.services.calls.call_status import CallStatus
from admin.services.calls.prices import prices
from relay import Direction

MAX_TURNS: Final = 1000  # shown with a call; its transcript has all
MAX_MOMENTS: Final = 2000  # of one call, looked at for its answers and barge-ins


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What one party said.

    heard_ms, generated_ms: of the agent's words, how much of their sound was heard and how much there was; was_cut:
    whether more was due than was heard. words: of the agent, about those that were heard.
    """

    number: int
    at: datetime
    speaker: Speaker
    words: str
    item_id: str
    heard_ms: int | None
    generated_ms: int | None
    was_cut: bool


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How long the caller waited for one answer, split by where the time went.

    model_ms: until the model's first audio; relay_ms: from there until it was queued for Twilio; playout_ms: from there
    until it had sounded and Twilio's echo of that had come back, None if none came.
    """

    at: datetime
    response_id: str
    model_ms: float
    relay_ms: float
    playout_ms: float | None


class Interruption(msgspec.Struct, frozen=True, kw_only=True):
    """The caller spoke over the agent.

    heard_ms: of the item that sounded; it may be off by error_bound_ms; unheard_ms: of all that was sent and cleared;
    clear_ms: from hearing of the caller's speech until Twilio was told to stop.
    """

    at: datetime
    item_id: str
    heard_ms: int
    error_bound_ms: int
    unheard_ms: int
    clear_ms: float


class CallEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in a call. name: `noun.past_verb`; body: its facts, with units in their names."""

    number: int
    at: datetime
    name: str
    body: dict[str, Any]


class CallItem(msgspec.Struct, frozen=True, kw_only=True):
    """A call in a list.

    persona_version: that answered, whatever became of the persona since; outcome: what was to become of the caller;
    cost_usd_millionths: None while it is not known.
    """

    id: UUID
    call_sid: str
    direction: Direction
    caller: str
    called: str
    persona_id: UUID | None
    persona_version: int | None
    status: CallStatus
    created_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    duration_ms: int | None
    answered_by: str
    end_reason: str
    outcome: str
    error_code: str
    barge_ins: int
    cost_usd_millionths: int | None


class CallDetail(CallItem, frozen=True, kw_only=True):
    """A call with what happened in it.

    turns: the first ones of a long call, and has_more_turns; answers, barge_in_moments: as they came; latency, usage,
    recording: as the call's end left them; prices_as_of: the day of the price table that this version has.
    """

    stream_sid: str
    created_by: UUID | None
    variables: dict[str, Any] | None
    turns: list[Turn]
    has_more_turns: bool
    answers: list[Answer]
    barge_in_moments: list[Interruption]
    latency: dict[str, Any] | None
    usage: dict[str, Any] | None
    prices_as_of: date
    recording: dict[str, Any] | None


def item_of(row: RowMapping) -> CallItem:
    """One call of a list."""
    return CallItem(**{name: row[name] for name in CallItem.__struct_fields__})


def detail_of(row: RowMapping, turns: Sequence[RowMapping], moments: Sequence[RowMapping]) -> CallDetail:
    """One call. turns: its first ones, and one more than MAX_TURNS if there are more; moments: its answers' and
    barge-ins' events, in order.
    """
    made: dict[str, Any] = {
        "turns": [turn_of(each) for each in turns[:MAX_TURNS]],
        "has_more_turns": len(turns) > MAX_TURNS,
        "answers": _answers_of(moments),
        "prices_as_of": prices().as_of,
        "barge_in_moments": [_barge_in_of(each) for each in moments if each["name"] == BARGED_IN],
    }
    return CallDetail(**{name: row[name] for name in CallDetail.__struct_fields__ if name not in made}, **made)


def turn_of(row: RowMapping) -> Turn:
    """One turn."""
    return Turn(**{name: row[name] for name in Turn.__struct_fields__})


def event_of(row: RowMapping) -> CallEvent:
    """One event."""
    return CallEvent(**{name: row[name] for name in CallEvent.__struct_fields__})


def transcript_text(began_at: datetime, turns: Sequence[Turn]) -> str:
    """The transcript as people read it: a line for each turn, with the time since the call began."""
    return "".join(f"[{_clock(turn.at - began_at)}] {turn.speaker}: {_spoken(turn)}\n" for turn in turns)


def _answers_of(moments: Sequence[RowMapping]) -> list[Answer]:
    """What each answer's waiting was made of."""
    sounded: dict[str, float] = {}
    for each in moments:
        if each["name"] == ANSWER_SOUNDED:
            sounded.setdefault(each["body"]["response_id"], each["body"]["playout_ms"])
    return [
        Answer(
            at=each["at"],
            response_id=each["body"]["response_id"],
            model_ms=each["body"]["model_ms"],
            relay_ms=each["body"]["relay_ms"],
            playout_ms=sounded.get(each["body"]["response_id"]),
        )
        for each in moments
        if each["name"] == ANSWER_BEGAN
    ]


def _barge_in_of(row: RowMapping) -> Interruption:
    body = row["body"]
    return Interruption(
        at=row["at"],
        item_id=body["item_id"],
        heard_ms=body["heard_ms"],
        error_bound_ms=body["truncate_error_bound_ms"],
        unheard_ms=body["unheard_ms"],
        clear_ms=body["clear_ms"],
    )


def _clock(since: timedelta) -> str:
    seconds = max(0, int(since.total_seconds()))
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _spoken(turn: Turn) -> str:
    words = " ".join(turn.words.split())  # a line each, whatever somebody said
    return f"{words} [interrupted]" if turn.was_cut else words
