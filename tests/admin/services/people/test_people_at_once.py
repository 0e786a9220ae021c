"""Several people, or one and an intruder, do things to the same person at the same time."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from admin.errors import NotAllowedError
from admin.services.people.logins import LogIns
from admin.services.people.passwords import Passwords
from admin.services.people.people import NewPerson, People, PersonChange
from admin.services.people.sessions import OpenedSession, Sessions
from admin.store.database import Database
from admin.store.schema import invitations
from tests.admin.api.conftest import CHEAP
from tests.admin.services.personas.test_personas_at_once import at_once

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
EMAIL, KNOWN, RESET, WANTED = "luna@pizzeria.example", "quattro stagioni", "quattro formaggi", "frutti di mare"


class Interrupted(Passwords):
    """Something happens while a password is being hashed."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(CHEAP)
        self._meanwhile = meanwhile

    async def hash(self, password: str) -> str:
        """See Passwords."""
        await self._meanwhile()
        return await super().hash(password)


def log_ins(database: Database, passwords: Passwords) -> LogIns:
    return LogIns(database, lambda: AT, passwords, Sessions(database, lambda: AT))


async def log_in(database: Database, password: str) -> OpenedSession:
    passwords = Passwords(CHEAP)
    return await log_ins(database, passwords).log_in(EMAIL, password, address="", user_agent="", replaces=None)


@pytest.fixture
def people(database: Database) -> People:
    return People(database, lambda: AT, Passwords(CHEAP))


async def test_of_invitations_made_at_once_one_counts_and_nobody_meets_an_error(
    people: People, database: Database
) -> None:
    luna = (await people.add(None, NewPerson(email=EMAIL, role="owner"))).person
    for _ in range(5):
        assert await at_once(lambda _: people.invite(None, luna.id)) == []
    counted = await database.read(lambda c: c.execute(select(func.count()).select_from(invitations)).scalar_one())
    assert counted == 1


@pytest.mark.parametrize("change", [PersonChange(password=RESET), PersonChange(is_disabled=True)])
async def test_who_is_shut_out_while_they_change_their_password_does_not_get_it(
    people: People, database: Database, change: PersonChange
) -> None:
    luna = (await people.add(None, NewPerson(email=EMAIL, role="viewer", password=KNOWN))).person
    asking = (await log_in(database, KNOWN)).principal
    logs_in = log_ins(database, Interrupted(lambda: people.change(None, luna.id, change)))
    with pytest.raises(NotAllowedError, match="current password is wrong"):
        await logs_in.change_password(asking, KNOWN, WANTED, address="")
    await people.change(None, luna.id, PersonChange(is_disabled=False))
    await log_in(database, change.password or KNOWN)
