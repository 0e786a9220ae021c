"""Session: one realtime session, without its socket. Client events and the time go in, messages come out.

It decides and never waits: `receive` answers at once, and what takes time (a response, a transcription, the end of the
session) is on the stage's timeline, which `advance` plays. Whoever drives it calls `advance` at `deadline`, sends what
is returned, and ends the connection once `closing` is set.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from benchmarks.simulators.openai.checks import RequestError
from benchmarks.simulators.openai.client_events import check_event, decode
from benchmarks.simulators.openai.config import Faults, Observer, SimulatorConfig
from benchmarks.simulators.openai.conversation import Entry
from benchmarks.simulators.openai.events import Close, Disturbance, Ending, Incident, Json, Track
from benchmarks.simulators.openai.items import check_item, decoded_audio, split_audio
from benchmarks.simulators.openai.mcp import listing, server_labels, server_of
from benchmarks.simulators.openai.responding import Responding
from benchmarks.simulators.openai.session_config import default_session, updated_session
from benchmarks.simulators.openai.stage import Message, Stage
from benchmarks.simulators.openai.turns import Turns

_LONGEST_OBSERVED: Final = 1000  # characters of what is no JSON


class Session:
    """One session, from its socket's upgrade to its end.

    Args: model, from the URL; number, which of the simulator's sessions this is: with the seed it settles all ids;
    observers, beside the configured one.
    """

    def __init__(
        self, config: SimulatorConfig, model: str, *, number: int, now: float, observers: tuple[Observer, ...] = ()
    ) -> None:
        if config.observer is not None:
            observers = (config.observer, *observers)
        self._config = config
        self._stage = Stage(config, number=number, now=now, observers=observers)
        self._lifetime_s = config.session_seconds / config.time_scale
        self._stage.settings = default_session(
            model,
            session_id=self._stage.ids.new("sess"),
            expires_at=int(config.wall_clock()) + int(self._lifetime_s),
            voice=config.default_voice,
        )
        self._responding = Responding(self._stage)
        self._turns = Turns(self._stage, self._responding)
        self._turns.configure()
        self._handlers: dict[str, Callable[[Json], None]] = {
            "session.update": self._update_session,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.truncate": self._truncate_item,
            "conversation.item.delete": self._delete_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
        }

    # What the driver calls

    @property
    def id(self) -> str:
        session_id: str = self._stage.settings["id"]
        return session_id

    @property
    def model(self) -> str:
        model: str = self._stage.settings["model"]
        return model

    @property
    def is_responding(self) -> bool:
        return self._responding.active is not None

    @property
    def deadline(self) -> float:
        """When `advance` wants to be called next."""
        return self._stage.deadline

    @property
    def is_idle(self) -> bool:
        """Whether more silence from the caller would be answered by nothing before `deadline`."""
        return self.closing is None and self._turns.is_idle

    @property
    def closing(self) -> Ending | None:
        """How the server ends the session; nothing is sent after the messages returned with it."""
        return self._stage.closing

    @property
    def faults(self) -> Faults:
        """What goes wrong from now on; it can be changed at any time."""
        return self._stage.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._stage.faults = faults

    def open(self) -> list[Message]:
        """The first events, before the client has said anything."""
        self._stage.emit({"type": "session.created", "session": self._stage.settings})
        if self._config.conversation_created:
            conversation = {"id": self._stage.conversation.id, "object": "realtime.conversation"}
            self._stage.emit({"type": "conversation.created", "conversation": conversation})
        self._stage.timeline.start(self._expiry(), self._stage.now)
        for incident in self._config.incidents:
            self._stage.timeline.start(_happens(incident), self._stage.now)
        self._stage.play(self._stage.now)
        return self._stage.drain()

    def receive(self, raw: str | bytes, now: float) -> list[Message]:
        """Handles what a client sent and says what it is answered. Never raises for anything a client can send."""
        said = self.advance(now)
        client_event_id = None
        try:
            event = self._observed(raw)
            if isinstance(event.get("event_id"), str):
                client_event_id = event["event_id"]
            self._handlers[check_event(event)](event)
        except RequestError as refusal:
            self._stage.emit(refusal.event(client_event_id))
        return said + self._stage.drain()

    def receive_silence(self, raw: str | bytes, times: Sequence[float]) -> None:
        """What `receive` does with the same append of silence at each of these times, for much less.

        Args: times, s, at least one, in order; the session must be `is_idle`, and they lie before its `deadline`.
        Raises: ValueError if there is speech in it; RequestError if it is no append.
        """
        event = decode(raw)
        check_event(event)
        self._stage.observe("client", event, times=times)
        self._stage.now = times[-1]
        self._turns.append_silence(decoded_audio(event["audio"], "audio"), len(times))

    def advance(self, now: float) -> list[Message]:
        """What has become due."""
        self._stage.play(now)
        return self._stage.drain()

    def disturb(self, disturbance: Disturbance, now: float) -> list[Message]:
        """Something goes wrong now; what is due is said before it."""
        said = self.advance(now)
        self._stage.disturb(disturbance)
        return said + self._stage.drain()

    def _observed(self, raw: str | bytes) -> Json:
        try:
            event = decode(raw)
        except RequestError:
            self._stage.observe("client", str(raw[:_LONGEST_OBSERVED]))
            raise
        self._stage.observe("client", event)
        return event

    # The session

    def _update_session(self, event: Json) -> None:
        before = set(server_labels(self._stage.settings["tools"]))
        self._stage.settings = updated_session(
            self._stage.settings,
            event["session"],
            has_spoken=self._stage.conversation.has_assistant_audio,
            is_responding=self.is_responding,
        )
        self._turns.configure()
        self._stage.emit({"type": "session.updated", "session": self._stage.settings})
        for label in server_labels(self._stage.settings["tools"]):
            if label not in before:
                self._stage.timeline.start(listing(server_of(self._config.script, label), self._stage), self._stage.now)
        self._stage.play(self._stage.now)

    def _expiry(self) -> Track:
        yield self._lifetime_s
        message = f"Your session hit the maximum duration of {self._config.session_seconds / 60:g} minutes."
        if self._config.expiry_error:
            yield RequestError("session_expired", message).event(None)
        yield Close(1001, message)

    # The caller's audio

    def _append(self, event: Json) -> None:
        self._turns.append(decoded_audio(event["audio"], "audio"))

    def _commit(self, _event: Json) -> None:
        self._turns.commit()

    def _clear(self, _event: Json) -> None:
        self._turns.clear()

    # The conversation

    def _create_item(self, event: Json) -> None:
        check_item(event["item"], "item")
        item, audio = split_audio(event["item"])
        item = {"id": self._stage.ids.new("item"), **item}
        if item["type"] != "mcp_approval_response":  # the one kind that has no status
            item.setdefault("status", "completed")
        if item["type"] == "function_call":
            item.setdefault("call_id", self._stage.ids.new_call())
        audio_format = self._stage.settings["audio"]["input"]["format"]["type"] if audio else None
        self._stage.add(Entry(item, audio, audio_format), after=event.get("previous_item_id"))

    def _retrieve_item(self, event: Json) -> None:
        item = self._stage.conversation.retrieve(event["item_id"])
        self._stage.emit({"type": "conversation.item.retrieved", "item": item})

    def _truncate_item(self, event: Json) -> None:
        cut = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
        self._stage.conversation.truncate(**cut)
        self._stage.emit({"type": "conversation.item.truncated", **cut})

    def _delete_item(self, event: Json) -> None:
        self._stage.conversation.delete(event["item_id"])
        self._stage.emit({"type": "conversation.item.deleted", "item_id": event["item_id"]})

    # Responses

    def _create_response(self, event: Json) -> None:
        given: Any = event.get("response")
        self._responding.create({} if given is None else given)

    def _cancel_response(self, event: Json) -> None:
        self._responding.cancel(event.get("response_id"))


def _happens(incident: Incident) -> Track:
    yield incident.after_s
    yield incident.what
