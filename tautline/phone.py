"""`tautline call`: one simulated Twilio call against any relay, and what came of it."""

from functools import partial
from pathlib import Path

import msgspec
import trio
from rich.console import Console

from benchmarks.simulators.twilio import CallOptions, CallReport, Conversation, Utterance, place_call
from benchmarks.simulators.twilio.caller import At
from benchmarks.speech.wav import read_mulaw, write_wav
from proto import mulaw

POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1: what a relay closes with that does not let a stream begin a call
LISTEN_FOR_MS = 1_500  # after the last word: the caller hangs up when the agent has been quiet for so long
ADVICE_IF_REFUSED = (
    "The relay closed the stream with 1008 and carried no call. If it has a TWILIO_AUTH_TOKEN it wants a token, which "
    "only its webhook gives: use --webhook, or start it in development without TWILIO_AUTH_TOKEN."
)


class Order(msgspec.Struct, frozen=True):
    """A call to place. audio: the caller's voice, μ-law."""

    options: CallOptions
    audio: bytes


def order(webhook: str | None, stream: str | None, audio: Path, auth_token: str | None, max_seconds: float) -> Order:
    """Check what was asked for.

    Raises: ValueError when it makes no call; OSError when the recording cannot be read.
    """
    if (webhook is None) == (stream is None):
        raise ValueError("give either --webhook URL or --stream URL")
    options = CallOptions(
        webhook_url=webhook,
        stream_url=stream,
        auth_token=auth_token,
        max_seconds=max_seconds,
        allow_insecure=True,  # a relay on this machine has no certificate; wss:// is dialled with TLS all the same
    )
    return Order(options, read_mulaw(audio))


async def call(order: Order, console: Console, out: Path | None, *, as_json: bool) -> int:
    """Place the call, print its report, write what was heard. Returns the exit code: 1 when the call failed."""
    caller = Conversation([Utterance(order.audio, At(0))], hang_up_after_silence_ms=LISTEN_FOR_MS)
    report = await place_call(order.options, caller)
    if out is not None:
        await trio.to_thread.run_sync(partial(write_wav, out, mulaw.decode(report.heard_track)))
    if as_json:
        print(msgspec.json.encode(report).decode())  # noqa: T201 - the one line that was asked for
    else:
        _print_report(console, report)
    was_refused = order.options.stream_url is not None and report.close_code == POLICY_VIOLATION
    if was_refused:
        Console(stderr=True, soft_wrap=True).print(ADVICE_IF_REFUSED, style="bold red", markup=False, highlight=False)
    return 1 if report.error or was_refused else 0


def _print_report(console: Console, report: CallReport) -> None:
    first = "never" if report.first_audio_ms is None else f"{report.first_audio_ms:.0f} ms after start"
    console.print(f"ended by {report.ended_by} after {report.duration_ms} ms; the caller heard {report.heard_ms} ms")
    console.print(f"first audio {first}; {report.frames_sent} frames sent; {report.clears} clears")
    console.print(f"{report.marks_sent} marks received, {report.marks_echoed} echoed; {len(report.warnings)} warnings")
    for warning in report.warnings:
        console.print(f"[yellow]{warning.code}[/] at {warning.at_ms} ms: {warning.detail}")
    if report.error:
        console.print(f"[bold red]{report.error}[/]")
