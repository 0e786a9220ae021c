"""How a list is run: one check's trouble is that check's verdict, and nobody else's."""

import trio
from trio.testing import MockClock

from benchmarks.conformance.check import Check, Checklist, NotShownError, Result, UnmetError, run_checks, without


async def _shows(_subject: str) -> None:
    await trio.lowlevel.checkpoint()


async def _shows_another(_subject: str) -> None:
    raise UnmetError("the colour was red")


async def _cannot_show(_subject: str) -> None:
    raise NotShownError("it was night")


async def _fails_in_a_nursery(_subject: str) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_shows_another, "")
        nursery.start_soon(trio.sleep_forever)


async def _breaks(_subject: str) -> None:
    raise KeyError("session")


async def _finds_nobody(_subject: str) -> None:
    raise OSError("all attempts to connect failed")


async def _never_ends(_subject: str) -> None:
    await trio.sleep_forever()


async def test_each_check_has_its_verdict_and_its_reason(autojump_clock: MockClock) -> None:
    runs = (_never_ends, _breaks, _finds_nobody, _fails_in_a_nursery, _cannot_show, _shows_another, _shows)
    checks = [Check(number, "it shows", run) for number, run in enumerate(runs)]
    results = await run_checks(checks, "a server", within_s=5)
    assert [(result.outcome, result.seen) for result in results] == [
        ("fail", "not done within 5 s"),
        ("fail", "the check broke off: KeyError: 'session'"),
        ("fail", "there was no connection: all attempts to connect failed"),
        ("fail", "the colour was red"),
        ("not applicable", "it was night"),
        ("fail", "the colour was red"),
        ("pass", ""),
    ]


async def test_only_a_few_checks_run_at_once_and_results_come_by_number(autojump_clock: MockClock) -> None:
    running, most = 0, 0

    async def run(_subject: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    checks = [Check(number, "it shows", run) for number in range(20, 0, -1)]
    results = await run_checks(checks, "a server")
    assert most == 4
    assert [result.number for result in results] == list(range(1, 21))


async def test_a_list_says_what_it_cannot_judge() -> None:
    checklist = Checklist[str]()
    checklist.check(1, "it shows")(_shows)
    checklist.beyond_sight(2, "it thinks", "thoughts are not seen")
    results = await run_checks(list(checklist), "a server")
    assert [(result.says, result.outcome) for result in results] == [
        ("it shows", "pass"),
        ("it thinks", "not applicable"),
    ]


def test_a_key_that_a_server_repeats_is_not_reported() -> None:
    said = Result(number=7, says="A wrong key is told", outcome="fail", seen="Incorrect API key provided: sk-secret")
    assert [result.seen for result in without("sk-secret", [said])] == ["Incorrect API key provided: ***"]
    assert without("", [said]) == [said]
