"""Runs the demo: server, simulators, one call, the files it leaves."""

import secrets
import socket
from pathlib import Path

import msgspec
import numpy as np
import trio
from rich.console import Console

from benchmarks.simulators.openai import SimulatorConfig
from benchmarks.simulators.twilio import CallOptions, CallReport, place_call
from benchmarks.speech.wav import write_wav
from proto import mulaw
from tautline.demo import story
from tautline.demo.figures import answers, interruptions, transcript
from tautline.demo.picture import draw
from tautline.demo.recorder import Recorder
from tautline.demo.screen import Screen, show_figures
from tautline.openai_settings import SIMULATOR
from tautline.serve import Server
from tautline.settings import Settings
from tautline.simulate import start_simulator

MAX_CALL_S = 120.0


async def demo(console: Console, folder: Path, live: Settings | None, *, keep_serving: bool) -> int:
    """One call, end to end.

    Args: folder, where heard.wav, call.wav, call.png and call.jsonl go; live, settings with a key for the real OpenAI,
    None for the simulator; keep_serving, go on until interrupted.
    Returns: the exit code, 0 when a call was heard.
    """
    async with trio.open_nursery() as nursery:
        with Screen(console) as screen:
            recorder = Recorder(screen.show)
            settings = _settings(live)
            base = "" if live else await _start_simulator(nursery)
            server = Server(settings, recorder, base)
            await nursery.start(server.run)
            report = await _place_call(settings, recorder)
            await server.switchboard.drain()
        _write_files(folder, report, recorder)
        show_figures(console, report, transcript(recorder), answers(recorder), interruptions(recorder))
        console.print(f"\nHear it: {folder}/heard.wav   See it: {folder}/call.png   Every event: {folder}/call.jsonl")
        if report.error:
            console.print(f"[bold red]The call failed:[/] {report.error}")
        elif keep_serving:
            _invite(console, settings)
            await trio.sleep_forever()
        nursery.cancel_scope.cancel()
    return 0 if report.heard_ms and not report.error else 1


async def _start_simulator(nursery: trio.Nursery) -> str:
    base: str = await nursery.start(start_simulator, SimulatorConfig(script=story.script()))
    return base


async def _place_call(settings: Settings, recorder: Recorder) -> CallReport:
    options = CallOptions(
        webhook_url=f"{settings.public_url}/incoming-call",
        auth_token=settings.twilio_auth_token,
        allow_insecure=True,  # ws:// to ourselves
        max_seconds=MAX_CALL_S,
    )
    return await place_call(options, story.caller(), recorder.observe)


def _settings(live: Settings | None) -> Settings:
    """A free port of this machine, and a token of its own: the call is signed and checked like Twilio's."""
    port = _free_port()
    demo_settings = Settings(
        host="127.0.0.1",
        port=port,
        public_url=f"http://127.0.0.1:{port}",
        openai_realtime_url=SIMULATOR,
        openai_api_key="simulated",
        twilio_auth_token=secrets.token_hex(16),
        instructions=story.INSTRUCTIONS,
        greeting=story.GREETING,
    )
    if live is None:
        return demo_settings
    return msgspec.structs.replace(
        demo_settings,
        openai_realtime_url=live.openai_realtime_url,
        openai_realtime_model=live.openai_realtime_model,
        openai_api_key=live.openai_api_key,
        voice=live.voice,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write_files(folder: Path, report: CallReport, recorder: Recorder) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    heard, said = mulaw.decode(report.heard_track), mulaw.decode(report.sent_track)
    write_wav(folder / "heard.wav", heard)
    length = max(len(heard), len(said))
    both = [np.pad(track, (0, length - len(track))) for track in (said, heard)]
    write_wav(folder / "call.wav", np.stack(both, axis=1))  # the caller on the left, the agent on the right
    draw(folder / "call.png", report, recorder)
    recorder.write(folder / "call.jsonl")


def _invite(console: Console, settings: Settings) -> None:
    console.print(
        f"\nStill serving at {settings.public_url}. In another terminal:\n"
        f"  TWILIO_AUTH_TOKEN={settings.twilio_auth_token} tautline call --webhook {settings.public_url}/incoming-call "
        "--audio YOUR.wav --out heard.wav\nCtrl-C ends it."
    )
