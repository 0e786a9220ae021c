"""The `tautline` command: reads the settings, then hands over. Each command is one function with a short body.

A new command is a function under `@app.command()`; what is slow to import belongs inside it, so that `tautline --help`
stays quick. `load_or_exit` gives it the settings.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import trio
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from admin.services import about
from tautline import db, logs, shared, user
from tautline.options import EXIT_PROBLEM, EXIT_SETTINGS, EnvFile, load, load_or_exit, refused
from tautline.settings import DOCUMENTED, Settings, SettingsError, env_example, load_settings

if TYPE_CHECKING:
    from tautline.doctor import CheckResult

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}

# Tracebacks stay plain: the pretty ones would show local variables, and those hold keys.
app = typer.Typer(
    name="tautline",
    help="A voice relay between Twilio Media Streams and the OpenAI Realtime API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

simulate = typer.Typer(name="simulate", help="Serve a simulator by itself.", no_args_is_help=True)
app.add_typer(simulate)
conformance = typer.Typer(name="conformance", help="Judge any server by what it shows.", no_args_is_help=True)
app.add_typer(conformance)
bench = typer.Typer(name="bench", help="Put any server under load.", no_args_is_help=True)
app.add_typer(bench)
twilio = typer.Typer(name="twilio", help="Set up the Twilio account.", no_args_is_help=True)
app.add_typer(twilio)
app.add_typer(user.app)
app.add_typer(db.app)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Patience = Annotated[float, typer.Option(min=0.1, help="How many seconds to wait for each thing that should come.")]


def main() -> None:
    """The entry point of the installed command."""
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tautline {about.version()}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]


@app.callback()
def root(_version: Version = False) -> None:
    """A voice relay between Twilio Media Streams and the OpenAI Realtime API."""


@app.command()
def serve(
    env_file: EnvFile = None,
    workers: Annotated[int | None, typer.Option(help="So many processes share the port; otherwise WORKERS.")] = None,
    tunnel: Annotated[bool, typer.Option("--tunnel", help="Open a tunnel through ngrok, as ENABLE_NGROK=on.")] = False,
) -> None:
    """Take calls until told to stop."""
    worker = shared.worker_in(os.environ)
    if worker is not None:
        _serve_as(worker)
        return
    options = {"WORKERS": "" if workers is None else str(workers), "ENABLE_NGROK": "on" if tunnel else ""}
    settings = load_or_exit(env_file, **{name: value for name, value in options.items() if value})
    logs.configure_logging(settings.log_level, settings.log_dir, stream=sys.stderr)
    if settings.workers > 1:
        raise typer.Exit(_serve_with_workers(settings))
    from tautline import serve as server  # brings the whole house

    server.run(settings)


def _serve_as(worker: shared.Worker) -> None:
    """Be one of several. The environment has all settings: the parent has read the file, which may have changed."""
    from tautline import serve as server

    settings = load_settings(os.environ, None)
    logs.configure_logging(settings.log_level, settings.log_dir, stream=sys.stderr, file_name=shared.log_file(worker))
    server.run(settings, worker)


def _serve_with_workers(settings: Settings) -> int:
    """Be the parent of several. Returns the exit code."""
    from tautline import workers

    try:
        return workers.run(settings, [sys.executable, *sys.orig_argv[1:]])  # the same command, however it was given
    except SettingsError as error:
        raise refused(error) from None


@app.command("demo")
def show_demo(
    env_file: EnvFile = None,
    live: Annotated[bool, typer.Option("--live", help="Use the real OpenAI; needs OPENAI_API_KEY.")] = False,
    out: Annotated[Path, typer.Option(help="The folder for heard.wav, call.png and call.jsonl.")] = Path("demo"),
) -> None:
    """Hear one whole call on this machine; on a terminal, go on serving afterwards."""
    from tautline.demo import demo  # brings the simulators and the plotting

    settings = load_or_exit(env_file) if live else None
    if settings is not None and settings.openai_api_key is None:
        typer.echo("--live needs OPENAI_API_KEY, for example OPENAI_API_KEY=sk-proj-...", err=True)
        raise typer.Exit(EXIT_SETTINGS)
    logs.configure_logging("warning", None, stream=sys.stderr)
    run = partial(demo, _console(), out, settings, keep_serving=sys.stdin.isatty() and sys.stdout.isatty())
    raise typer.Exit(_run_until_interrupted(run))


@app.command("call")
def place_call(
    audio: Annotated[Path, typer.Option(help="What the caller says: WAV, or raw μ-law at 8 kHz.")],
    webhook: Annotated[str | None, typer.Option(help="A voice webhook that answers with TwiML.")] = None,
    stream: Annotated[str | None, typer.Option(help="A media stream's WebSocket, dialled without a webhook.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write what the caller heard to this WAV file.")] = None,
    as_json: AsJson = False,
    max_seconds: Annotated[float, typer.Option(help="Hang up after so long at the latest.")] = 60.0,
    env_file: EnvFile = None,
) -> None:
    """Simulate a Twilio call against any relay; signed when TWILIO_AUTH_TOKEN is set."""
    from tautline import phone  # brings the simulator

    settings = load_or_exit(env_file)
    logs.configure_logging("warning", None, stream=sys.stderr)
    try:
        order = phone.order(webhook, stream, audio, settings.twilio_auth_token, max_seconds)
    except (OSError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_SETTINGS) from None
    raise typer.Exit(_run_until_interrupted(partial(phone.call, order, _console(), out, as_json=as_json)))


@app.command("replay")
def replay_capture(file: Annotated[Path, typer.Argument(help="A file from CAPTURE_DIR.")]) -> None:
    """Run a captured call through the call machine again; the exit code is 1 when it decides otherwise now."""
    from tautline import replay

    raise typer.Exit(replay.run(file, _console()))


@simulate.command("openai")
def simulate_openai(
    port: Annotated[int, typer.Option(help="The port on this machine; 0 takes any free one.")] = 8765,
    config: Annotated[Path | None, typer.Option(help="A JSON file of knobs: script, faults, pace and others.")] = None,
    set_: Annotated[list[str], typer.Option("--set", help="One knob, NAME=VALUE; may be repeated: pace=1.")] = [],  # noqa: B006 - typer copies it
    fault: Annotated[list[str], typer.Option(help="One fault, NAME=VALUE; may be repeated: http-status=429.")] = [],  # noqa: B006 - as above
    capture: Annotated[Path | None, typer.Option(help="Write each session to a .jsonl file in this folder.")] = None,
    capture_audio: Annotated[bool, typer.Option("--capture-audio", help="Capture the audio, too.")] = False,
) -> None:
    """Serve the OpenAI Realtime simulator; set OPENAI_REALTIME_URL to the address it prints."""
    from tautline.simulate import serve_until_interrupted, simulator_config

    logs.configure_logging("warning", None, stream=sys.stderr)
    try:
        chosen = simulator_config(config, changes=set_, faults=fault, capture=capture, capture_audio=capture_audio)
    except (OSError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_SETTINGS) from None
    _run_until_interrupted(partial(serve_until_interrupted, port, _console(), chosen))


@conformance.command("openai")
def conformance_openai(
    url: Annotated[str, typer.Option(help="The Realtime address, such as ws://127.0.0.1:8765/v1/realtime.")],
    api_key: Annotated[str | None, typer.Option(help="Without it, OPENAI_API_KEY.")] = None,
    patience: Patience = 5.0,
    as_json: AsJson = False,
    env_file: EnvFile = None,
) -> None:
    """Does this server speak the OpenAI Realtime API? 0 yes, 1 a check failed, 2 not reachable."""
    from tautline.conformance import judge_openai  # brings the checks

    key = api_key or load_or_exit(env_file).openai_api_key
    if not key:
        typer.echo("A key is needed: --api-key, or OPENAI_API_KEY. The simulator takes any.", err=True)
        raise typer.Exit(EXIT_SETTINGS)
    logs.configure_logging("warning", None, stream=sys.stderr)
    judge = partial(judge_openai, url, key, _console(), patience_s=patience, json=as_json)
    raise typer.Exit(_run_until_interrupted(judge))


@conformance.command("relay")
def conformance_relay(
    url: Annotated[str, typer.Option(help="Its media stream, such as ws://127.0.0.1:5050/media-stream.")],
    upstream_port: Annotated[int, typer.Option(help="Where OpenAI is played; the relay must connect here.")] = 8766,
    patience: Patience = 2.0,
    as_json: AsJson = False,
    env_file: EnvFile = None,
) -> None:
    """Does this relay carry calls as it should? Plays Twilio and OpenAI. 0 yes, 1 a check failed, 2 not reachable."""
    from tautline.conformance import judge_relay  # brings the checks

    settings = load_or_exit(env_file)
    logs.configure_logging("warning", None, stream=sys.stderr)
    judge = partial(
        judge_relay,
        url,
        upstream_port,
        _console(),
        auth_token=settings.twilio_auth_token,
        public_url=settings.public_url,
        patience_s=patience,
        json=as_json,
    )
    raise typer.Exit(_run_until_interrupted(judge))


@bench.command("relay")
def bench_relay(
    url: Annotated[str, typer.Option(help="Its media stream, such as ws://127.0.0.1:5050/media-stream.")],
    calls: Annotated[int | None, typer.Option(min=1, help="So many at once; 50 without --calls and --ramp.")] = None,
    ramp: Annotated[bool, typer.Option("--ramp", help="Find the most calls with p99 <= 20 ms and no loss.")] = False,
    levels: Annotated[str | None, typer.Option(help="The numbers a ramp climbs: 50,100,200; implies --ramp.")] = None,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long each level is measured.")] = 10.0,
    pid: Annotated[int | None, typer.Option(help="The relay's process: its CPU and memory are read.")] = None,
    profile: Annotated[str, typer.Option(help="What OpenAI's side does: echo, or conversation.")] = "echo",
    upstream_port: Annotated[int, typer.Option(help="Where OpenAI is played; the relay must connect here.")] = 8767,
    seed: Annotated[int, typer.Option(help="Of the conversations; the same seed is the same talk.")] = 1,
    as_json: AsJson = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the result into this PNG; needs tautline[plots].")] = None,
) -> None:
    """How many calls does this relay carry, at what cost? 0 it held, 1 it did not, 2 nothing could be measured."""
    from tautline import bench as load  # brings the load tool

    logs.configure_logging("warning", None, stream=sys.stderr)
    try:
        order = load.order(
            url,
            calls=calls,
            ramp=ramp,
            levels=levels,
            seconds=seconds,
            pid=pid,
            profile=profile,
            upstream_port=upstream_port,
            seed=seed,
            json=as_json,
            plot=plot,
        )
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_SETTINGS) from None
    raise typer.Exit(_run_until_interrupted(partial(load.bench_relay, order, _console())))


@twilio.command("configure-number")
def configure_number(
    number: Annotated[str | None, typer.Option(help="One of the account's numbers; otherwise TWILIO_NUMBER.")] = None,
    url: Annotated[str | None, typer.Option(help="The webhook; otherwise PUBLIC_URL and /incoming-call.")] = None,
    env_file: EnvFile = None,
) -> None:
    """Have calls to a number reported to this server. 0 done, 1 Twilio could or would not, 2 a setting is missing."""
    from tautline import numbers

    try:
        order = numbers.order(load_or_exit(env_file), number, url)
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_SETTINGS) from None
    logs.configure_logging("warning", None, stream=sys.stderr)
    raise typer.Exit(_run_until_interrupted(partial(numbers.configure, order, _console())))


@app.command("settings")
def show_settings(
    env_file: EnvFile = None,
    example: Annotated[bool, typer.Option("--example", help="Print the text of .env.example instead.")] = False,
) -> None:
    """Show every setting: its value with secrets masked, its default, its meaning."""
    if example:
        typer.echo(env_example(), nl=False)
        return
    settings = load_or_exit(env_file)
    _console().print(_settings_table(settings))
    for warning in settings.warnings():
        typer.secho(f"! {warning}", fg="yellow", err=True)


@app.command()
def doctor(env_file: EnvFile = None) -> None:
    """Check this machine and these settings; the exit code is 1 when there is a problem."""
    from tautline.doctor import run_checks, settings_problem  # brings an HTTP client

    try:
        results = trio.run(run_checks, load(env_file))
    except SettingsError as error:
        results = [settings_problem(error)]
    _console().print(_findings(results))
    if any(result.outcome == "problem" for result in results):
        raise typer.Exit(EXIT_PROBLEM)


def _run_until_interrupted(main: Callable[[], Awaitable[int]]) -> int:
    """The exit code of an async main function; an interruption from the keyboard is a normal end."""
    try:
        return trio.run(main)
    except KeyboardInterrupt:
        return 0
    except BaseExceptionGroup as group:
        _, others = group.split(KeyboardInterrupt)
        if others is None:
            return 0
        raise


def _findings(results: "list[CheckResult]") -> Table:
    table = Table.grid(padding=(0, 2))
    for result in results:
        said = Text(result.detail)
        if result.advice:
            said.append(f"\n-> {result.advice}", style="italic")
        table.add_row(Text(result.outcome, style=_COLOURS[result.outcome]), Text(result.name, style="bold"), said)
    return table


def _settings_table(settings: Settings) -> Table:
    table = Table(show_lines=True)
    table.add_column("name", no_wrap=True)
    for heading in ("value", "default", "meaning"):
        table.add_column(heading, overflow="fold")
    defaults = Settings()
    for row in DOCUMENTED:
        table.add_row(row.variable, _cell(row.show(settings)), _cell(row.value(defaults)), _cell(row.meaning))
    return table


def _cell(text: str) -> Text:
    return Text(text or "-")


def _console() -> Console:
    # Nobody's width is known to a pipe or a file; rich would take 80 and break the lines people search in.
    return Console() if sys.stdout.isatty() else Console(width=160)
