"""From Twilio's `start` to the first audio at Twilio: a cold connection to OpenAI, a spare one, the cached greeting.

Budget: with the cached greeting under 5 ms (median), and in no call only after OpenAI had answered: zero round trips.
Run: python -m benchmarks.bench_first_audio [--calls 20 --handshake-ms 150 --first-audio-ms 350]. Prints one JSON line.

Real sockets on loopback, one call at a time. Phone, relay and the simulated OpenAI share one process, so each figure
holds a little of the other two's work, never less than the relay's own. The handshake stands for name, TCP, TLS and
upgrade; the first audio for the model's time from the request to its first delta. Both are knobs: a real service's
change with the line, the region and the day. The tail shows how busy the machine is: it is printed, not judged.
"""

import argparse
import platform
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import Final, Literal

import msgspec
import numpy as np
import trio

from benchmarks import arguments, speech
from benchmarks.pump import open_pump
from benchmarks.simulators import openai
from proto import timing, twilio
from proto.websocket import Closed, Received
from relay import (
    Door,
    Entry,
    LogEvent,
    Persona,
    Pump,
    ReplayedStream,
    SpareConnections,
    Switchboard,
    Totals,
    Upstream,
    connect_upstream,
    open_upstream,
)
from relay.log import UpstreamReady
from relay.sockets import MediaSocket

CLAIM: Final = "the cached greeting sounds within 5 ms of `start`, whatever OpenAI takes"
BUDGET_MS: Final = 5.0
CALL_WITHIN_S: Final = 30.0
ASK_EVERY_S: Final = 0.01
WARMUP_CALLS: Final = 2  # of each way: imports, caches, the interpreter's specialisation

Way = Literal["cold", "spare", "cached"]
WAYS: Final[tuple[Way, ...]] = ("cold", "spare", "cached")

_GREETING: Final = speech.clip("greeting")
_CONNECTED: Final = b'{"event":"connected","protocol":"Call","version":"1.0.0"}'
_START: Final = (
    b'{"event":"start","sequenceNumber":"1","start":{"accountSid":"AC%032x","streamSid":"MZ%032x","callSid":"CA%032x",'
    b'"tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},'
    b'"customParameters":{}},"streamSid":"MZ%032x"}'
)
_STOP: Final = b'{"event":"stop","sequenceNumber":"2","streamSid":"MZ%032x"}'
_decoder: msgspec.json.Decoder[twilio.Outbound] = msgspec.json.Decoder(twilio.Outbound)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One way to begin. waited: in how many of the calls OpenAI had taken our settings before anything was heard."""

    way: Way
    p50_ms: float
    p95_ms: float
    p99_ms: float
    waited: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed."""

    claim: str
    budget_ms: float
    within_budget: bool
    calls: int
    handshake_ms: float
    first_audio_ms: float
    rows: tuple[Row, ...]
    python: str


class Options(argparse.Namespace):
    """The command line."""

    calls: int
    handshake_ms: float
    first_audio_ms: float


def main(words: list[str] | None = None) -> int:
    """The command. Returns its exit code: 1 when the budget is not kept."""
    options = _parse(words)
    rows = trio.run(measure, options.calls, options.handshake_ms / 1000, options.first_audio_ms / 1000)
    result = Result(
        claim=CLAIM,
        budget_ms=BUDGET_MS,
        within_budget=is_within_budget(rows),
        calls=options.calls,
        handshake_ms=options.handshake_ms,
        first_audio_ms=options.first_audio_ms,
        rows=rows,
        python=platform.python_version(),
    )
    print(msgspec.json.encode(result).decode())
    return 0 if result.within_budget else 1


def is_within_budget(rows: tuple[Row, ...]) -> bool:
    """The cached greeting was soon enough, and waited for nobody."""
    return all(row.p50_ms <= BUDGET_MS and not row.waited for row in rows if row.way == "cached")


async def measure(calls: int, handshake_s: float, first_audio_s: float) -> tuple[Row, ...]:
    """So many calls of each way, one after the other.

    Raises: RuntimeError when something else than the greeting is heard; TooSlowError when nothing is.
    """
    config = openai.SimulatorConfig(
        first_audio_delay_s=first_audio_s, faults=openai.Faults(upgrade_delay_s=handshake_s)
    )
    async with open_pump() as pump, trio.open_nursery() as nursery:
        port = await nursery.start(partial(openai.serve, config))
        upstream = Upstream(url=f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime-2.1", api_key="bench")
        rows = [await _measure_way(way, calls, upstream, pump) for way in WAYS]
        nursery.cancel_scope.cancel()
    return tuple(rows)


class _Ready:
    """A call log that keeps which calls had a session with OpenAI, configured."""

    def __init__(self) -> None:
        self.call_sids: set[str] = set()

    def offer(self, call_sid: str, event: LogEvent) -> None:
        """See relay.CallLog."""
        if isinstance(event, UpstreamReady):
            self.call_sids.add(call_sid)


class _Relay(msgspec.Struct, frozen=True):
    """A relay that takes calls. url: its media stream; totals: its counters; ready: its call log."""

    url: str
    totals: Totals
    ready: _Ready


async def _measure_way(way: Way, calls: int, upstream: Upstream, pump: Pump) -> Row:
    async with _open_relay(way, upstream, pump) as relay:
        phones = [await _call(way, number, relay, pump) for number in range(WARMUP_CALLS + calls)][WARMUP_CALLS:]
    spread = timing.percentiles(np.asarray([(phone.heard_at - phone.began_at) * 1000 for phone in phones]))
    return Row(
        way=way,
        p50_ms=round(spread.p50, 2),
        p95_ms=round(spread.p95, 2),
        p99_ms=round(spread.p99, 2),
        waited=sum(phone.waited for phone in phones),
    )


async def _call(way: Way, number: int, relay: _Relay, pump: Pump) -> "_Phone":
    phone = _Phone(number, relay.ready)
    with trio.fail_after(CALL_WITHIN_S):
        if way == "spare":
            await _until_spare(relay.totals)
        await phone.call(relay.url, pump)
    return phone


@asynccontextmanager
async def _open_relay(way: Way, upstream: Upstream, pump: Pump) -> AsyncIterator[_Relay]:
    """The media plane as it is served, without the web app."""
    tls, totals, ready = ssl.create_default_context(), Totals(), _Ready()
    audio = _GREETING.mulaw if way == "cached" else b""
    persona = Persona(instructions="", greeting=_GREETING.transcript, greeting_audio=audio)
    size = 1 if way == "spare" else 0
    spares = SpareConnections(partial(connect_upstream, upstream, pump, tls), size=size, totals=totals)
    switchboard = Switchboard(lambda _: persona, connect=spares.open_line, call_log=ready, totals=totals)
    entry = Entry(carry=switchboard.carry, serve_web=_no_web, admit=lambda _: None)
    async with spares.filling(), trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, Door(entry, pump, totals).handle, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        yield _Relay(f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/media-stream", totals, ready)
        await switchboard.drain()
        nursery.cancel_scope.cancel()


async def _until_spare(totals: Totals) -> None:
    for _ in range(round(CALL_WITHIN_S / ASK_EVERY_S)):
        if totals.upstream_spares_waiting:
            return
        await trio.sleep(ASK_EVERY_S)


class _Phone:
    """One call as Twilio carries it, up to the first audio. *_at: monotonic s, of the very moment."""

    def __init__(self, number: int, ready: _Ready) -> None:
        # A MediaSocket takes its part from its peer: who talks to "openai" is a client, and so are we.
        self._socket = MediaSocket("openai", self._on_batch)
        self._number, self._ready = number, ready
        self._audio = b""  # the first
        self._heard, self._ended = trio.Event(), trio.Event()
        self._error: Exception | None = None
        self.waited = False  # for OpenAI
        self.began_at = self.heard_at = 0.0

    async def call(self, url: str, pump: Pump) -> None:
        """Dial, listen until something is heard, hang up."""
        async with (
            open_upstream(Upstream(url=url, api_key=""), pump, ssl.create_default_context()) as line,
            line.attach(self._socket, self._fail),
        ):
            self._socket.send(_CONNECTED)
            self.began_at = perf_counter()
            self._socket.send(_START % (0, self._number, self._number, self._number))
            await self._heard.wait()
            self._socket.send(_STOP % self._number)
            await self._ended.wait()
        if self._error is not None or not _GREETING.mulaw.startswith(self._audio):
            raise RuntimeError("something else than the greeting was heard") from self._error

    def _on_batch(self, received: list[Received]) -> None:
        now = perf_counter()
        for message in received:
            if isinstance(message, bytes) and not self._heard.is_set():
                self._on_message(_decoder.decode(message), now)
            elif isinstance(message, Closed):
                self._heard.set()
                self._ended.set()

    def _on_message(self, message: twilio.Outbound, now: float) -> None:
        if isinstance(message, twilio.Play):
            self._audio, self.heard_at = message.media.payload, now
            self.waited = f"CA{self._number:032x}" in self._ready.call_sids
            self._heard.set()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._heard.set()
        self._ended.set()


async def _no_web(_stream: ReplayedStream) -> None:
    raise AssertionError("nobody asked for a page")


def _parse(words: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(description="From Twilio's start to the first audio at Twilio.")
    parser.add_argument("--calls", type=arguments.count, default=20, help="of each way")
    parser.add_argument("--handshake-ms", type=_delay_ms, default=150.0, help="until OpenAI has accepted a connection")
    parser.add_argument("--first-audio-ms", type=_delay_ms, default=350.0, help="from the request to the first delta")
    return parser.parse_args(words, namespace=Options())


def _delay_ms(text: str) -> float:
    if not 0 <= (number := float(text)) <= 10_000:
        raise argparse.ArgumentTypeError("from 0 to 10000")
    return number


if __name__ == "__main__":
    sys.exit(main())
