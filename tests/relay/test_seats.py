"""Seats for media sockets: no limit is passed, and what was taken and left leaves no trace."""

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.seats import Limits, Seats


def test_without_limits_there_is_always_a_seat() -> None:
    seats = Seats()
    assert {seats.take("192.0.2.1") for _ in range(5000)} == {None}


def test_the_last_seat_is_the_last_and_can_be_had_again() -> None:
    seats = Seats(Limits(calls=2))
    assert [seats.take("a"), seats.take("b"), seats.take("c")] == [None, None, "calls"]
    seats.leave("a")
    assert [seats.take("c"), seats.take("d")] == [None, "calls"]


def test_those_who_wait_cannot_take_the_seats_of_calls() -> None:
    begun = 0
    seats = Seats(Limits(calls=4, waiting=1), lambda: begun)
    assert [seats.take("a"), seats.take("b")] == [None, "waiting"]
    begun = 1
    assert [seats.take("b"), seats.take("c")] == [None, "waiting"]


def test_one_address_cannot_take_them_all() -> None:
    seats = Seats(Limits(per_address=2))
    assert [seats.take("a"), seats.take("a"), seats.take("a"), seats.take("b")] == [None, None, "address", None]
    assert seats.reached is None  # others may still come
    seats.leave("a")
    assert seats.take("a") is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=60))
@settings(deadline=None)
def test_whoever_comes_and_goes_no_limit_is_passed(moves: list[tuple[bool, str]]) -> None:
    seats, sitting = Seats(Limits(calls=5, per_address=3)), list[str]()
    for comes, address in moves:
        if comes:
            reached = seats.take(address)
            assert (reached is None) == (len(sitting) < 5 and sitting.count(address) < 3)
            sitting += [address] if reached is None else []
        elif address in sitting:
            sitting.remove(address)
            seats.leave(address)
    for address in sitting:
        seats.leave(address)
    assert not seats._by_address
    assert [seats.take("d") for _ in range(4)] == [None, None, None, "address"]
