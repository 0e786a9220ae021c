"""When a dead worker is started again."""

from tautline.restarts import MAX_QUICK_DEATHS, QUICK_S, Restarts


def test_who_dies_at_its_start_is_started_ever_later_and_then_no_more() -> None:
    restarts = Restarts(first_pause_s=0.5)
    assert [restarts.died(0.1) for _ in range(MAX_QUICK_DEATHS)] == [0.5, 1.0, 2.0, 4.0, None]


def test_who_has_served_for_a_while_is_replaced_at_once_however_often() -> None:
    restarts = Restarts()
    assert {restarts.died(QUICK_S) for _ in range(100)} == {0.0}


def test_a_long_life_forgives_the_quick_deaths_before() -> None:
    restarts = Restarts(first_pause_s=0.5)
    assert [restarts.died(lived_s) for lived_s in (1, 1, 3600, 1)] == [0.5, 1.0, 0.0, 0.5]
