"""Waits that grow: how often somebody may try to come in."""

from datetime import UTC, datetime, timedelta

from admin.services.people.throttle import LockRules, Throttle, network_of

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
RULES = LockRules(free=3, first=timedelta(seconds=10), longest=timedelta(minutes=1))


def test_waits_begin_after_the_free_attempts_and_double_up_to_the_longest() -> None:
    waits = [RULES.wait(failures) for failures in (0, 2, 3, 4, 5, 6, 10_000)]
    assert waits == [None, None, *(timedelta(seconds=each) for each in (10, 20, 40, 60, 60))]


def test_who_has_to_wait_is_told_how_long_and_is_let_on_afterwards() -> None:
    throttle = Throttle(RULES)
    assert [throttle.begin("a", NOON) for _ in range(3)] == [None, None, None]
    assert throttle.begin("a", NOON + timedelta(seconds=4)) == timedelta(seconds=6)
    assert throttle.begin("b", NOON) is None  # somebody else
    assert throttle.begin("a", NOON + timedelta(seconds=10)) is None
    assert throttle.begin("a", NOON + timedelta(seconds=10)) == timedelta(seconds=20)


def test_a_good_attempt_takes_back_itself_and_not_the_bad_ones() -> None:
    throttle = Throttle(RULES)
    for _ in range(2):
        throttle.begin("a", NOON)
    throttle.begin("a", NOON)
    throttle.succeeded("a")
    assert throttle.begin("a", NOON) is None  # the third again
    assert throttle.begin("a", NOON) == timedelta(seconds=10)
    throttle.succeeded("nobody")


def test_after_a_rest_all_is_forgotten() -> None:
    throttle = Throttle(RULES)
    for _ in range(3):
        throttle.begin("a", NOON)
    later = NOON + timedelta(hours=1, seconds=1)
    assert [throttle.begin("a", later) for _ in range(3)] == [None, None, None]


def test_no_more_names_are_remembered_than_there_is_room_for() -> None:
    throttle = Throttle(RULES, max_keys=2)
    for _ in range(3):
        throttle.begin("a", NOON)
    throttle.begin("b", NOON)
    throttle.begin("c", NOON)
    assert throttle.begin("a", NOON) is None  # it was idle the longest, and is new again


def test_an_ipv6_connection_counts_as_one_whichever_of_its_addresses_it_takes() -> None:
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2::5") != network_of("2001:db8:1:3::5")
    assert network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of("<local>") == "<local>"
