"""The model's side of a scenario: its sessions as they are asked for, what goes wrong and what passes in each."""

from functools import partial

import msgspec

from benchmarks.scenarios.scenario import Break, Scenario
from benchmarks.simulators.openai import Faults, Incident, Json, SimulatorConfig
from benchmarks.simulators.openai.script import Performance

Said = tuple[str, Json]  # who, "client" is the relay, and what


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is asked for. connect_s: until it is open, or refused; None: it cannot be reached."""

    number: int
    connect_s: float | None
    config: SimulatorConfig


class Service:
    """All sessions of one call; they follow the script together."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._performance = Performance(scenario.script)
        self._attempts = 0
        self._heard: list[tuple[int, Said]] = []  # in which session, and what

    @property
    def events(self) -> tuple[Said, ...]:
        """What passed between relay and model."""
        return tuple(said for _, said in self._heard)

    @property
    def sessions(self) -> tuple[tuple[Said, ...], ...]:
        """The events of each session that was opened."""
        opened: dict[int, list[Said]] = {}
        for number, said in self._heard:
            opened.setdefault(number, []).append(said)
        return tuple(tuple(opened[number]) for number in sorted(opened))

    def attempt(self) -> Attempt:
        """One more session is asked for."""
        number, scenario = self._attempts, self._scenario
        self._attempts += 1
        faults = scenario.faults[number] if number < len(scenario.faults) else scenario.model.faults
        connect_s = scenario.connect_s[min(number, len(scenario.connect_s) - 1)]
        return Attempt(
            number=number,
            connect_s=None if connect_s is None else connect_s + faults.upgrade_delay_s,
            config=self._config(number, msgspec.structs.replace(faults, upgrade_delay_s=0.0)),
        )

    def _config(self, number: int, faults: Faults) -> SimulatorConfig:
        return msgspec.structs.replace(
            self._scenario.model,
            script=self._scenario.script,
            performance=self._performance,
            faults=faults,
            incidents=tuple(_incident(one) for one in self._scenario.breaks if one.session == number),
            observer=partial(self._observe, number),
            wall_clock=_the_day,
        )

    def _observe(self, number: int, _at: float, direction: str, event: Json) -> None:
        self._heard.append((number, (direction, event)))


def _incident(one: Break) -> Incident:
    return Incident(one.after_s, one.what)


def _the_day() -> float:
    """When every scenario is played: the same seed must give the same call, `expires_at` included."""
    return 1_800_000_000.0
