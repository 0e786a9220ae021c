"""One check of a conformance list, and how a list of them is run.

A check returns when the server showed the behaviour. It raises `UnmetError` with what was seen instead, or
`NotShownError` when the server gave no occasion to judge. Whatever else a check raises, or if it does not end, is a
failure of that check alone: a list is always run to its end.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec
import trio

Outcome = Literal["pass", "fail", "not applicable"]
Subject = TypeVar("Subject")

CHECKS_AT_ONCE = 4
CHECK_WITHIN_S = 20.0  # far more than a check takes, even where it has to wait for each thing in vain
_SHOWN_CHARACTERS = 160  # of a value in a report's line


class UnmetError(Exception):
    """The behaviour was not shown; the message says what was seen instead."""


class NotShownError(Exception):
    """The server gave no occasion for this behaviour; the message says why."""


class Check(msgspec.Struct, Generic[Subject], frozen=True):
    """One behaviour. number: its place in the published list; two checks may show two sides of one."""

    number: int
    says: str
    run: Callable[[Subject], Awaitable[None]]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one check. seen: what was seen instead, or why there was nothing to judge; "" for a pass."""

    number: int
    says: str
    outcome: Outcome
    seen: str = ""


class Checklist(Generic[Subject]):
    """A list of checks in the making: `@checklist.check(7, "…")` adds a function to it."""

    def __init__(self) -> None:
        self._checks: list[Check[Subject]] = []

    def check(
        self, number: int, says: str
    ) -> Callable[[Callable[[Subject], Awaitable[None]]], Callable[[Subject], Awaitable[None]]]:
        """The decorated function shows this behaviour."""

        def add(run: Callable[[Subject], Awaitable[None]]) -> Callable[[Subject], Awaitable[None]]:
            self._checks.append(Check(number, says, run))
            return run

        return add

    def beyond_sight(self, number: int, says: str, why: str) -> None:
        """Adds a behaviour that cannot be judged from outside, so that the list shows no hole."""

        async def run(_subject: Subject) -> None:
            raise NotShownError(why)

        self._checks.append(Check(number, says, run))

    def __iter__(self) -> Iterator[Check[Subject]]:
        return iter(self._checks)


async def run_checks(
    checks: Sequence[Check[Subject]], subject: Subject, *, within_s: float = CHECK_WITHIN_S
) -> list[Result]:
    """Run all, a few at once; results in the order of their numbers. Raises nothing but Cancelled."""
    results: dict[int, Result] = {}
    limit = trio.CapacityLimiter(CHECKS_AT_ONCE)

    async def run(place: int, check: Check[Subject]) -> None:
        async with limit:
            results[place] = await carry_out(check, subject, within_s=within_s)

    async with trio.open_nursery() as nursery:
        for place, check in enumerate(checks):
            nursery.start_soon(run, place, check)
    return sorted((results[place] for place in range(len(checks))), key=lambda result: result.number)


async def carry_out(check: Check[Subject], subject: Subject, *, within_s: float) -> Result:
    """Run one check to its verdict, whatever it raises and however long it would take."""
    outcome: Outcome = "pass"
    seen = ""
    try:
        with trio.fail_after(within_s):
            await check.run(subject)
    except Exception as error:
        outcome, seen = _verdict(error, within_s)
    return Result(number=check.number, says=check.says, outcome=outcome, seen=seen)


def without(secret: str, results: Sequence[Result]) -> list[Result]:
    """The same results; should a server have repeated a key, its own words must not carry it into a report."""
    if not secret:
        return list(results)
    return [msgspec.structs.replace(result, seen=result.seen.replace(secret, "***")) for result in results]


def expect(is_met: bool, seen: str) -> None:
    """Raises: UnmetError, saying what was seen, unless the condition holds."""
    if not is_met:
        raise UnmetError(seen)


def expect_equal(what: str, actual: object, expected: object) -> None:
    """Raises: UnmetError, naming both values, unless they are equal."""
    expect(actual == expected, f"{what}: {shown(actual)} instead of {shown(expected)}")


def shown(value: Any) -> str:
    """A value as a report shows it, cut to a line."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _verdict(error: Exception, within_s: float) -> tuple[Outcome, str]:
    """Of all that went wrong at once, what was looked for says more than what broke because of it."""
    causes = list(_leaves(error))
    for cause in causes:
        if isinstance(cause, UnmetError):
            return "fail", str(cause)
    for cause in causes:
        if isinstance(cause, NotShownError):
            return "not applicable", str(cause)
    for cause in causes:
        if isinstance(cause, OSError):
            return "fail", f"there was no connection: {cause}"
    if any(isinstance(cause, trio.TooSlowError) for cause in causes):
        return "fail", f"not done within {within_s:g} s"
    return "fail", f"the check broke off: {type(causes[0]).__name__}: {causes[0]}"


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
