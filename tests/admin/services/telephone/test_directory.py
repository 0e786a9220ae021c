"""Who answers a number, from memory: changed at once, kept when the database is gone, never a reason to wait."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio
import trio.testing
from sqlalchemy import Connection, select
from structlog.testing import capture_logs
from trio.testing import MockClock

from admin.errors import StoreUnavailableError
from admin.services.personas.templates import CallFacts
from admin.services.telephone import directory as directory_module
from admin.services.telephone import stored_personas
from admin.services.telephone.directory import LOOK_EVERY_S, REPLACED_KEPT_S, Answering, Directory, Route, StoredPersona
from admin.services.telephone.fallbacks import CLOSED, Voicemail
from admin.store import directory as store
from admin.store import phone_numbers, users
from admin.store.column_types import new_id
from admin.store.database import Database, Result, Work
from admin.store.schema import personas
from relay import Persona
from tests.admin.services.persona_rows import add_persona

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)  # a Monday
NUMBER, OTHER = "+4930901820", "+4930901821"
SETTINGS = Persona(instructions="the settings'")
HOURS = {"time_zone": "UTC", "weekly": [{"days": ["monday"], "opens": "09:00", "closes": "11:00"}]}


def read_personas(connection: Connection) -> Sequence[StoredPersona]:
    """A persona that says its name, its version and who calls."""

    def stored(row: Any) -> StoredPersona:
        def render(facts: CallFacts) -> Persona:
            return Persona(instructions=f"{row['name']} {row['version']} {facts.caller_number}".strip())

        return StoredPersona(
            id=row["id"],
            account_id=row["account_id"],
            is_active=row["is_active"],
            number=row["version"],
            render=render,
        )

    return [stored(row) for row in connection.execute(select(personas)).mappings()]


class Watched(Database):
    """A test's database that can be taken away, and says when it was read."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.engine.url.render_as_string(hide_password=False))
        self.is_gone = False
        self._readers = trio.lowlevel.ParkingLot()

    async def read(self, work: Work[Result]) -> Result:
        try:
            if self.is_gone:
                raise StoreUnavailableError
            return await super().read(work)
        finally:
            self._readers.unpark_all()

    async def is_read(self) -> None:
        """Wait for the next reading; the directory takes it before anybody else runs."""
        await self._readers.park()


class Shop:
    """Accounts, personas and numbers, changed as the API changes them."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine

    def account(self) -> UUID:
        with self._engine.begin() as connection:
            account_id = users.add(connection, role="owner", at=AT)
            store.bump(connection)
            return account_id

    def persona(self, account_id: UUID, name: str, *, is_active: bool = False) -> UUID:
        with self._engine.begin() as connection:
            persona_id = new_id()
            row = {"id": persona_id, "account_id": account_id, "name": name, "version": 1, "is_active": is_active}
            connection.execute(personas.insert().values(**row, created_at=AT, updated_at=AT))
            store.bump(connection)
            return persona_id

    def edit(self, persona_id: UUID, *, version: int) -> None:
        with self._engine.begin() as connection:
            connection.execute(personas.update().where(personas.c.id == persona_id).values(version=version))
            store.bump(connection)

    def remove(self, persona_id: UUID) -> None:
        with self._engine.begin() as connection:
            connection.execute(personas.delete().where(personas.c.id == persona_id))
            store.bump(connection)

    def number(self, account_id: UUID, number: str = NUMBER, **values: Any) -> None:
        values = {"fallback": {"kind": "voicemail"}, **values}
        with self._engine.begin() as connection:
            phone_numbers.add(connection, account_id=account_id, at=AT, number=number, **values)
            store.bump(connection)


class Scene:
    """A directory over a database, kept fresh."""

    def __init__(self, database: Watched, clock: MockClock, nursery: trio.Nursery) -> None:
        self.database, self._clock, self._nursery = database, clock, nursery
        self.shop = Shop(database)
        self.directory = self.another()

    def another(self) -> Directory:
        """Of another process."""
        return Directory(self.database, read_personas, lambda: SETTINGS)

    async def start(self) -> None:
        """Read for the first time, as the server starts."""
        await self._nursery.start(self.directory.keep_fresh)
        await trio.testing.wait_all_tasks_blocked()

    async def told(self) -> None:
        """A change in this process has told of itself, and was read."""
        self.directory.changed()
        await self.database.is_read()

    async def second(self) -> None:
        """A second passes, in which the directory looks whether anything has changed."""
        self._clock.jump(LOOK_EVERY_S)
        await self.database.is_read()
        await trio.testing.wait_all_tasks_blocked()  # it waits for the next one

    def answers(self, number: str = NUMBER) -> str:
        return self.persona(self.directory.route(number).persona_version)

    def persona(self, version: str) -> str:
        return self.directory.persona_for(version).instructions


@pytest.fixture
async def scene(database: Database, mock_clock: MockClock) -> AsyncIterator[Scene]:
    watched = Watched(database)
    async with trio.open_nursery() as nursery:
        yield Scene(watched, mock_clock, nursery)
        nursery.cancel_scope.cancel()
    watched.close()


async def test_a_number_is_answered_by_its_own_persona_else_by_the_active_one(scene: Scene) -> None:
    account = scene.shop.account()
    scene.shop.persona(account, "Luna", is_active=True)
    mario = scene.shop.persona(account, "Mario")
    scene.shop.number(account, NUMBER)
    scene.shop.number(account, OTHER, persona_id=mario, label="Bar")
    await scene.start()
    assert (scene.answers(NUMBER), scene.answers(OTHER)) == ("Luna 1", "Mario 1")
    route = scene.directory.route(OTHER)
    assert (route.account_id, route.label, route.persona_version) == (account, "Bar", f"{mario.hex}:1")


async def test_a_number_in_no_account_is_the_first_accounts(scene: Scene) -> None:
    first, second = scene.shop.account(), scene.shop.account()
    scene.shop.persona(second, "Mario", is_active=True)
    await scene.start()
    assert (scene.directory.route(OTHER).account_id, scene.answers(OTHER)) == (first, SETTINGS.instructions)
    scene.shop.persona(first, "Luna", is_active=True)
    await scene.told()
    assert scene.answers(OTHER) == "Luna 1"


async def test_before_anybody_has_an_account_the_settings_persona_answers(scene: Scene) -> None:
    await scene.start()
    assert scene.directory.route(NUMBER) == Route()
    assert scene.answers() == SETTINGS.instructions


async def test_hours_and_fallback_come_with_the_number(scene: Scene) -> None:
    account = scene.shop.account()
    scene.shop.number(account, hours=HOURS, fallback={"kind": "voicemail", "max_length_s": 60})
    await scene.start()
    route = scene.directory.route(NUMBER)
    assert route.fallback == Voicemail(max_length_s=60)
    assert [route.is_open(AT.replace(hour=hour)) for hour in (8, 9, 11)] == [False, True, False]
    assert scene.directory.route(OTHER).is_open(AT)


async def test_what_is_stored_and_cannot_be_used_costs_no_call(scene: Scene) -> None:
    account = scene.shop.account()
    scene.shop.number(account, hours={"time_zone": "Mars/Olympus"}, fallback={"kind": "fax"})
    with capture_logs() as logs:
        await scene.start()
    route = scene.directory.route(NUMBER)
    assert (route.is_open(AT), route.fallback) == (True, CLOSED)
    assert [each["event"] for each in logs] == ["number.hours_unusable", "number.fallback_unusable"]


async def test_a_change_in_this_process_counts_at_once(scene: Scene) -> None:
    account = scene.shop.account()
    luna = scene.shop.persona(account, "Luna", is_active=True)
    await scene.start()
    scene.shop.edit(luna, version=2)
    await scene.told()
    assert scene.answers() == "Luna 2"


async def test_a_change_in_another_process_counts_within_a_second(scene: Scene) -> None:
    account = scene.shop.account()
    luna = scene.shop.persona(account, "Luna", is_active=True)
    await scene.start()
    scene.shop.edit(luna, version=2)
    assert scene.answers() == "Luna 1"
    await scene.second()
    assert scene.answers() == "Luna 2"


async def test_nothing_is_read_again_as_long_as_nothing_changes(scene: Scene) -> None:
    scene.shop.persona(scene.shop.account(), "Luna", is_active=True)
    await scene.start()
    before = scene.directory.route(NUMBER)
    await scene.second()
    assert scene.directory.route(NUMBER) is before


async def test_without_a_database_calls_are_answered_as_before_and_it_is_said_once(scene: Scene) -> None:
    account = scene.shop.account()
    luna = scene.shop.persona(account, "Luna", is_active=True)
    await scene.start()
    scene.database.is_gone = True
    with capture_logs() as logs:
        for _ in range(3):
            await scene.second()
    assert scene.answers() == "Luna 1"
    assert [each["event"] for each in logs] == ["directory.not_read"]
    scene.shop.edit(luna, version=2)
    scene.database.is_gone = False
    await scene.second()
    assert scene.answers() == "Luna 2"


async def test_when_the_database_was_never_there_the_settings_persona_answers(scene: Scene) -> None:
    scene.shop.persona(scene.shop.account(), "Luna", is_active=True)
    scene.database.is_gone = True
    with capture_logs() as logs:
        await scene.start()
        await scene.second()
    assert scene.answers() == SETTINGS.instructions
    assert [each["consequence"] for each in logs] == ["The settings' persona answers all calls."]
    scene.database.is_gone = False
    await scene.second()
    assert scene.answers() == "Luna 1"


async def test_a_call_keeps_the_version_that_its_webhook_chose(scene: Scene) -> None:
    luna = scene.shop.persona(scene.shop.account(), "Luna", is_active=True)
    await scene.start()
    chosen = scene.directory.route(NUMBER).persona_version
    scene.shop.edit(luna, version=2)
    await scene.told()
    assert (scene.persona(chosen), scene.answers()) == ("Luna 1", "Luna 2")
    scene.shop.remove(luna)
    await scene.told()
    assert (scene.persona(chosen), scene.answers()) == ("Luna 1", SETTINGS.instructions)


async def test_a_replaced_version_is_forgotten_after_a_while(scene: Scene, mock_clock: MockClock) -> None:
    luna = scene.shop.persona(scene.shop.account(), "Luna", is_active=True)
    await scene.start()
    chosen = scene.directory.route(NUMBER).persona_version
    scene.shop.edit(luna, version=2)
    await scene.told()
    mock_clock.jump(REPLACED_KEPT_S + 1)
    await scene.told()
    with capture_logs():
        assert scene.persona(chosen) == "Luna 2"


async def test_a_version_that_only_another_process_knows_is_answered_by_the_newest_here_and_read(scene: Scene) -> None:
    luna = scene.shop.persona(scene.shop.account(), "Luna", is_active=True)
    await scene.start()
    scene.shop.edit(luna, version=2)
    with capture_logs() as logs:
        assert scene.persona(f"{luna.hex}:2") == "Luna 1"
    assert [(each["event"], each["answered_by"]) for each in logs] == [("persona.version_unknown", f"{luna.hex}:1")]
    await scene.database.is_read()  # without being told
    assert scene.persona(f"{luna.hex}:2") == "Luna 2"


async def test_a_version_may_name_its_persona_with_dashes(scene: Scene) -> None:
    luna = scene.shop.persona(scene.shop.account(), "Luna", is_active=True)
    await scene.start()
    assert scene.persona(f"{luna}:1") == "Luna 1"


@pytest.mark.parametrize("version", ["0" * 32 + ":1", ":", "x", "x:y:z"])
async def test_a_persona_that_nobody_knows_is_the_settings(version: str, scene: Scene) -> None:
    await scene.start()
    with capture_logs() as logs:
        assert scene.persona(version) == SETTINGS.instructions
    assert [each["event"] for each in logs] == ["persona.version_unknown"]


async def test_a_persona_is_told_the_facts_of_its_call(scene: Scene) -> None:
    scene.shop.persona(scene.shop.account(), "Luna", is_active=True)
    await scene.start()
    version = scene.directory.route(NUMBER).persona_version
    told = scene.directory.persona_for(version, CallFacts(caller_number="+15551230001"))
    assert told.instructions == "Luna 1 +15551230001"


async def test_a_persona_that_cannot_be_made_costs_no_call(scene: Scene) -> None:
    def broken(_: CallFacts) -> Persona:
        raise KeyError("a bug")

    def read(connection: Connection) -> list[StoredPersona]:
        return [msgspec.structs.replace(each, render=broken) for each in read_personas(connection)]

    scene.shop.persona(scene.shop.account(), "Luna", is_active=True)
    scene.directory = Directory(scene.database, read, lambda: SETTINGS)
    await scene.start()
    with capture_logs() as logs:
        assert scene.answers() == SETTINGS.instructions
    assert [each["event"] for each in logs] == ["persona.not_rendered"]


async def test_one_table_that_is_not_there_yet_costs_no_call(scene: Scene) -> None:
    with scene.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE phone_numbers")
    scene.shop.account()
    with capture_logs() as logs:
        await scene.start()
    assert scene.answers() == SETTINGS.instructions
    assert [each["event"] for each in logs] == ["directory.not_read"]


# Who is announced, so that what they always say can be spoken beforehand.


def announcing(
    scene: Scene, read: Callable[[Connection], Sequence[StoredPersona]] = stored_personas.read_personas
) -> list[list[tuple[str, str]]]:
    """Versions and greetings, as they are announced after each reading of the scene's directory."""
    announced: list[list[tuple[str, str]]] = []

    def announce(answering: Sequence[Answering]) -> None:
        announced.append(sorted((each.version, each.persona.greeting) for each in answering))

    scene.directory = Directory(scene.database, read, lambda: SETTINGS, announce=announce)
    return announced


def with_greeting(scene: Scene, account_id: UUID, greeting: str, *, is_active: bool = False) -> UUID:
    persona_id = add_persona(scene.database, account_id, greeting=greeting)
    with scene.database.engine.begin() as connection:
        if is_active:
            connection.execute(personas.update().where(personas.c.id == persona_id).values(is_active=True))
        store.bump(connection)
    return persona_id


async def test_who_answers_is_announced_with_what_all_calls_to_a_number_hear(scene: Scene) -> None:
    account, announced = scene.shop.account(), announcing(scene)
    texts = ("Hello.", "{{shop.name}}, {{shop.number}}.", "{{caller.number}}!")
    plain, own, personal = (with_greeting(scene, account, text) for text in texts)
    with_greeting(scene, account, "Nobody ever hears me.")
    scene.shop.number(account, NUMBER, persona_id=own, label="Luna")
    scene.shop.number(account, OTHER, persona_id=own, label="Mario")
    scene.shop.number(account, "+4930901822", persona_id=plain)
    scene.shop.number(account, "+4930901823", persona_id=personal)
    await scene.start()
    assert announced == [
        sorted(
            [
                (f"{own.hex}:1", f"Luna, {NUMBER}."),
                (f"{own.hex}:1", f"Mario, {OTHER}."),
                (f"{plain.hex}:1", "Hello."),
                (f"{personal.hex}:1", ""),  # which each call hears in its own words
            ]
        )
    ]


async def test_who_becomes_active_is_announced_at_once_and_once(scene: Scene) -> None:
    account, announced = scene.shop.account(), announcing(scene)
    scene.shop.number(account, NUMBER)
    scene.shop.number(account, OTHER)
    await scene.start()
    luna = with_greeting(scene, account, "Hello.", is_active=True)
    await scene.told()
    await scene.second()
    assert announced == [[], [(f"{luna.hex}:1", "Hello.")]]


@pytest.mark.parametrize(("text", "greeting"), [("{{shop.name}}.", ""), ("Hello.", "Hello.")])
async def test_who_is_active_without_a_number_greets_as_it_would_anywhere(
    text: str, greeting: str, scene: Scene
) -> None:
    account, announced = scene.shop.account(), announcing(scene)
    luna = with_greeting(scene, account, text, is_active=True)
    await scene.start()
    assert announced == [[(f"{luna.hex}:1", greeting)]]


async def test_who_is_active_in_an_account_that_no_call_reaches_is_not_announced_before_one_can(scene: Scene) -> None:
    scene.shop.account()  # the first one's are all calls to numbers that nobody has
    stranger, announced = scene.shop.account(), announcing(scene)
    mario = with_greeting(scene, stranger, "Hello.", is_active=True)
    await scene.start()
    scene.shop.number(stranger, NUMBER)
    await scene.told()
    assert announced == [[], [(f"{mario.hex}:1", "Hello.")]]


async def test_only_so_many_are_announced_and_all_answer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "MAX_ANSWERING", 2)
    announced = announcing(scene)
    for number in range(3):
        account = scene.shop.account()
        with_greeting(scene, account, f"Hello from {number}.", is_active=True)
        scene.shop.number(account, f"+493090182{number}")
    await scene.start()
    assert len(announced[0]) == 2
    found = [scene.directory.route(f"+493090182{number}").persona_version for number in range(3)]
    assert {scene.directory.persona_for(version).greeting for version in found} == {
        f"Hello from {number}." for number in range(3)
    }


async def test_a_persona_that_cannot_be_made_keeps_nobody_else_from_being_announced(scene: Scene) -> None:
    def broken(_: CallFacts) -> Persona:
        raise KeyError("a bug")

    def read(connection: Connection) -> list[StoredPersona]:
        first, *others = stored_personas.read_personas(connection)
        return [msgspec.structs.replace(first, render=broken), *others]

    account, announced = scene.shop.account(), announcing(scene, read)
    for number, text in ((NUMBER, "Hello."), (OTHER, "Good evening.")):
        scene.shop.number(account, number, persona_id=with_greeting(scene, account, text))
    with capture_logs() as logs:
        await scene.start()
    assert len(announced[0]) == 1
    assert [each["event"] for each in logs] == ["persona.not_rendered"]
