"""The built-in OpenAI simulator, for those who have no account: started beside the relay, in the same process."""

from functools import partial

import trio
from rich.console import Console

from benchmarks.simulators.openai import SimulatorConfig, serve


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


async def serve_until_interrupted(port: int, console: Console) -> int:
    """`tautline simulate openai`."""
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(start_simulator, port=port))
        console.print(f"The simulator listens: OPENAI_REALTIME_URL={url}\nCtrl-C ends it.")
    return 0
