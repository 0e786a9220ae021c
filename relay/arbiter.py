"""Who may make the model speak, and when: at most one `response.create` of ours is on its way or being answered.

Pure: no Trio, no clock, no log. OpenAI's VAD creates the answers to the caller's turns; ours are the greeting, what
came of a tool, a prompt into silence, a goodbye (`asks` has them all, and their rules). The service takes one response
at a time and refuses the next, so an ask is sent only when nobody speaks and no answer of the server's own is due. What
is refused, fails or gets stuck is tried again as often as it may help: here, then in another session, then not at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import get_args

import msgspec
from msgspec import UNSET, UnsetType

from proto import realtime
from relay.asks import Ask, Asks, Dropped, Purpose
from relay.retry import TERMINAL_CODES

BEGUN_WITHIN_S = 3.0  # a response that was asked for, or is due after the caller's turn; 0.1 s is usual
STALLED_AFTER_S = 10.0  # one that has begun: the model speaks within 1.5 s, but may think
CANCELLED_WITHIN_S = 2.0  # a model may think, but a cancel takes no thought
BACK_OFF_S = (1.0, 2.0, 4.0)  # before each further try of a rate-limited response
BLIND_RETRY_S = 1.0  # refused for an active response that we know nothing of: there is no end to wait for
MAX_BLIND_RETRIES = 3

_CONFLICT = "conversation_already_has_active_response"
_RATE_LIMIT_CODES = frozenset({"rate_limit_exceeded", "inference_rate_limit_exceeded"})


class Reconnect(msgspec.Struct, frozen=True):
    """This session does not answer, or keeps failing. Nothing more is sent before `reset` and `opened`."""


class Terminal(msgspec.Struct, frozen=True):
    """The account cannot have responses, in this session or another. code: OpenAI's."""

    code: str


# On a CancelResponse the response is not to be heard: the caller spoke before it began, or it was given up.
Ruling = realtime.CreateResponse | realtime.CancelResponse | Dropped | Reconnect | Terminal


@dataclass(slots=True)
class _Sent:
    """Our create, neither refused nor followed by its response yet."""

    ask: Ask
    event_id: str
    at: float


@dataclass(slots=True)
class _Running:
    """A response being generated. ask: what it is for, None if it is the server's own."""

    response_id: str
    ask: Ask | None
    since: float  # created, or cancelled by us
    cancel_id: str | None = None  # the event that cancelled it


class Arbiter:
    """Decides which response is created next. `now` in monotonic seconds.

    Args: event_id, makes a unique id from a purpose ("greeting" -> "greeting-3"); server_answers, whether the server's
    VAD creates a response after each of the caller's turns.
    """

    def __init__(self, event_id: Callable[[str], str], *, server_answers: bool) -> None:
        self._event_id = event_id
        self._server_answers = server_answers
        self._is_open = False  # the session is configured, and not given up
        self._asks = Asks()
        self._sent: _Sent | None = None
        self._running: _Running | None = None
        self._caller_speaks = False
        self._expected_at: float | None = None  # since when an answer of the server's own is due
        self._hold_until = 0.0  # nothing is sent before
        self._seen_at = 0.0  # when OpenAI last said anything
        self._marks_return = False  # the metadata of our creates came back with their responses

    @property
    def is_quiet(self) -> bool:
        """The session stands, nobody speaks and nobody is about to. What was generated may still be sounding."""
        return self._is_open and not self._asks and self._is_free

    @property
    def waiting(self) -> tuple[Purpose, ...]:
        """What is to be said and has not been sent, in the order in which it will be."""
        return self._asks.purposes

    @property
    def deadline(self) -> float:
        """When `timeout` is due next, inf for never."""
        if not self._is_open:
            return inf
        held_until = self._hold_until if self._asks and self._is_free else inf
        return min(held_until, self._create_lost_at, self._response_stalled_at, self._answer_missed_at)

    # The session.

    def opened(self, now: float, *, hears_caller_again: bool = False) -> list[Ruling]:
        """The session is configured, and seeded if it follows a lost one: what waits may be said.

        hears_caller_again: it was given the caller's last turn once more. The server answers that by itself, and what
        waits, waits for this answer.
        """
        self._is_open, self._seen_at = True, now
        if hears_caller_again and self._server_answers:
            self._expected_at = now
        return self._next(now)

    def reset(self) -> list[Ruling]:
        """The session is gone, and with it all that was under way. What the caller is still owed is in `waiting`.

        A response that had begun is not asked for again: only the Call knows how much of it was heard.
        """
        sent, was_expected = self._sent, self._expected_at is not None
        self._is_open = self._caller_speaks = False
        self._sent, self._running, self._expected_at, self._hold_until = None, None, None, 0.0
        rulings = self._retry(sent.ask) if sent else []
        if was_expected:
            self._owe_retry()
        return [*rulings, *self._asks.session_lost()]

    def event_seen(self, now: float) -> None:
        """OpenAI sent an event of any kind."""
        self._seen_at = now

    # What we want to say.

    def ask(
        self, purpose: Purpose, config: realtime.ResponseConfig | UnsetType, now: float, *, after: str | None = None
    ) -> list[Ruling]:
        """Have the model speak, now or as soon as it may. after: id of the item just sent that this is about."""
        ask = Ask(purpose, config, awaits_item=after)
        if self._caller_speaks and ask.rule.yields:
            return [Dropped(purpose, "caller_spoke")]
        return [*self._asks.add(ask), *self._next(now)]

    # What OpenAI tells.

    def caller_started(self) -> list[Ruling]:
        """The caller begins to speak: whatever is said from now on would be said over their words."""
        self._caller_speaks = True
        self._expected_at = None  # the answer to the new turn is the answer to the last one too
        for under_way in (self._sent, self._running):
            if under_way and under_way.ask and under_way.ask.rule.yields:
                under_way.ask.moot = "caller_spoke"
        return [*self._asks.caller_started()]

    def caller_stopped(self, now: float) -> list[Ruling]:
        """The caller's turn is over; the server answers it, if it is set to."""
        self._caller_speaks = False
        self._expected_at = now if self._server_answers else None
        return self._next(now)

    def item_added(self, item_id: str) -> None:
        """An item is in the conversation; every response created from now on sees it."""
        self._asks.item_added(item_id)
        if self._sent and self._sent.ask.awaits_item == item_id:
            self._sent.ask.awaits_item = None

    def created(self, response: realtime.Response, now: float) -> list[Ruling]:
        """A response begins: ours, or one of the server's own. An older one is over, even if its end is told later."""
        if not self._is_open or (self._running and self._running.response_id == response.id):
            return []
        self._marks_return |= _mark_of(response) is not None
        if not self._sent or not self._is_ours(response, self._sent):
            self._running = _Running(response.id, None, now)
            return self._response_began(is_answer=True)
        sent, self._sent = self._sent, None
        sent.ask.awaits_item = None  # it went out before the create
        self._running = _Running(response.id, sent.ask, now)
        if sent.ask.moot or self._caller_speaks:
            return [self._cancel(self._running, now), *self._retry(sent.ask)]
        return self._response_began(is_answer=sent.ask.rule.is_answer)

    def done(self, response: realtime.Response, now: float) -> list[Ruling]:
        """A response has ended; if it failed it is tried again, as far as that makes sense."""
        if not self._is_open:
            return []
        if self._sent and _mark_of(response) == self._sent.event_id:
            # We were never told that it began, so nobody has heard it.
            sent, self._sent = self._sent, None
            return [*self._faulted(sent.ask), *self._next(now)]
        running = self._running
        if not running or running.response_id != response.id:
            return []
        self._running = None
        ended: list[Ruling] = []
        if response.status == "failed" and running.cancel_id is None:  # a cancelled one is waiting again already
            error = response.status_details.error if response.status_details else None
            ended = self._failed(running.ask or Ask("retry"), error.code if error else None, now)
        return [*ended, *self._next(now)]

    def refused(self, error: realtime.ErrorDetail, now: float) -> list[Ruling]:
        """An error was reported; nothing comes of it unless it is about a response."""
        if not self._is_open:
            return []
        if self._is_cancel_in_vain(error):
            self._running = None
        elif self._sent and self._is_about(error, self._sent):
            sent, self._sent = self._sent, None
            return [*self._create_refused(sent, error, now), *self._next(now)]
        elif error.code == _CONFLICT and error.event_id is None and self._expected_at is not None:
            # The server could not answer the caller's turn: the response that is active began before it.
            self._expected_at = None
            self._owe_retry()
        return self._next(now)

    def timeout(self, now: float) -> list[Ruling]:
        """`deadline` has passed."""
        if not self._is_open:
            return []
        if self._sent and now >= self._create_lost_at:
            return self._create_lost(self._sent)
        rulings: list[Ruling] = []
        if self._running and now >= self._response_stalled_at:
            rulings = self._stalled(self._running, now)
        if now >= self._answer_missed_at:
            self._expected_at = None
            self._owe_retry()
        return [*rulings, *self._next(now)]

    # When to speak.

    @property
    def _is_free(self) -> bool:
        return not (self._sent or self._running or self._caller_speaks or self._expected_at is not None)

    def _next(self, now: float) -> list[Ruling]:
        """Send the first ask that waits, if nothing stands in its way."""
        if not self._is_open or not self._asks or not self._is_free or now < self._hold_until:
            return []
        ask = self._asks.take()
        self._sent = _Sent(ask, self._event_id(ask.purpose), now)
        return [realtime.CreateResponse(self._sent.event_id, _labelled(ask, self._sent.event_id))]

    def _response_began(self, *, is_answer: bool) -> list[Ruling]:
        """A response has begun that is to be heard: what it says need not be said again."""
        if is_answer:
            self._expected_at = None
        if self._sent and self._sent.ask.is_moot(after_answer=is_answer):
            self._sent.ask.moot = "answered"
        return [*self._asks.response_began(is_answer=is_answer)]

    @property
    def _create_lost_at(self) -> float:
        """A create is answered at once, whatever else the service has to say."""
        return self._sent.at + BEGUN_WITHIN_S if self._sent else inf

    @property
    def _response_stalled_at(self) -> float:
        if self._running is None:
            return inf
        patience_s = STALLED_AFTER_S if self._running.cancel_id is None else CANCELLED_WITHIN_S
        return max(self._running.since, self._seen_at) + patience_s

    @property
    def _answer_missed_at(self) -> float:
        return inf if self._expected_at is None else self._expected_at + BEGUN_WITHIN_S

    # What goes wrong.

    def _retry(self, ask: Ask) -> list[Ruling]:
        return [*self._asks.put_back(ask)]

    def _owe_retry(self) -> None:
        """The caller's turn is to be answered by a response of ours."""
        self._asks.put_back(Ask("retry"))  # if one waits already, it answers this turn too

    def _create_refused(self, sent: _Sent, error: realtime.ErrorDetail, now: float) -> list[Ruling]:
        if sent.ask.moot or (error.code == _CONFLICT and self._running):
            return self._retry(sent.ask)  # when the response that is active has ended
        if error.code == _CONFLICT:
            sent.ask.blind_retries += 1
            self._hold_until = now + BLIND_RETRY_S
            is_worth_it = sent.ask.blind_retries <= MAX_BLIND_RETRIES
            return self._retry(sent.ask) if is_worth_it else self._move(sent.ask)
        if error.code in TERMINAL_CODES | _RATE_LIMIT_CODES or _is_servers_fault(error):
            return self._failed(sent.ask, error.code, now)
        return [Dropped(sent.ask.purpose, "refused")]  # it would be refused again

    def _failed(self, ask: Ask, code: str | None, now: float) -> list[Ruling]:
        if code in TERMINAL_CODES:
            self._is_open = False
            return [Terminal(code or "")]
        if code not in _RATE_LIMIT_CODES:
            return self._faulted(ask)
        ask.rate_limited += 1
        if ask.rate_limited > len(BACK_OFF_S):
            return [Dropped(ask.purpose, "failed")]
        self._hold_until = now + BACK_OFF_S[ask.rate_limited - 1]
        return self._retry(ask)

    def _faulted(self, ask: Ask) -> list[Ruling]:
        """The service is in trouble: once more here, then elsewhere."""
        ask.faults += 1
        return self._retry(ask) if ask.faults == 1 else self._move(ask)

    def _move(self, ask: Ask) -> list[Ruling]:
        """This session will not do it. One other may; if that fails too the fault is in what we ask."""
        if ask.has_moved:
            return [Dropped(ask.purpose, "failed")]
        ask.has_moved = True
        return [*self._retry(ask), *self._give_up_session()]

    def _give_up_session(self) -> list[Ruling]:
        was_open, self._is_open = self._is_open, False
        return [Reconnect()] if was_open else []

    def _create_lost(self, sent: _Sent) -> list[Ruling]:
        """Nothing came of our create. A second one might make two replies, so the session is given up at once."""
        self._sent = None
        return [*self._move(sent.ask), *self._give_up_session()]

    def _stalled(self, running: _Running, now: float) -> list[Ruling]:
        """The response stands still: cancel it and ask again; if even the cancel is not answered, try elsewhere."""
        if running.cancel_id is not None:
            return self._give_up_session()
        return [self._cancel(running, now), *self._faulted(running.ask or Ask("retry"))]

    def _cancel(self, running: _Running, now: float) -> realtime.CancelResponse:
        running.cancel_id, running.since = self._event_id("cancel"), now
        return realtime.CancelResponse(running.cancel_id, running.response_id)

    # Whose it is.

    def _is_ours(self, response: realtime.Response, sent: _Sent) -> bool:
        """It carries our mark; or this service gives none back, and there is no reason for one of its own."""
        is_own_due = self._expected_at is not None or self._caller_speaks
        return _mark_of(response) == sent.event_id or not (self._marks_return or is_own_due)

    def _is_about(self, error: realtime.ErrorDetail, sent: _Sent) -> bool:
        """Likewise: a refusal that names no event is of our create, unless the server was to answer by itself."""
        is_unnamed = error.event_id is None and error.code == _CONFLICT
        return error.event_id == sent.event_id or (is_unnamed and self._expected_at is None)

    def _is_cancel_in_vain(self, error: realtime.ErrorDetail) -> bool:
        """What we cancelled had ended, and its end was lost."""
        cancel_id = self._running.cancel_id if self._running else None
        return cancel_id is not None and error.event_id == cancel_id and error.code == "response_cancel_not_active"


def purpose_of(response: realtime.Response) -> Purpose | None:
    """What a response was asked for, None if it is the server's own."""
    purpose = (response.metadata or {}).get("purpose")
    return purpose if purpose in get_args(Purpose) else None


def _mark_of(response: realtime.Response) -> str | None:
    mark = (response.metadata or {}).get("ask")
    return mark if isinstance(mark, str) else None


def _labelled(ask: Ask, event_id: str) -> realtime.ResponseConfig:
    """The config with our marks on it, which come back with the response."""
    config = realtime.ResponseConfig() if ask.config is UNSET else ask.config
    given = {} if config.metadata is UNSET else config.metadata
    return msgspec.structs.replace(config, metadata={**given, "purpose": ask.purpose, "ask": event_id})


def _is_servers_fault(error: realtime.ErrorDetail) -> bool:
    return error.code == "server_error" or (error.code is None and error.type != "invalid_request_error")
