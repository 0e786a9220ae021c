"""Passwords: which are good, which are hashed anew, and how many are worked on at once."""

import trio

from admin.errors import TooManyRequestsError
from admin.services.people.passwords import MAX_WAITING, PasswordCost, Passwords

CHEAP = PasswordCost(memory_kib=8, rounds=1)
PASSWORD = "correct horse"


async def test_the_right_password_is_known_and_no_other() -> None:
    passwords = Passwords(CHEAP)
    kept = await passwords.hash(PASSWORD)
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept
    assert await passwords.check(kept, PASSWORD)
    assert not await passwords.check(kept, PASSWORD + " ")
    assert not await passwords.check("not a hash", PASSWORD)


async def test_who_has_no_password_has_none_that_is_right() -> None:
    assert not await Passwords(CHEAP).check(None, "")


async def test_a_hash_of_another_cost_is_outdated() -> None:
    kept = await Passwords(CHEAP).hash(PASSWORD)
    assert not Passwords(CHEAP).is_outdated(kept)
    dearer = Passwords(PasswordCost(memory_kib=16, rounds=1))
    assert dearer.is_outdated(kept)
    assert await dearer.check(kept, PASSWORD)


async def test_a_flood_of_log_ins_is_refused_instead_of_being_queued() -> None:
    passwords = Passwords(CHEAP)
    refused: list[str] = []

    async def one() -> None:
        try:
            await passwords.hash(PASSWORD)
        except TooManyRequestsError as error:
            refused.append(error.headers["Retry-After"])

    async with trio.open_nursery() as nursery:
        for _ in range(MAX_WAITING + 5):
            nursery.start_soon(one)
    assert refused == ["2"] * (5 - CHEAP.at_once)


def test_the_usual_cost_is_not_below_what_is_advised() -> None:
    usual = PasswordCost()
    assert (usual.memory_kib, usual.rounds, usual.lanes) >= (19_456, 2, 1)


async def test_two_hashes_of_one_password_differ() -> None:
    passwords = Passwords(CHEAP)
    assert await passwords.hash(PASSWORD) != await passwords.hash(PASSWORD)
