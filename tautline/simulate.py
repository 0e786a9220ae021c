"""The built-in OpenAI simulator, for those who have no account: started beside the relay, in the same process."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import trio
from rich.console import Console

from benchmarks.simulators.openai import (
    Knobs,
    SimulatorConfig,
    changed,
    changes_from_pairs,
    configured,
    knobs_from_json,
    serve,
)


def simulator_config(
    file: Path | None = None,
    *,
    changes: Sequence[str] = (),
    faults: Sequence[str] = (),
    capture: Path | None = None,
    capture_audio: bool = False,
) -> SimulatorConfig:
    """A command line's wishes; each goes over what the file says.

    Args: file, knobs as JSON; changes, of knobs, and faults, each a NAME=VALUE; capture, the folder for .jsonl files.
    Raises: ValueError for anything that cannot be, naming it; OSError for a file that cannot be read.
    """
    knobs = Knobs() if file is None else _read(file)
    knobs = changed(knobs, changes_from_pairs(changes), strict=False)
    wanted = changed(knobs.faults, changes_from_pairs(faults), strict=False)
    knobs = msgspec.structs.replace(knobs, faults=wanted)
    if capture is not None:
        knobs = msgspec.structs.replace(knobs, capture_dir=str(capture), capture_audio=capture_audio)
    return configured(knobs)


async def start_simulator(
    config: SimulatorConfig | None = None,
    port: int = 0,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the simulator on this machine; reports its Realtime URL, without a model. port: 0 for any free one."""
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(serve, config or SimulatorConfig(), port=port))
        task_status.started(f"ws://127.0.0.1:{port}/v1/realtime")


async def serve_until_interrupted(port: int, console: Console, config: SimulatorConfig | None = None) -> int:
    """`tautline simulate openai`."""
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(partial(start_simulator, config, port))
        control = url.replace("ws:", "http:").replace("/v1/realtime", "/control")
        console.print(f"The simulator listens: OPENAI_REALTIME_URL={url}\nIts faults: {control}\nCtrl-C ends it.")
    return 0


def _read(file: Path) -> Knobs:
    try:
        return knobs_from_json(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
