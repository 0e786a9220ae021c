"""For whom a flag is on: decided alike everywhere and always, and never taken away by switching it on for more."""

from datetime import UTC, datetime
from uuid import UUID, uuid5

import trio
from hypothesis import given
from hypothesis import strategies as st

from admin.principal import SCOPES, Principal
from admin.services.flags import Flag, FlagChange, Flags, is_on, place
from admin.store.database import Database, Result, Work

AT = datetime(2026, 3, 2, tzinfo=UTC)
NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,20}", fullmatch=True)
PERCENTAGES = st.integers(0, 100)
MANY_USERS = [uuid5(UUID(int=0), str(number)) for number in range(2000)]


def flag(name: str = "a_flag", *, percentage: int, is_enabled: bool = True, user_ids: tuple[UUID, ...] = ()) -> Flag:
    return Flag(
        name=name,
        description="",
        is_enabled=is_enabled,
        percentage=percentage,
        user_ids=list(user_ids),
        updated_at=AT,
    )


@given(NAMES, st.uuids(), PERCENTAGES, PERCENTAGES)
def test_raising_the_percentage_switches_nobody_off(name: str, user_id: UUID, one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert is_on(flag(name, percentage=more), user_id) or not is_on(flag(name, percentage=less), user_id)


@given(NAMES, st.uuids(), PERCENTAGES)
def test_who_is_named_has_it_whatever_the_percentage_while_it_is_enabled(
    name: str, user_id: UUID, percentage: int
) -> None:
    assert is_on(flag(name, percentage=percentage, user_ids=(user_id,)), user_id)
    assert not is_on(flag(name, percentage=percentage, user_ids=(user_id,), is_enabled=False), user_id)


@given(NAMES, st.uuids())
def test_nobody_is_nobody_and_all_are_all(name: str, user_id: UUID) -> None:
    assert not is_on(flag(name, percentage=0), user_id)
    assert is_on(flag(name, percentage=100), user_id)


def test_a_percentage_is_about_so_many_users() -> None:
    for percentage in (10, 50, 90):
        share = sum(is_on(flag(percentage=percentage), user) for user in MANY_USERS) / len(MANY_USERS)
        assert abs(share * 100 - percentage) < 3


def test_two_flags_begin_with_different_users() -> None:
    one, other = (
        {user for user in MANY_USERS if is_on(flag(name, percentage=10), user)} for name in ("one_flag", "other_flag")
    )
    assert len(one & other) < len(one) / 3


def test_a_user_s_place_stays_what_it_was_in_earlier_versions() -> None:
    assert [place("new_console", UUID(int=number)) for number in (1, 2, 3)] == [41, 21, 86]


class LateAnswers(Database):
    """What is read first is handed over late. Attributes: has_read; goes_on, set by a test."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.has_read, self.goes_on = trio.Event(), trio.Event()

    async def read(self, work: Work[Result]) -> Result:
        """See Database."""
        found = await super().read(work)
        if not self.has_read.is_set():
            self.has_read.set()
            await self.goes_on.wait()
        return found


async def test_what_was_read_before_a_change_does_not_hide_it(database: Database) -> None:
    late = LateAnswers(database.engine.url.render_as_string(hide_password=False))
    flags, user_id = Flags(late, lambda: AT), UUID(int=1)
    owner = Principal(user_id=user_id, account_id=user_id, role="owner", scopes=SCOPES["owner"], via="api_key")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flags.evaluate, user_id)
        await late.has_read.wait()
        await flags.put(owner, "a_flag", FlagChange(description="", is_enabled=True, percentage=100, user_ids=[]))
        late.goes_on.set()
    assert await flags.evaluate(user_id) == {"a_flag": True}
    late.close()
