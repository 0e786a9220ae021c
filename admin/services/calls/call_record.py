"""What is written down of a call, one `Record` for each thing that happened, as it travels to the database. Pure.

A record is made of an event of the relay's, of a `Rung` before the relay knows of the call, or of what a request of
Twilio's tells of it. Its id, given once, is what makes it harmless to write it twice; its time is the one at which it
was offered. On disk it is a line of JSON.
"""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from admin.services.calls.call_report import CallReport
from admin.store.column_types import new_id
from relay import Direction, LimitsReported, LogEvent, MarkEchoed

Speaker = Literal["caller", "agent"]  # of a turn

# Names of records that somebody looks for: RUNG is ours, the others are tags of the relay's events.
RUNG: Final = "call.rung"
REPORTED: Final = "call.reported"  # by Twilio
ENDED: Final = "call.ended"
CALLER_TRANSCRIBED: Final = "turn.caller_transcribed"
AGENT_HEARD: Final = "turn.agent_heard"
ANSWER_BEGAN: Final = "turn.answer_began"
ANSWER_SOUNDED: Final = "turn.answer_sounded"
BARGED_IN: Final = "turn.barged_in"
RESPONSE_ENDED: Final = "response.ended"
# They tell of the line and of the OpenAI account, and nothing of the call that a person would look for.
PASSING: Final = frozenset({MarkEchoed, LimitsReported})

MAX_NAME_CHARACTERS: Final = 64

_NUL = "\0"  # PostgreSQL cannot hold it
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Rung(msgspec.Struct, frozen=True, kw_only=True):
    """A call that came in, or that was placed: what is known of it before there is any sound.

    account_id: whose call it is, None where nobody's number was rung; persona_id, persona_version: who answers, None
    for the settings' own persona; created_by: who had it placed; variables: facts for the persona's instructions.
    """

    call_sid: str
    direction: Direction
    caller: str = ""
    called: str = ""
    account_id: UUID | None = None
    persona_id: UUID | None = None
    persona_version: int | None = None
    created_by: UUID | None = None
    variables: dict[str, Any] | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to one call. name: a LogEvent's tag, RUNG or REPORTED; body: its facts."""

    id: UUID
    at: datetime
    call_sid: str
    name: str
    body: dict[str, Any]


class Offered(msgspec.Struct, frozen=True, gc=False):
    """What was offered, as it was: made a record where nobody waits for it."""

    at: datetime
    call_sid: str
    told: LogEvent | Rung | CallReport


def is_name(call_sid: str) -> bool:
    """Whether a call may be called so. Twilio's names have 34 characters; an index takes no name of any length."""
    return 0 < len(call_sid) <= MAX_NAME_CHARACTERS


def is_kept(call_sid: str, event: LogEvent) -> bool:
    """Whether there is a record of it; a stream that was not let in names no call."""
    return is_name(call_sid) and type(event) not in PASSING


def record_of(offered: Offered) -> Record:
    """The record, with an id that no other has."""
    body: dict[str, Any] = msgspec.to_builtins(offered.told)
    match offered.told:
        case Rung():
            name = RUNG
        case CallReport():
            name = REPORTED
        case _:
            name = str(body.pop("event"))
    return Record(id=new_id(), at=offered.at, call_sid=_clean(offered.call_sid), name=name, body=_clean(body))


def line_of(record: Record) -> bytes:
    """The record as a line of JSON, with its newline. Raises: ValueError for text that is none."""
    return msgspec.json.encode(record) + b"\n"


def record_in(line: bytes) -> Record:
    """Raises: ValueError when the line is not a whole record."""
    return msgspec.json.decode(line, type=Record)


def _clean(value: Any) -> Any:
    """The same without what a database cannot hold, and without digits that nobody reads."""
    match value:
        case str():
            return value.replace(_NUL, _REPLACEMENT)
        case float():
            return round(value, 3)
        case dict():
            return {_clean(name): _clean(each) for name, each in value.items()}
        case list() | tuple():
            return [_clean(each) for each in value]
    return value
