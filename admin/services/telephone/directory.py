"""The directory: which persona answers a number, and when. All of it in memory, so that a call never waits for it.

A task reads it from the database as the server starts, at once after a change in this process, and within about a
second after one in another: every change also changes one small value (admin.store.directory), which is looked at each
second. While the database cannot be had, the last reading goes on answering; before the first one, the settings'
persona answers.

A call is answered by the version that its webhook chose, which the stream's token names. It may reach a process that
has read a newer one meanwhile, so versions are kept for a while after they were replaced; or one that has not read so
far, and then the newest that is known answers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import structlog
import trio
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from admin.services.personas.templates import CallFacts
from admin.services.telephone.fallbacks import CLOSED, Fallback
from admin.services.telephone.opening_hours import OpeningHours, Timetable
from admin.store import directory, phone_numbers, users
from admin.store.database import Database
from relay import Persona

LOOK_EVERY_S: Final = 1.0
REPLACED_KEPT_S: Final = 300.0  # a token lives for a minute
MAX_REPLACED: Final = 1000
MAX_ANSWERING: Final = 500  # that are announced; the others answer as well

# What texts may say of a call before it comes in.
_OF_ALL_CALLS: Final = frozenset({"call.direction"})
_OF_A_NUMBER: Final = _OF_ALL_CALLS | {"shop.name", "shop.number"}

_logger = structlog.stdlib.get_logger("tautline.directory")


class StoredPersona(msgspec.Struct, frozen=True, kw_only=True):
    """A persona's newest version.

    render: makes of it who answers one call; greeting_gaps: the names of what its greeting is filled with.
    """

    id: UUID
    account_id: UUID
    is_active: bool
    number: int
    render: Callable[[CallFacts], Persona]
    greeting_gaps: frozenset[str] = frozenset()

    @property
    def version(self) -> str:
        """How a stream's token names it."""
        return f"{self.id.hex}:{self.number}"


class Answering(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who answers calls, as far as that is known before one comes.

    version: as StoredPersona's, "" for the settings' persona; persona: without a greeting, if that is another one from
    call to call.
    """

    version: str
    persona: Persona


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a call to a number.

    account_id: whose number it is, None while nobody has an account; persona: None for the settings'; timetable: None
    for always open; fallback: what a caller meets when it is closed.
    """

    account_id: UUID | None = None
    label: str = ""
    persona: StoredPersona | None = None
    timetable: Timetable | None = None
    fallback: Fallback = CLOSED

    def is_open(self, at: datetime) -> bool:
        """Whether the persona answers at this moment."""
        return self.timetable is None or self.timetable.is_open(at)

    @property
    def persona_version(self) -> str:
        """What the stream's token is to claim."""
        return "" if self.persona is None else self.persona.version


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The directory at one moment.

    routes: by number; personas: by id, in hex; elsewhere: numbers of no account; answering: all that answer a number or
    are active where calls come or are placed, the same persona more than once where it greets in more than one way.
    """

    version: str = ""
    routes: Mapping[str, Route] = {}
    personas: Mapping[str, StoredPersona] = {}
    elsewhere: Route = Route()
    answering: Sequence[Answering] = ()


ReadPersonas = Callable[[Connection], Sequence[StoredPersona]]


class Directory:
    """Answers from memory. Its methods but `keep_fresh` wait for nothing.

    Args: read_personas, gives every account's, in a thread; default, the settings' own persona; announce, told who
    answers after each reading; clock, monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        read_personas: ReadPersonas,
        default: Callable[[], Persona],
        *,
        announce: Callable[[Sequence[Answering]], None] = lambda _: None,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._database, self._read_personas, self._default, self._clock = database, read_personas, default, clock
        self._announce = announce
        self._snapshot: Snapshot | None = None
        self._replaced: dict[str, tuple[StoredPersona, float]] = {}  # by version, in the order of their replacement
        self._is_stale = trio.Event()
        self._is_reachable = True

    def route(self, number: str) -> Route:
        """What becomes of a call to this number. One in no account is the first account's."""
        if self._snapshot is None:
            return Route()
        return self._snapshot.routes.get(number, self._snapshot.elsewhere)

    def persona_for(self, version: str, facts: CallFacts | None = None) -> Persona:
        """Who answers a call whose token claims this version; "" for the settings' persona.

        facts: of the call, for the persona's texts.
        """
        if not version:
            return self._default()
        stored = self._stored(version)
        persona = None if stored is None else _rendered(stored, facts or CallFacts())
        return self._default() if persona is None else persona

    def changed(self) -> None:
        """Something of it was changed: read it again, at once."""
        self._is_stale.set()

    async def keep_fresh(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read it now, which is when this has started, and whenever it has changed."""
        await self._refresh()
        task_status.started()
        while True:
            with trio.move_on_after(LOOK_EVERY_S):
                await self._is_stale.wait()
            await self._refresh()

    def _stored(self, version: str) -> StoredPersona | None:
        version = version.replace("-", "")  # a UUID may be written either way
        persona_id = version.partition(":")[0]
        newest = None if self._snapshot is None else self._snapshot.personas.get(persona_id)
        if newest is not None and newest.version == version:
            return newest
        if version in self._replaced:
            return self._replaced[version][0]
        # Another process may know it already, and has told its caller's stream of it.
        self.changed()
        _logger.warning("persona.version_unknown", version=version, answered_by=newest.version if newest else "")
        return newest

    async def _refresh(self) -> None:
        known = None if self._is_stale.is_set() or self._snapshot is None else self._snapshot.version
        self._is_stale = trio.Event()
        try:
            found = await self._database.read(lambda connection: _read(connection, known, self._read_personas))
        except Exception as error:  # whatever is wrong with the database: calls are answered
            self._not_read(error)
            return
        self._is_reachable = True
        if found is not None:
            self._take(found)

    def _take(self, found: Snapshot) -> None:
        now = self._clock()
        before = {} if self._snapshot is None else self._snapshot.personas
        still = {stored.version for stored in found.personas.values()}
        for stored in before.values():
            if stored.version not in still:
                self._replaced[stored.version] = (stored, now)
        outdated = [version for version, (_, since) in self._replaced.items() if since < now - REPLACED_KEPT_S]
        surplus = list(self._replaced)[: max(0, len(self._replaced) - MAX_REPLACED)]
        for version in {*outdated, *surplus}:
            del self._replaced[version]
        self._snapshot = found
        self._announce(found.answering)

    def _not_read(self, error: Exception) -> None:
        """Said once, until it can be read again."""
        if self._is_reachable:
            who = "The settings' persona answers" if self._snapshot is None else "What was read last goes on answering"
            _logger.error("directory.not_read", consequence=f"{who} all calls.", why=type(error).__name__)
        self._is_reachable = False


def _read(connection: Connection, known: str | None, read_personas: ReadPersonas) -> Snapshot | None:
    """The directory as it is, None if its version is the one that is known."""
    # First: what is changed while we read makes the version another one, and we read again.
    version = directory.version(connection)
    if version == known:
        return None
    personas = read_personas(connection)
    active = {stored.account_id: stored for stored in personas if stored.is_active}
    by_id = {stored.id: stored for stored in personas}
    first_account = users.first_account(connection)
    routes = {row["number"]: _route(row, by_id, active) for row in phone_numbers.all_of_them(connection)}
    return Snapshot(
        version=version,
        routes=routes,
        personas={stored.id.hex: stored for stored in personas},
        elsewhere=Route(
            account_id=first_account, persona=active.get(first_account) if first_account is not None else None
        ),
        answering=_answering(routes, _reached(active, routes, first_account)),
    )


def _reached(
    active: Mapping[UUID, StoredPersona], routes: Mapping[str, Route], first_account: UUID | None
) -> Iterable[StoredPersona]:
    """The active personas of accounts that have calls: those with a number, and the house.

    Whoever may begin an account may make a persona active there, and what is spoken beforehand is paid for.
    """
    have_calls = {first_account, *(route.account_id for route in routes.values())}
    return [stored for account_id, stored in active.items() if account_id in have_calls]


def _answering(routes: Mapping[str, Route], active: Iterable[StoredPersona]) -> Sequence[Answering]:
    """Who answers a number; and who is active, for calls to other numbers and for those that we place."""
    known = [
        (route.persona, CallFacts(shop_name=route.label, shop_number=number), _OF_A_NUMBER)
        for number, route in routes.items()
        if route.persona is not None
    ]
    known += [(stored, CallFacts(), _OF_ALL_CALLS) for stored in active]
    found: dict[tuple[str, ...], Answering | None] = {}
    for stored, facts, names in known:
        greets_alike = stored.greeting_gaps <= names
        filled = facts.values() if greets_alike else {}
        key = (stored.version, *(filled.get(name, "") for name in sorted(stored.greeting_gaps)))
        if key not in found and len(found) < MAX_ANSWERING:
            found[key] = _answering_with(stored, facts, greets_alike=greets_alike)
    return [each for each in found.values() if each is not None]


def _answering_with(stored: StoredPersona, facts: CallFacts, *, greets_alike: bool) -> Answering | None:
    persona = _rendered(stored, facts)
    if persona is None:
        return None
    return Answering(
        version=stored.version, persona=persona if greets_alike else msgspec.structs.replace(persona, greeting="")
    )


def _rendered(stored: StoredPersona, facts: CallFacts) -> Persona | None:
    """Who answers; None for a fault of ours in what one persona says."""
    try:
        return stored.render(facts)
    except Exception:  # it costs its calls the persona, not the calls
        _logger.exception("persona.not_rendered", version=stored.version)
        return None


def _route(row: RowMapping, by_id: Mapping[UUID, StoredPersona], active: Mapping[UUID, StoredPersona]) -> Route:
    account_id: UUID = row["account_id"]
    return Route(
        account_id=account_id,
        label=row["label"],
        persona=by_id.get(row["persona_id"], active.get(account_id)),
        timetable=_timetable(row),
        fallback=_fallback(row),
    )


def _timetable(row: RowMapping) -> Timetable | None:
    if row["hours"] is None:
        return None
    try:
        return Timetable(msgspec.convert(row["hours"], OpeningHours))
    except ValueError as error:  # such as a time zone that this machine does not know
        _logger.error("number.hours_unusable", number_id=str(row["id"]), why=str(error), consequence="It is open.")
        return None


def _fallback(row: RowMapping) -> Fallback:
    try:
        return msgspec.convert(row["fallback"], Fallback)  # type: ignore[no-any-return]  # of a union it says Any
    except msgspec.ValidationError as error:
        _logger.error("number.fallback_unusable", number_id=str(row["id"]), why=str(error))
        return CLOSED
