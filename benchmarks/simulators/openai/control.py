"""The control endpoint: what a running simulator can be asked and told over plain HTTP, without stopping it.

    GET  /control            the faults of new sessions
    GET  /control/sessions   the live sessions
    POST /control            changes faults, and lets things go wrong at once: an `Order` as JSON

Here are the answers, as plain functions of the request; the server reads and writes the HTTP and lets in this machine
alone.
"""

from collections import deque
from typing import Annotated, Any, Final, Literal

import msgspec
import trio

from benchmarks.simulators.openai.config import Faults, changed
from benchmarks.simulators.openai.connection import Connection
from benchmarks.simulators.openai.events import Disturbance, Json
from benchmarks.simulators.openai.handshake import Upgrade

PATH: Final = "/control"
SESSIONS_PATH: Final = "/control/sessions"
_MOST_UPGRADES: Final = 1000  # remembered
_MOST_DISTURBANCES: Final = 100


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a `POST /control` asks for."""

    faults: dict[str, Any] = {}  # those that change, by name; null turns one off that has no other "off"
    reset: bool = False  # turn all others off
    sessions: Literal["new", "running", "all"] | list[str] = "new"  # or ids of running ones
    now: Annotated[tuple[Disturbance, ...], msgspec.Meta(max_length=_MOST_DISTURBANCES)] = ()  # in running sessions


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer with a JSON body."""

    status: int
    body: Json


class Desk:
    """What is known of a simulator while it runs, and what can be changed.

    Attributes: faults, of new sessions; live, the running ones by id; upgrades, the last 1000 requests for a session.
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.live: dict[str, Connection] = {}
        self.upgrades: deque[Upgrade] = deque(maxlen=_MOST_UPGRADES)
        self._suffered = 0

    def next_faults(self) -> Faults:
        """Those of the connection that now begins."""
        if self.faults.connections is not None and self._suffered >= self.faults.connections:
            return Faults()
        self._suffered += 1
        return self.faults

    def carry_out(self, order: Order) -> list[str]:
        """Does it all or nothing; returns the ids of the running sessions it concerned.

        Raises: ValueError for faults that cannot be, for ids of no running session, and for what cannot be at once.
        """
        concerned = self._concerned(order.sessions)
        if order.now and order.sessions == "new":
            raise ValueError("`now` needs running sessions: say which in `sessions`")
        is_for_new = order.sessions in ("new", "all")
        new_faults = _ordered(self.faults, order) if is_for_new else self.faults
        running = [(one, _ordered(one.session.faults, order)) for one in concerned]
        if is_for_new and (order.faults or order.reset):
            self.faults, self._suffered = new_faults, 0
        for connection, faults in running:
            connection.set_faults(faults)
            connection.disturb(order.now)
        return [connection.session.id for connection in concerned]

    def _concerned(self, sessions: str | list[str]) -> list[Connection]:
        if isinstance(sessions, str):
            return [] if sessions == "new" else list(self.live.values())
        unknown = [one for one in sessions if one not in self.live]
        if unknown:
            raise ValueError(f"there is no running session {unknown[0]!r}")
        return [self.live[one] for one in dict.fromkeys(sessions)]


def answer(method: str, path: str, body: bytes, desk: Desk) -> Answer:
    """What a request to this endpoint is answered."""
    match method, path:
        case "GET", "/control":
            return Answer(200, {"faults": msgspec.to_builtins(desk.faults), "sessions": len(desk.live)})
        case "GET", "/control/sessions":
            return Answer(200, {"sessions": [_shown(connection) for connection in desk.live.values()]})
        case "POST", "/control":
            return _ordered_by_post(body, desk)
        case _, "/control" | "/control/sessions":
            return Answer(405, error_body(f"{method} is not possible here"))
    return Answer(404, error_body(f"there is nothing at {path}"))


def error_body(message: str) -> Json:
    """A refusal in the shape of the service's own."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def _ordered_by_post(body: bytes, desk: Desk) -> Answer:
    try:
        sessions = desk.carry_out(msgspec.json.decode(body, type=Order))
    except (ValueError, RecursionError) as error:  # msgspec's and ours alike
        return Answer(400, error_body(str(error)))
    return Answer(200, {"faults": msgspec.to_builtins(desk.faults), "changed": sessions})


def _ordered(current: Faults, order: Order) -> Faults:
    return changed(Faults() if order.reset else current, order.faults)


def _shown(connection: Connection) -> Json:
    session = connection.session
    return {
        "id": session.id,
        "model": session.model,
        "age_s": round(trio.current_time() - connection.opened_at, 3),
        "is_responding": session.is_responding,
        "upgrade": msgspec.to_builtins(connection.upgrade),
        "faults": msgspec.to_builtins(session.faults),
    }
