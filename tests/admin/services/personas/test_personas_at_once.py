"""Several people change the same things at the same time, each on a connection of their own."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
import trio
from sqlalchemy import select

from admin.errors import ChangedMeanwhileError, ConflictError
from admin.principal import SCOPES, Principal
from admin.services.personas.persona_body import PersonaInput
from admin.services.personas.personas import PersonaRules, Personas, any_version
from admin.store import users
from admin.store.database import CONNECTIONS, Database
from admin.store.schema import persona_versions
from admin.store.schema import personas as table

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
Act = Callable[[int], Awaitable[object]]


@pytest.fixture
def owner(database: Database) -> Principal:
    with database.engine.begin() as connection:
        user_id = users.add(connection, role="owner", at=AT)
    return Principal(user_id=user_id, account_id=user_id, role="owner", scopes=SCOPES["owner"], via="api_key")


@pytest.fixture
def personas(database: Database) -> Personas:
    return Personas(database, lambda: AT, PersonaRules(max_personas=3))


def only_the_first(tag: str) -> None:
    """Expects the first version."""
    if tag != "1":
        raise ChangedMeanwhileError


async def at_once(act: Act) -> list[Exception]:
    """As many as there are connections do it at the same time. Returns: what some of them met."""
    met: list[Exception] = []

    async def one(number: int) -> None:
        try:
            await act(number)
        except Exception as error:
            met.append(error)

    async with trio.open_nursery() as nursery:
        for number in range(CONNECTIONS):
            nursery.start_soon(one, number)
    return met


async def test_personas_made_at_once_are_not_more_than_may_be(
    personas: Personas, owner: Principal, database: Database
) -> None:
    met = await at_once(lambda number: personas.create(owner, PersonaInput(name=f"Number {number}")))
    assert [(type(each), getattr(each, "code", "")) for each in met] == [(ConflictError, "too_many_personas")] * 2
    with database.engine.connect() as connection:
        assert len(connection.execute(select(table)).all()) == 3


async def test_personas_activated_at_once_leave_one_active_and_nobody_with_an_error(
    personas: Personas, owner: Principal, database: Database
) -> None:
    made = [await personas.create(owner, PersonaInput(name=name)) for name in ("A", "B", "C")]
    for _ in range(4):
        assert await at_once(lambda number: personas.activate(owner, made[number % 3].id)) == []
        with database.engine.connect() as connection:
            assert len(connection.execute(select(table).where(table.c.is_active)).all()) == 1


async def test_edits_made_at_once_are_all_kept(personas: Personas, owner: Principal, database: Database) -> None:
    persona = await personas.create(owner, PersonaInput(name="Mario"))
    assert await at_once(lambda n: personas.patch(owner, persona.id, {"keys": {str(n): "staff"}}, any_version)) == []
    newest = await personas.find(owner, persona.id)
    assert newest.version == 1 + CONNECTIONS
    # None undid another's.
    assert newest.keys == {str(number): "staff" for number in range(CONNECTIONS)}
    with database.engine.connect() as connection:
        numbers = connection.execute(select(persona_versions.c.number).order_by(persona_versions.c.number)).scalars()
        assert list(numbers) == list(range(1, 2 + CONNECTIONS))


async def test_of_edits_to_the_same_version_one_is_made_and_the_others_are_told(
    personas: Personas, owner: Principal
) -> None:
    persona = await personas.create(owner, PersonaInput(name="Mario"))
    met = await at_once(lambda n: personas.replace(owner, persona.id, PersonaInput(name=f"Name {n}"), only_the_first))
    assert [type(each) for each in met] == [ChangedMeanwhileError] * (CONNECTIONS - 1)
    assert (await personas.find(owner, persona.id)).version == 2


async def test_deleting_and_activating_at_once_breaks_nothing(
    personas: Personas, owner: Principal, database: Database
) -> None:
    persona = await personas.create(owner, PersonaInput(name="Mario"))

    async def act(number: int) -> None:
        if number % 2:
            await personas.activate(owner, persona.id)
        else:
            await personas.delete(owner, persona.id, any_version)

    met = await at_once(act)
    assert {getattr(each, "code", type(each)) for each in met} == {"persona_not_found"}
    with database.engine.connect() as connection:
        assert connection.execute(select(table)).all() == []
