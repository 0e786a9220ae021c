"""Phone numbers: whose they are, who answers them, when, and what callers meet else.

A number that nobody has added is the house's, so only the house adds numbers: for itself, or for another account, which
manages it from then on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from admin.errors import ConflictError, HouseOnlyError, InvalidInputError, NotFoundError
from admin.principal import Principal
from admin.services.telephone.fallbacks import CLOSED, Fallback, Label, NumberText, checked, to_e164
from admin.services.telephone.opening_hours import OpeningHours, Timetable, UnusableHoursError
from admin.store import audit, directory, paging, phone_numbers, users
from admin.store.database import Database, breaks_reference


class NumberInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number as it is wanted. persona_id: null for whichever persona is active; hours: null for always open."""

    number: NumberText
    label: Label = ""
    persona_id: UUID | None = None
    hours: OpeningHours | None = None
    fallback: Fallback = CLOSED


class NewNumber(NumberInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number to be added. account_id: whose it is to be, null for one's own; persona_id is one of that account's."""

    account_id: UUID | None = None


class NumberChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different. What is left out stays."""

    number: NumberText | UnsetType = UNSET
    label: Label | UnsetType = UNSET
    persona_id: UUID | UnsetType | None = UNSET
    hours: OpeningHours | UnsetType | None = UNSET
    fallback: Fallback | UnsetType = UNSET


class PhoneNumber(msgspec.Struct, frozen=True, kw_only=True):
    """A number of an account's. Fields as in NewNumber; number: E.164."""

    id: UUID
    account_id: UUID
    number: str
    label: str
    persona_id: UUID | None
    hours: OpeningHours | None
    fallback: Fallback
    version: int
    created_at: datetime
    updated_at: datetime


class NumberPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of an account's numbers. next_cursor: where the following page begins, null at the end."""

    items: list[PhoneNumber]
    next_cursor: str | None


class PhoneNumbers:
    """The numbers of all accounts; each of whoever asks. Args: on_change, called when a change is kept."""

    def __init__(self, database: Database, now: Callable[[], datetime], on_change: Callable[[], None]) -> None:
        self._database, self._now, self._on_change = database, now, on_change

    async def page(self, principal: Principal, cursor: str | None, limit: int) -> NumberPage:
        """One page, by number. Raises: InvalidCursorError."""
        rows = await self._database.read(
            lambda connection: phone_numbers.page(connection, principal.account_id, cursor, limit)
        )
        return NumberPage(
            items=[_shown(row) for row in rows[:limit]], next_cursor=paging.next_cursor(rows, limit, "number")
        )

    async def get(self, principal: Principal, number_id: UUID) -> PhoneNumber:
        """One number. Raises: NotFoundError."""
        return _shown(
            _found(await self._database.read(lambda c: phone_numbers.by_id(c, principal.account_id, number_id)))
        )

    async def add(self, principal: Principal, wanted: NewNumber) -> PhoneNumber:
        """A new number. Raises: HouseOnlyError, InvalidInputError, NotFoundError (account, persona), ConflictError."""
        if not principal.is_house:
            raise HouseOnlyError("adding a telephone number")
        values = _columns(wanted)
        account_id = values.pop("account_id") or principal.account_id

        def write(connection: Connection) -> RowMapping:
            if not users.is_account(connection, account_id):
                raise NotFoundError("account")
            _require_persona(connection, account_id, values)
            with _clashes_told():
                row = phone_numbers.add(connection, account_id=account_id, at=self._now(), **values)
            self._kept(connection, principal, "number.added", row)
            return row

        return await self._written(write)

    async def change(
        self,
        principal: Principal,
        number_id: UUID,
        wanted: NumberInput | NumberChange,
        require_match: Callable[[int], None],
    ) -> PhoneNumber:
        """The number as it is from now on.

        Args: require_match, given the present version, raises unless that is the one to be changed.
        Raises: as `add`, HouseOnlyError when it is to become another number; NotFoundError; what require_match raises.
        """
        values = _columns(wanted)

        def write(connection: Connection) -> RowMapping:
            row = _found(phone_numbers.by_id(connection, principal.account_id, number_id, locked=True))
            require_match(row["version"])
            if values.get("number", row["number"]) != row["number"] and not principal.is_house:
                raise HouseOnlyError("adding a telephone number, in another's place too,")
            _require_persona(connection, principal.account_id, values)
            with _clashes_told():
                row = phone_numbers.change(connection, number_id, at=self._now(), **values)
            self._kept(connection, principal, "number.changed", row)
            return row

        return await self._written(write)

    async def remove(self, principal: Principal, number_id: UUID, require_match: Callable[[int], None]) -> None:
        """Forget a number. Raises: NotFoundError, and what require_match raises."""

        def write(connection: Connection) -> None:
            row = _found(phone_numbers.by_id(connection, principal.account_id, number_id, locked=True))
            require_match(row["version"])
            phone_numbers.remove(connection, number_id)
            self._kept(connection, principal, "number.removed", row)

        await self._database.write(write)
        self._on_change()

    def _kept(self, connection: Connection, principal: Principal, action: str, row: RowMapping) -> None:
        """In the transaction that changes a number: note who did it, and have all processes read it."""
        facts = {"number": row["number"], "version": row["version"]}
        if row["account_id"] != principal.account_id:
            facts["account_id"] = row["account_id"]
        audit.record(connection, principal, action, subject=row["id"], facts=facts, at=self._now())
        directory.bump(connection)

    async def _written(self, write: Callable[[Connection], RowMapping]) -> PhoneNumber:
        row = await self._database.write(write)
        self._on_change()
        return _shown(row)


def _columns(wanted: NumberInput | NumberChange) -> dict[str, Any]:
    """What is wanted, checked, as the table keeps it. Raises: InvalidInputError."""
    values = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}
    if "number" in values:
        values["number"] = to_e164(values["number"])
    if "fallback" in values:
        values["fallback"] = msgspec.to_builtins(checked(values["fallback"]))
    if values.get("hours") is not None:
        _require_shown_by_a_clock(values["hours"])
        values["hours"] = msgspec.to_builtins(values["hours"])
    return values


def _require_shown_by_a_clock(hours: OpeningHours) -> None:
    try:
        Timetable(hours)
    except UnusableHoursError as error:
        raise InvalidInputError(f"the hours cannot be used: {error}") from None


def _require_persona(connection: Connection, account_id: UUID, values: dict[str, Any]) -> None:
    persona_id = values.get("persona_id")
    if persona_id is not None and not phone_numbers.has_persona(connection, account_id, persona_id):
        raise NotFoundError("persona")


@contextmanager
def _clashes_told() -> Iterator[None]:
    """Says what the database found wrong: the number is somebody's, or the persona was deleted this moment."""
    try:
        yield
    except IntegrityError as error:
        if breaks_reference(error):
            raise NotFoundError("persona") from error
        raise ConflictError("the number is in use, in this account or in another", code="number_taken") from error


def _found(row: RowMapping | None) -> RowMapping:
    if row is None:
        raise NotFoundError("number")
    return row


def _shown(row: RowMapping) -> PhoneNumber:
    return msgspec.convert({name: row[name] for name in PhoneNumber.__struct_fields__}, PhoneNumber)
