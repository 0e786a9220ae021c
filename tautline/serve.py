"""The composition root: builds relay and admin from the settings, joins them behind one port, drains at the end."""

import gc
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from functools import partial

import structlog
import trio

from admin.app import Services, create_app
from admin.services import about
from admin.services.personas.previews import Speech
from admin.services.telephone.outcomes import Endings, Outcomes
from admin.services.telephone.reception import Reception
from admin.services.telephone.signature import SETTINGS_HEADER, SIGNATURE_HEADER, TwilioSignature
from admin.store.database import Database
from proto.handshake import RequestHead
from relay import (
    Arrival,
    CallLog,
    Direction,
    Door,
    Entry,
    LogEvent,
    Persona,
    Pump,
    Seats,
    SpareConnections,
    Switchboard,
    TokenBudget,
    TokenGate,
    ToolBox,
    Totals,
    Upstream,
    connect_upstream,
    emit,
    end_call,
    get_time,
    issue_stream_token,
    open_upstream,
)
from tautline.back_office import BackOffice
from tautline.captures import CaptureFolder
from tautline.openai_settings import SIMULATOR
from tautline.phrases import FOLDER, Phrases
from tautline.ports import open_shared_listeners
from tautline.settings import Settings
from tautline.shared import SharedEndings, SharedTokens, SharedTotals, Worker
from tautline.spoken_personas import SpokenPersonas
from tautline.store import open_database
from tautline.tunnel import open_tunnel
from tautline.web import open_web_app

DRAIN_WITHIN_S = 25.0  # container platforms commonly kill after 30
LAG_EVERY_S = 1.0
SHARE_EVERY_S = 1.0  # what workers tell each other of their counters beside each call's beginning and end
SWITCH_INTERVAL_S = 0.0005  # how long a worker thread may keep the pump waiting for the interpreter

_logger = structlog.stdlib.get_logger("tautline.serve")


class LineLog:
    """The call log that writes log lines and keeps nothing."""

    def offer(self, call_sid: str, event: LogEvent) -> None:
        """See relay.CallLog."""
        emit(call_sid, event)


class _Tee:
    """The call log that gives each record to two; the first must do its part whatever becomes of the second."""

    def __init__(self, first: CallLog, second: CallLog) -> None:
        self._first, self._second = first, second

    def offer(self, call_sid: str, event: LogEvent) -> None:
        """See relay.CallLog."""
        self._first.offer(call_sid, event)
        self._second.offer(call_sid, event)


class Server:
    """Relay and admin app behind one port.

    Args: settings; call_log, where the calls' records go; realtime_base, where the built-in simulator listens, if it
    stands in for OpenAI; database, where personas and calls are kept, None to serve without the REST API; worker, who
    this process is among several that share the port, None when it serves alone.
    """

    def __init__(
        self,
        settings: Settings,
        call_log: CallLog,
        realtime_base: str = "",
        *,
        database: Database | None = None,
        worker: Worker | None = None,
    ) -> None:
        self._settings, self._worker = settings, worker
        is_first = worker is None or worker.number == 1
        self._is_draining = False
        self._shared_totals = None if worker is None else SharedTotals(worker)
        self.totals = Totals() if self._shared_totals is None else self._shared_totals.own
        self._pump = Pump()
        self._signature = _signature(settings)
        key = settings.openai_api_key or (SIMULATOR if settings.uses_simulator else "")
        upstream = Upstream(url=settings.realtime_url(realtime_base), api_key=key)
        tls = ssl.create_default_context()
        connect = partial(connect_upstream, upstream, self._pump, tls)
        size = settings.upstream_spares if key else 0  # without a key each would be refused
        self._spares = SpareConnections(connect, size=size, totals=self.totals, model=upstream.model)

        def speech(model: str | None) -> Speech:
            spoken = upstream.with_model(model or "")
            # The spares are for callers, who wait.
            return Speech(connect=partial(open_upstream, spoken, self._pump, tls), service=spoken.url)

        self._spoken = SpokenPersonas(settings.persona(), Phrases(settings.data_dir / FOLDER), speech, renders=is_first)
        self._captures = CaptureFolder(
            settings.capture_dir, version=about.version(), keeps_private=settings.capture_audio == "on"
        )
        self._budget = TokenBudget()
        self._outcomes: Endings = Outcomes() if worker is None else SharedEndings(worker)
        if self._shared_totals is not None:
            call_log = _Tee(self._shared_totals, call_log)
        self.office: BackOffice | None = None
        if database is not None:
            self.office = BackOffice(settings, database, worker, self._spoken, speech if key else None)
            call_log = _Tee(call_log, self.office)
        self.switchboard = Switchboard(
            self._who_answers,
            connect=self._spares.open_line,
            call_log=_Tee(self._outcomes, call_log),
            totals=self.totals,
            open_capture=self._captures.open,
            toolbox=ToolBox([get_time(), end_call()]),
            budget=self._budget,
            gate=_gate(settings, worker),
        )
        self._seats = Seats(settings.limits(), lambda: self.switchboard.begun_calls)

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; reports the port once calls are accepted."""
        services = Services(
            totals=self._all_totals,
            readiness=self._reasons_not_ready,
            signature=self._signature,
            public_url=self._settings.public_url,
            issue_token=_issue_token(self._settings),
            has_room=self._has_room,
            outcomes=self._outcomes,
            staff_number=self._settings.staff_number,
            reception=Reception() if self.office is None else self.office.reception,
            api=None if self.office is None else self.office.api,
            cors_origins=self._settings.allowed_origins(),
            trusted_proxies=self._settings.proxy_networks(),
        )
        async with (
            self._captures.writing(),  # the outermost: the calls below it leave their last lines as they end
            nullcontext() if self.office is None else self.office.at_work(),
            open_web_app(create_app(services)) as serve_web,
            self._spares.filling(),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._pump.run)
            nursery.start_soon(self._measure_lag)
            if self._shared_totals is not None:
                nursery.start_soon(self._share_totals, self._shared_totals)
            if self._settings.renders_phrases:
                await nursery.start(self._spoken.keep_rendered)  # the first call has what is there
            entry = Entry(carry=self.switchboard.carry, serve_web=serve_web, admit=self._admit)
            proxies = self._settings.proxy_networks()
            door = Door(entry, self._pump, self.totals, seats=self._seats, trusted_proxies=proxies)
            listeners = await self._open_listeners()
            await nursery.start(trio.serve_listeners, door.handle, listeners)
            port = listeners[0].socket.getsockname()[1]
            _logger.info("server.started", host=self._settings.host, port=port)
            task_status.started(port)

    async def drain(self) -> None:
        """Take no new calls, let those in progress end, and hang up what is left after the grace period."""
        self._is_draining = True
        _logger.info("server.draining", active_calls=self.switchboard.active_calls)
        if self.office is not None:
            self.office.live.close()  # who watches comes again, and finds another server
        with trio.move_on_after(DRAIN_WITHIN_S):
            await self.switchboard.drain()
        self.switchboard.end_all()
        await self.switchboard.drain()
        _logger.info("server.stopped")

    async def _open_listeners(self) -> list[trio.SocketListener]:
        host, port = self._settings.host, self._settings.port
        if self._worker is None:
            return await trio.open_tcp_listeners(port, host=host)
        return await open_shared_listeners(host, port)

    def _who_answers(self, arrival: Arrival) -> Persona:
        if self.office is None:
            return self._spoken.with_audio(self._spoken.usual)
        return self.office.who_answers(arrival)

    def _all_totals(self) -> Totals:
        """What a scrape is told: of all who share the port."""
        return self.totals if self._shared_totals is None else self._shared_totals.merged()

    def _admit(self, head: RequestHead) -> int | None:
        """Whether a media upgrade may come in: None, or the status that refuses it."""
        if self._is_draining:
            return 503
        if self._signature and not self._signature.websocket(
            head.target, head.header(SIGNATURE_HEADER), settings=head.header(SETTINGS_HEADER)
        ):
            return 403
        return None

    def _has_room(self) -> bool:
        """Whether a call that comes in now would find a place for its stream."""
        now = trio.current_time()
        if self._is_draining or self._seats.reached is not None or not self._budget.has_room(now):
            return False
        self._budget.call_admitted(now)
        return True

    def _reasons_not_ready(self) -> list[str]:
        return ["The server is draining: it ends when its last call does."] if self._is_draining else []

    async def _measure_lag(self) -> None:
        """How late a timer fires: what everybody in this process waits for everybody else."""
        while True:
            due_at = trio.current_time() + LAG_EVERY_S
            await trio.sleep_until(due_at)
            self.totals.loop_lag_ms = (trio.current_time() - due_at) * 1000

    async def _share_totals(self, shared: SharedTotals) -> None:
        while True:
            shared.write()
            await trio.sleep(SHARE_EVERY_S)


def run(settings: Settings, worker: Worker | None = None) -> None:
    """Serve until a signal ends it: what `tautline serve` does, and each worker of `tautline serve --workers N`."""
    if worker is None:
        for warning in settings.warnings():  # a worker's parent has said them
            _logger.warning("settings.incomplete", consequence=warning)
    else:
        structlog.contextvars.bind_contextvars(worker=worker.number)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    trio.run(_run_until_signalled, settings, worker)


async def _run_until_signalled(settings: Settings, worker: Worker | None) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        if worker is not None:  # its parent has opened the tunnel
            await _serve_until(signals, settings, worker)
            return
        async with open_tunnel(settings, settings.port) as served:
            await _serve_until(signals, served, None)


async def _serve_until(signals: AsyncIterator[int], settings: Settings, worker: Worker | None) -> None:
    async with trio.open_nursery() as nursery:
        if worker is not None:
            nursery.start_soon(_end_with_parent)
        base = await _open_simulator(nursery) if settings.uses_simulator else ""
        database = open_database(settings)
        server = Server(settings, LineLog(), base, database=database, worker=worker)
        await nursery.start(server.run)
        gc.freeze()  # what lives as long as the process need not be looked at by every collection
        await anext(aiter(signals))
        nursery.start_soon(_drain_then, server, nursery.cancel_scope.cancel)
        async for received in signals:
            if worker is None or received == signal.SIGINT:  # a worker is forced by its parent, in this word
                break
        nursery.cancel_scope.cancel()
    database.close()


async def _end_with_parent() -> None:
    """A worker's standard input is a pipe that ends when its parent does, and says nothing before."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as lifeline:
        while await lifeline.receive_some():
            pass
    _logger.warning("worker.orphaned", consequence="It ends when its calls have.")
    signal.raise_signal(signal.SIGTERM)


async def _drain_then(server: Server, stop: Callable[[], None]) -> None:
    await server.drain()
    stop()


async def _open_simulator(nursery: trio.Nursery) -> str:
    from tautline.simulate import start_simulator  # only who asks for the simulator loads it

    base: str = await nursery.start(start_simulator)
    return base


def _signature(settings: Settings) -> TwilioSignature | None:
    if settings.twilio_auth_token is None:
        return None
    tokens = [settings.twilio_auth_token, settings.twilio_auth_token_secondary]
    return TwilioSignature(filter(None, tokens), settings.public_url, settings.shared_keys())


def _gate(settings: Settings, worker: Worker | None) -> TokenGate | None:
    if settings.twilio_auth_token is None:
        return None
    if worker is None:
        return TokenGate(settings.twilio_auth_token)
    return TokenGate(settings.twilio_auth_token, spend=SharedTokens(worker).spend)


def _issue_token(settings: Settings) -> Callable[[str, Direction, str], str] | None:
    secret = settings.twilio_auth_token
    if secret is None:
        return None
    return lambda call_sid, direction, version: issue_stream_token(
        secret, call_sid, at=time.time(), direction=direction, persona_version=version
    )
