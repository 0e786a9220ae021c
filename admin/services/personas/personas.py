"""Personas: who they belong to, how they change, and which one answers.

Every change makes a new version, and one that changes nothing makes none. At most one persona of an account is active;
it answers at all numbers that have none of their own. It may be deleted, and then the server's own persona answers
there. One that a number is set to may not be: first the number is given another.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from admin.errors import ConflictError, NotFoundError
from admin.principal import Principal
from admin.services.personas.persona_body import (
    MAX_NAME_CHARACTERS,
    InputWarning,
    PersonaBody,
    PersonaInput,
    accept,
    patched,
)
from admin.services.personas.persona_views import (
    Persona,
    PersonaPage,
    PersonaQuery,
    PersonaVersion,
    PersonaVersionPage,
    PersonaVersionQuery,
    PersonaVersionSummary,
)
from admin.store import audit, personas
from admin.store.database import Database
from admin.store.paging import next_cursor

COPY: Final = " (copy)"

Expect = Callable[[str], None]  # raises ChangedMeanwhileError unless the change was made to what has this tag


class PersonaRules(msgspec.Struct, frozen=True, kw_only=True):
    """How many personas an account may have."""

    max_personas: int = 50


USUAL_RULES: Final = PersonaRules()


class _Edit(msgspec.Struct, frozen=True):
    """What an edit makes of a persona. change: how its version will be described."""

    body: PersonaBody
    change: str
    action: str
    warnings: list[InputWarning] = []


def any_version(tag: str) -> None:
    """Expects no version: the newest one is meant, whichever that is."""


class Personas:
    """The personas of all accounts, each seen by its own people only.

    Args: database; now, wall time; on_change, called once personas are not what they were.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime],
        rules: PersonaRules = USUAL_RULES,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._now, self._rules, self._on_change = database, now, rules, on_change

    async def page(self, principal: Principal, query: PersonaQuery) -> PersonaPage:
        """Some of the account's personas. Raises: InvalidCursorError."""

        def read(connection: Connection) -> Sequence[RowMapping]:
            return personas.page(
                connection,
                principal.account_id,
                sort=query.sort,
                cursor=query.cursor,
                limit=query.limit,
                text=query.text,
                language=query.language,
                is_active=query.active,
            )

        rows = await self._database.read(read)
        items = [_persona(row) for row in rows[: query.limit]]
        return PersonaPage(items=items, next_cursor=next_cursor(rows, query.limit, query.sort.removeprefix("-")))

    async def find(self, principal: Principal, persona_id: UUID) -> Persona:
        """One of them. Raises: NotFoundError."""
        return await self._database.read(lambda connection: _found(connection, principal, persona_id))

    async def find_active(self, principal: Principal) -> Persona:
        """The one that answers. Raises: NotFoundError if none is active."""
        row = await self._database.read(lambda connection: personas.active(connection, principal.account_id))
        if row is None:
            raise NotFoundError("persona")
        return _persona(row)

    async def create(self, principal: Principal, given: PersonaInput, change: str = "created") -> Persona:
        """A new one, not active. Raises: InvalidInputError, ConflictError too_many_personas."""
        body, warnings = accept(given)
        created = await self._database.write(lambda connection: self._add(connection, principal, body, change))
        self._on_change()
        return msgspec.structs.replace(created, warnings=warnings)

    async def duplicate(self, principal: Principal, persona_id: UUID) -> Persona:
        """A copy, not active. Raises: NotFoundError, ConflictError too_many_personas."""

        def copy(connection: Connection) -> Persona:
            original = _found(connection, principal, persona_id)
            name = original.name[: MAX_NAME_CHARACTERS - len(COPY)] + COPY
            body = msgspec.structs.replace(original.body, name=name)
            return self._add(connection, principal, body, f"copied from {persona_id} version {original.version}")

        copied = await self._database.write(copy)
        self._on_change()
        return copied

    async def replace(self, principal: Principal, persona_id: UUID, given: PersonaInput, expect: Expect) -> Persona:
        """All of it anew. Raises: InvalidInputError, NotFoundError, ChangedMeanwhileError."""
        body, warnings = accept(given)
        edit = _Edit(body, "edited", "persona.edited", warnings)
        return await self._edit(principal, persona_id, expect, lambda *_: edit)

    async def patch(self, principal: Principal, persona_id: UUID, changes: dict[str, Any], expect: Expect) -> Persona:
        """Some of it, by a merge patch. Raises: InvalidInputError, NotFoundError, ChangedMeanwhileError."""

        def edit(_: Connection, current: PersonaBody) -> _Edit:
            body, warnings = accept(patched(current, changes))
            return _Edit(body, "edited", "persona.edited", warnings)

        return await self._edit(principal, persona_id, expect, edit)

    async def restore(self, principal: Principal, persona_id: UUID, number: int, expect: Expect) -> Persona:
        """As it was in that version, which makes a new one. Raises: NotFoundError, ChangedMeanwhileError."""

        def edit(connection: Connection, _: PersonaBody) -> _Edit:
            body = _version(connection, persona_id, number).persona
            return _Edit(body, f"restored from version {number}", "persona.restored")

        return await self._edit(principal, persona_id, expect, edit)

    async def activate(self, principal: Principal, persona_id: UUID) -> Persona:
        """From now on it answers, and whichever did before no longer. Raises: NotFoundError."""

        def switch(connection: Connection) -> tuple[bool, Persona]:
            personas.lock_account(connection, principal.account_id)
            current = self._locked(connection, principal, persona_id)
            if current.is_active:
                return False, current
            personas.activate(connection, principal.account_id, persona_id)
            self._note(connection, principal, "persona.activated", persona_id)
            return True, _found(connection, principal, persona_id)

        is_changed, persona = await self._database.write(switch)
        if is_changed:
            self._on_change()
        return persona

    async def delete(self, principal: Principal, persona_id: UUID, expect: Expect) -> None:
        """It and all its versions. Raises: NotFoundError, ChangedMeanwhileError, ConflictError persona_in_use."""

        def remove(connection: Connection) -> None:
            self._locked(connection, principal, persona_id, expect)
            if personas.is_used_by_a_number(connection, persona_id):
                raise ConflictError("a telephone number is set to this persona", code="persona_in_use")
            personas.remove(connection, persona_id)
            self._note(connection, principal, "persona.deleted", persona_id)

        await self._database.write(remove)
        self._on_change()

    async def versions(self, principal: Principal, persona_id: UUID, query: PersonaVersionQuery) -> PersonaVersionPage:
        """Some of its versions, the newest first. Raises: NotFoundError."""

        def read(connection: Connection) -> Sequence[RowMapping]:
            _found(connection, principal, persona_id)
            below = None if query.cursor is None else int(query.cursor)
            return personas.versions(connection, persona_id, below=below, limit=query.limit)

        rows = await self._database.read(read)
        items = [PersonaVersionSummary(**row) for row in rows[: query.limit]]
        return PersonaVersionPage(items=items, next_cursor=str(items[-1].number) if len(rows) > query.limit else None)

    async def version(self, principal: Principal, persona_id: UUID, number: int) -> PersonaVersion:
        """One of its versions. Raises: NotFoundError persona_not_found, persona_version_not_found."""

        def read(connection: Connection) -> PersonaVersion:
            _found(connection, principal, persona_id)
            return _version(connection, persona_id, number)

        return await self._database.read(read)

    async def _edit(
        self,
        principal: Principal,
        persona_id: UUID,
        expect: Expect,
        edit: Callable[[Connection, PersonaBody], _Edit],
    ) -> Persona:
        def work(connection: Connection) -> tuple[bool, Persona]:
            current = self._locked(connection, principal, persona_id, expect)
            made = edit(connection, current.body)
            if made.body == current.body:
                return False, msgspec.structs.replace(current, warnings=made.warnings)
            self._renew(connection, principal, current, made)
            return True, msgspec.structs.replace(_found(connection, principal, persona_id), warnings=made.warnings)

        is_changed, persona = await self._database.write(work)
        if is_changed:
            self._on_change()
        return persona

    def _add(self, connection: Connection, principal: Principal, body: PersonaBody, change: str) -> Persona:
        personas.lock_account(connection, principal.account_id)  # or two at once would both be the last that fits
        if personas.count(connection, principal.account_id) >= self._rules.max_personas:
            what = f"there are {self._rules.max_personas} personas, which is as many as there may be"
            raise ConflictError(what, code="too_many_personas")
        persona_id = personas.add(
            connection,
            account_id=principal.account_id,
            name=body.name,
            language=body.language,
            body=msgspec.to_builtins(body),
            change=change,
            by=principal.user_id,
            at=self._now(),
        )
        self._note(connection, principal, "persona.created", persona_id, change=change)
        return _found(connection, principal, persona_id)

    def _renew(self, connection: Connection, principal: Principal, current: Persona, made: _Edit) -> None:
        number = current.version + 1
        personas.renew(
            connection,
            current.id,
            number,
            name=made.body.name,
            language=made.body.language,
            body=msgspec.to_builtins(made.body),
            change=made.change,
            by=principal.user_id,
            at=self._now(),
        )
        self._note(connection, principal, made.action, current.id, version=number, change=made.change)

    def _locked(
        self, connection: Connection, principal: Principal, persona_id: UUID, expect: Expect = any_version
    ) -> Persona:
        """The persona, which stays as it is until the transaction ends."""
        if not personas.lock(connection, principal.account_id, persona_id):
            raise NotFoundError("persona")
        # Read only now: a row that was found before the lock was had may be an older version's.
        current = _found(connection, principal, persona_id)
        expect(current.tag)
        return current

    def _note(
        self, connection: Connection, principal: Principal, action: str, persona_id: UUID, **facts: str | int
    ) -> None:
        audit.record(connection, principal, action, subject=persona_id, facts=facts, at=self._now())


def _found(connection: Connection, principal: Principal, persona_id: UUID) -> Persona:
    row = personas.by_id(connection, principal.account_id, persona_id)
    if row is None:
        raise NotFoundError("persona")
    return _persona(row)


def _persona(row: RowMapping) -> Persona:
    body = msgspec.convert(row["body"], PersonaBody)
    of_the_row = {name: row[name] for name in ("id", "version", "is_active", "created_at", "updated_at")}
    return Persona(**msgspec.structs.asdict(body), **of_the_row)


def _version(connection: Connection, persona_id: UUID, number: int) -> PersonaVersion:
    row = personas.version(connection, persona_id, number)
    if row is None:
        raise NotFoundError("persona_version")
    return PersonaVersion(
        number=row["number"],
        change=row["change"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        persona=msgspec.convert(row["body"], PersonaBody),
    )
