"""The rounds of a comparison: who is measured when, and what happens when one fails."""

import msgspec
import pytest

from benchmarks import bench_compare
from benchmarks.comparison import rounds
from benchmarks.comparison.rounds import Order, take_rounds
from benchmarks.comparison.samples import Sample
from benchmarks.comparison.stage import Stage
from benchmarks.process_cpu import Relay, RelayFailedError
from benchmarks.relays import FASTAPI, NODE, OURS, PICOWS
from tests.benchmarks.comparison.figures import sample

Asked = list[tuple[str, int, int]]  # relay, calls, round


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Node falls behind at 100 calls, FastAPI too, but not by its own doing; the floor never starts."""
    asked: Asked = []

    async def measure(stage: Stage, relay: Relay, order: Order, calls: int, number: int) -> Sample:
        asked.append((relay.name, calls, number))
        if relay is PICOWS:
            raise ExceptionGroup("", [RelayFailedError("picows", "it did not start", "")])
        taken = sample(relay.name, number, 10, calls=calls, lost=int(relay is not OURS and calls == 100))
        return msgspec.structs.replace(taken, others=0.5) if relay is FASTAPI else taken

    monkeypatch.setattr(rounds, "measure", measure)
    return asked


def order(*calls: int, rounds: int) -> Order:
    return Order(profile="echo", calls=calls, rounds=rounds, seconds=1)


async def test_relays_take_turns_and_every_second_round_turns_them_around(asked: Asked) -> None:
    await take_rounds(Stage(None, lambda _: None), (OURS, NODE), order(10, 50, rounds=2))
    assert [(relay, calls) for relay, calls, _ in asked] == [
        *[("tautline", 10), ("node", 10), ("tautline", 50), ("node", 50)],
        *[("node", 10), ("tautline", 10), ("node", 50), ("tautline", 50)],
    ]


async def test_who_has_fallen_behind_is_not_asked_for_more_in_that_round(asked: Asked) -> None:
    await take_rounds(Stage(None, lambda _: None), (OURS, NODE, FASTAPI), order(100, 300, rounds=2))
    assert [calls for relay, calls, _ in asked if relay == "node"] == [100, 100]
    assert [calls for relay, calls, _ in asked if relay == "tautline"] == [100, 300, 100, 300]
    assert [calls for relay, calls, _ in asked if relay == "fastapi"] == [100, 300, 100, 300]  # the machine's fault


@pytest.mark.usefixtures("asked")
async def test_a_relay_that_does_not_start_is_a_problem_and_the_others_are_measured() -> None:
    told: list[str] = []
    stage = Stage(None, told.append)
    samples = await take_rounds(stage, (PICOWS, OURS), order(10, rounds=1))
    assert [each.relay for each in samples] == ["tautline"]
    assert stage.problems == ["round 1, 10 calls: picows: it did not start"]
    assert stage.problems[0] in told


def test_few_calls_are_measured_longer() -> None:
    assert order(10, rounds=1).window_s(10) == 6.0
    assert order(10, rounds=1).window_s(100) == 1.0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ("echo", "conversation", "most", "tls", "overload")),
        (["--soak"], ("echo", "conversation", "most", "tls", "overload", "soak")),
        (["--parts", "soak,echo"], ("echo", "soak")),
    ],
)
def test_parts_can_be_chosen(arguments: list[str], parts: tuple[str, ...]) -> None:
    assert bench_compare.parsed(arguments).parts == parts


def test_a_part_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_compare.parsed(["--parts", "echo,marathon"])
    assert "no such part: marathon" in capsys.readouterr().err


def test_the_usual_run_takes_less_than_half_an_hour() -> None:
    assert 60 < bench_compare.expected_s(bench_compare.parsed([]), bench_compare.USUAL) < 1800
