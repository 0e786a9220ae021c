"""The call's session with the model: opened, configured, lost, opened again, and replaced before its time is up.

Pure: says what is to be opened, dropped and waited for; what a session is told when it is ready is the call's matter.
At most two sessions exist: the one *in use*, and the one *beside* it that is being made ready to take its place. OpenAI
ends a session after 60 minutes, so the replacement begins early and then waits for a quiet moment.
"""

from math import inf
from typing import Literal

import msgspec

from relay.events import Command, OpenUpstream
from relay.retry import Chance, Failure, Retry, RetryIn, Verdict

CREATED_WITHIN_S = 5.0  # from the open socket's `OpenUpstream` on: a spare is there at once, a new one takes < 1 s
CONFIGURED_WITHIN_S = 5.0  # from `session.created` to `session.updated`; 0.1 s is usual
REPLACE_AFTER_S = 50 * 60.0  # of a session's 60 minutes, of which a spare may have waited five
REPLACE_AGAIN_AFTER_S = 30.0  # when the replacement could not be opened: minutes are left

Place = Literal["in_use", "beside"]


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """A session took our settings. open_ms: asked for -> `session.created`; configure_ms: -> `session.updated`."""

    open_ms: float
    configure_ms: float


class _Session:
    """One session on its way from being asked for to being configured."""

    def __init__(self, now: float, *, within_s: float = CREATED_WITHIN_S) -> None:
        self.asked_at = now
        self.created_at: float | None = None
        self.is_ready = False
        self.due_at = now + within_s  # its next step; inf once it is ready

    def created(self, now: float) -> bool:
        """It is open. False when that is not news."""
        if self.created_at is not None:
            return False
        self.created_at, self.due_at = now, now + CONFIGURED_WITHIN_S
        return True

    def configured(self, now: float) -> Configured:
        """It took our settings."""
        created_at = now if self.created_at is None else self.created_at
        self.is_ready, self.due_at = True, inf
        return Configured(open_ms=(created_at - self.asked_at) * 1000, configure_ms=(now - created_at) * 1000)


class Link:
    """The sessions of one call. `now` in monotonic seconds.

    Args: random, for the delays between attempts; budget_s, how long a caller is kept waiting for a session.
    """

    def __init__(self, random: Chance, *, budget_s: float) -> None:
        self._retry = Retry(random, budget_s=budget_s)
        self._sessions: dict[Place, _Session] = {}
        self._reopen_at = inf  # the one in use was lost, and is tried again then
        self._replace_at = inf
        self.has_replacement = False  # the one beside could be switched to now; asked with every event
        self.is_closed = False  # no session is wanted any more

    @property
    def deadline(self) -> float:
        """When `timeout` is due."""
        due_at = (session.due_at for session in self._sessions.values())
        return min(self._reopen_at, self._replace_at, *due_at)

    @property
    def has_beside(self) -> bool:
        """A session is there beside the one in use, or on its way."""
        return "beside" in self._sessions

    def is_configured(self, place: Place) -> bool:
        """There is a session, and our settings are in force."""
        return place in self._sessions and self._sessions[place].is_ready

    def open(self, now: float) -> list[Command]:
        """Ask for a session to be used."""
        self._reopen_at = inf
        # Who waits for a session that was lost already has waited for the attempts before this one, too.
        within_s = min(CREATED_WITHIN_S, self._retry.left_s(now)) if self._retry.failures else CREATED_WITHIN_S
        self._sessions["in_use"] = _Session(now, within_s=within_s)
        return [OpenUpstream()]

    def created(self, place: Place, now: float) -> bool:
        """`session.created` came: it is to be configured, unless that is not news."""
        return place in self._sessions and self._sessions[place].created(now)

    def awaits_settings(self, place: Place) -> bool:
        """`session.updated` is news: the session was told our settings, and is not ready yet."""
        session = self._sessions.get(place)
        return session is not None and session.created_at is not None and not session.is_ready

    def configured(self, place: Place, now: float) -> Configured:
        """`session.updated` came, and was awaited: the session is ready."""
        ready = self._sessions[place].configured(now)
        if place == "beside":
            self.has_replacement = True
        else:
            self._retry.succeeded(now)
            # One that was opened beside a session lost since takes the place of this one, and is not opened twice.
            self._replace_at = inf if "beside" in self._sessions else now + REPLACE_AFTER_S
        return ready

    def answered(self) -> None:
        """The session in use has made a whole response."""
        self._retry.answered()

    def failed(self, failure: Failure, now: float) -> Verdict:
        """The session in use could not be had, or was lost: what to do. `RetryIn` is seen to by `timeout`."""
        self._sessions.pop("in_use", None)
        self._replace_at = inf
        if self.has_replacement:
            return RetryIn(0.0)  # by switching
        verdict = self._retry.failed(failure, now)
        if isinstance(verdict, RetryIn):
            self._reopen_at = now + verdict.delay_s
        return verdict

    def replacement_failed(self, now: float) -> None:
        """The session beside could not be had, or was lost: there is time to try again."""
        self._sessions.pop("beside", None)
        self.has_replacement = False
        self._replace_at = now + REPLACE_AGAIN_AFTER_S

    def switched(self, now: float) -> None:
        """The session beside is the one in use from now on."""
        self._sessions["in_use"] = self._sessions.pop("beside")
        self.has_replacement = False
        self._reopen_at, self._replace_at = inf, now + REPLACE_AFTER_S

    def close(self) -> None:
        """No session is wanted any more."""
        self._sessions.clear()
        self.is_closed, self.has_replacement = True, False
        self._reopen_at = self._replace_at = inf

    def overdue(self, now: float) -> Place | None:
        """Which session did not take its next step in time."""
        return next((place for place, session in self._sessions.items() if now >= session.due_at), None)

    def timeout(self, now: float) -> list[Command]:
        """Open what is due: the session again, or the one that is to replace it."""
        if now >= self._reopen_at:
            return self.open(now)
        if now >= self._replace_at:
            self._replace_at = inf
            self._sessions["beside"] = _Session(now)
            return [OpenUpstream(beside=True)]
        return []
