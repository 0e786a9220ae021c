"""Session: one realtime session, without its socket. Client events and the time go in, server events come out.

It decides and never waits: `receive` answers at once, and what takes time (a response, a transcription, the end of the
session) is on a timeline that `advance` plays. Whoever drives it calls `advance` at `deadline`, sends what is returned,
and closes the socket once `closing` is set.
"""

from collections.abc import Callable
from typing import Any, Final

from benchmarks.simulators.openai.client_events import MOST_AUDIO_BYTES, check_event, decode
from benchmarks.simulators.openai.config import SimulatorConfig
from benchmarks.simulators.openai.conversation import Conversation, Entry
from benchmarks.simulators.openai.errors import RequestError
from benchmarks.simulators.openai.events import Close, Direction, Json, Track
from benchmarks.simulators.openai.ids import Ids
from benchmarks.simulators.openai.input_audio import InputAudio, Started, Stopped, Turn
from benchmarks.simulators.openai.items import check_item, decoded_audio, split_audio
from benchmarks.simulators.openai.redaction import redacted
from benchmarks.simulators.openai.response_options import response_options
from benchmarks.simulators.openai.responses import CutReason, Response
from benchmarks.simulators.openai.script import Performance
from benchmarks.simulators.openai.session_config import default_session, turn_detection, updated_session
from benchmarks.simulators.openai.timeline import Timeline
from benchmarks.simulators.openai.transcription import transcription
from benchmarks.simulators.openai.usage import Tokens, cached_tokens

MOST_RESPONSES_AT_ONCE: Final = 16  # one writes to the conversation, the others run beside it


class Session:
    """One session, from its socket's upgrade to its end.

    Args: model, from the URL; number, which of the simulator's sessions this is: with the seed it settles all ids.

    Attributes: closing, set when the server ends the session; nothing is sent after the events returned with it.
    """

    def __init__(self, config: SimulatorConfig, model: str, *, number: int, now: float) -> None:
        self.closing: Close | None = None
        self._config = config
        self._now = now
        self._ids = Ids(f"{config.seed}/{number}")
        self._outbox: list[Json] = []
        self._timeline = Timeline()
        self._performance = Performance(config.script)
        self._conversation = Conversation(self._ids.new("conv"))
        self._input = InputAudio(self._ids)
        self._running: dict[str, tuple[Response, Track]] = {}  # by response id
        self._last_input = Tokens()  # of the latest response: what may be cached
        self._has_user_turn = False
        self._settings = default_session(
            model,
            session_id=self._ids.new("sess"),
            expires_at=int(config.wall_clock()) + int(config.session_seconds),
            voice=config.default_voice,
        )
        self._configure_input()
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
    def deadline(self) -> float:
        """When `advance` wants to be called next."""
        return self._timeline.deadline

    def open(self) -> list[Json]:
        """The first events, before the client has said anything."""
        self._emit({"type": "session.created", "session": self._settings})
        self._timeline.start(self._expiry(), self._now)
        return self._drain()

    def receive(self, raw: str | bytes, now: float) -> list[Json]:
        """Handles what a client sent and says what it is answered. Never raises for anything a client can send."""
        self._play(now)
        client_event_id = None
        try:
            event = decode(raw)
            if isinstance(event.get("event_id"), str):
                client_event_id = event["event_id"]
            self._observe("client", event)
            self._handlers[check_event(event)](event)
        except RequestError as refusal:
            self._emit(refusal.event(client_event_id))
        return self._drain()

    def advance(self, now: float) -> list[Json]:
        """What has become due."""
        self._play(now)
        return self._drain()

    # The session

    def _update_session(self, event: Json) -> None:
        self._settings = updated_session(
            self._settings,
            event["session"],
            has_spoken=self._conversation.has_assistant_audio,
            is_responding=self._active() is not None,
        )
        self._configure_input()
        self._emit({"type": "session.updated", "session": self._settings})

    def _configure_input(self) -> None:
        heard = self._settings["audio"]["input"]
        self._input.configure(heard["format"]["type"], turn_detection(self._settings))

    def _expiry(self) -> Track:
        yield self._config.session_seconds
        message = f"Your session hit the maximum duration of {self._config.session_seconds / 60:g} minutes."
        yield RequestError("session_expired", message).event(None)
        self.closing = Close(1001, message)

    # The caller's audio

    def _append(self, event: Json) -> None:
        audio = decoded_audio(event["audio"], "audio")
        if len(audio) > MOST_AUDIO_BYTES:
            message = f"Invalid 'audio': at most {MOST_AUDIO_BYTES} bytes may be appended at once."
            raise RequestError("invalid_value", message, param="audio")
        for change in self._input.append(audio):
            match change:
                case Started(item_id, audio_start_ms):
                    self._speech_started(item_id, audio_start_ms)
                case Stopped(turn, audio_end_ms):
                    self._speech_stopped(turn, audio_end_ms)

    def _commit(self, _event: Json) -> None:
        self._add_turn(self._input.commit())

    def _clear(self, _event: Json) -> None:
        self._input.clear()
        self._emit({"type": "input_audio_buffer.cleared"})

    def _speech_started(self, item_id: str, audio_start_ms: int) -> None:
        started = {"audio_start_ms": audio_start_ms, "item_id": item_id}
        self._emit({"type": "input_audio_buffer.speech_started", **started})
        detection, active = turn_detection(self._settings), self._active()
        if detection is not None and detection.interrupt_response and active is not None:
            self._cut(active, "turn_detected")

    def _speech_stopped(self, turn: Turn, audio_end_ms: int) -> None:
        stopped = {"audio_end_ms": audio_end_ms, "item_id": turn.item_id}
        self._emit({"type": "input_audio_buffer.speech_stopped", **stopped})
        self._add_turn(turn)
        detection = turn_detection(self._settings)
        if detection is None or not detection.create_response:
            return
        try:
            self._start_response({}, is_greeting=False)
        except RequestError as refusal:
            self._emit(refusal.event(None))  # no client event is to blame

    def _add_turn(self, turn: Turn) -> None:
        content = {"type": "input_audio", "transcript": None}
        item = {"id": turn.item_id, "type": "message", "status": "completed", "role": "user", "content": [content]}
        entry = Entry(item, turn.audio, turn.audio_format)
        previous = self._conversation.add(entry)
        committed = {"previous_item_id": previous, "item_id": turn.item_id}
        self._emit({"type": "input_audio_buffer.committed", **committed})
        self._announce(item, previous)
        settings = self._settings["audio"]["input"]["transcription"]
        if settings is not None:
            spoken = self._performance.next_transcript()
            track = transcription(settings["model"], entry, spoken, ids=self._ids, conversation=self._conversation)
            self._timeline.start(track, self._now + self._config.transcription_delay_s)

    # The conversation

    def _create_item(self, event: Json) -> None:
        check_item(event["item"], "item")
        item, audio = split_audio(event["item"])
        item = {"id": self._ids.new("item"), "status": "completed", **item}
        if item["type"] == "function_call":
            item.setdefault("call_id", self._ids.new_call())
        audio_format = self._settings["audio"]["input"]["format"]["type"] if audio else None
        previous = self._conversation.add(Entry(item, audio, audio_format), after=event.get("previous_item_id"))
        self._announce(item, previous)

    def _announce(self, item: Json, previous_item_id: str | None) -> None:
        """A finished item has joined the conversation."""
        self._has_user_turn = self._has_user_turn or item.get("role") == "user"
        for name in ("conversation.item.added", "conversation.item.done"):
            self._emit({"type": name, "previous_item_id": previous_item_id, "item": item})

    def _retrieve_item(self, event: Json) -> None:
        item = self._conversation.retrieve(event["item_id"])
        self._emit({"type": "conversation.item.retrieved", "item": item})

    def _truncate_item(self, event: Json) -> None:
        cut = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
        self._conversation.truncate(**cut)
        self._emit({"type": "conversation.item.truncated", **cut})

    def _delete_item(self, event: Json) -> None:
        self._conversation.delete(event["item_id"])
        self._emit({"type": "conversation.item.deleted", "item_id": event["item_id"]})

    # Responses

    def _create_response(self, event: Json) -> None:
        given: Any = event.get("response")
        given = {} if given is None else given
        self._start_response(given, is_greeting=not self._has_user_turn and _speaks_first(given))

    def _start_response(self, given: Any, *, is_greeting: bool) -> None:
        options = response_options(self._settings, self._conversation, given)
        active = self._active()
        if options.is_in_conversation and active is not None:
            message = (
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise RequestError("conversation_already_has_active_response", message)
        if len(self._running) >= MOST_RESPONSES_AT_ONCE:
            raise RequestError("rate_limit_exceeded", "Too many responses are in progress.", kind="rate_limit_error")
        response = Response(
            self._performance.next_step(is_greeting=is_greeting),
            options,
            cached=cached_tokens(options.input_tokens, self._last_input),
            conversation=self._conversation,
            ids=self._ids,
            config=self._config,
        )
        self._last_input = options.input_tokens
        track = response.stream()
        self._running[response.id] = (response, track)
        self._timeline.start(track, self._now)
        self._play(self._now)  # `response.created` belongs to the burst of what caused it

    def _cancel_response(self, event: Json) -> None:
        response_id = event.get("response_id")
        active = self._running[response_id][0] if response_id in self._running else None
        if response_id is None:
            active = self._active()
        if active is None:
            raise RequestError("response_cancel_not_active", "Cancellation failed: no active response found")
        self._cut(active, "client_cancelled")

    def _active(self) -> Response | None:
        """The response that now writes to the conversation."""
        running = (response for response, _ in self._running.values())
        return next((response for response in running if response.options.is_in_conversation), None)

    def _cut(self, response: Response, reason: CutReason) -> None:
        self._timeline.stop(self._running[response.id][1])
        for event in response.cut(reason):
            self._emit(event)

    # Events out

    def _play(self, now: float) -> None:
        self._now = now
        for event in self._timeline.due(now):
            self._emit(event)

    def _emit(self, event: Json) -> None:
        if self.closing is not None:
            return  # it has said goodbye; a driver that comes late must not hear what would have followed
        named = {"type": event["type"], "event_id": self._ids.new("event"), **event}
        if event["type"] == "response.done":
            self._running.pop(event["response"]["id"], None)
        self._observe("server", named)
        self._outbox.append(named)

    def _drain(self) -> list[Json]:
        events, self._outbox = self._outbox, []
        return events

    def _observe(self, direction: Direction, event: Json) -> None:
        if self._config.observer is not None:
            self._config.observer(self._now, direction, redacted(event))


def _speaks_first(given: Any) -> bool:
    """Whether a `response.create` tells the model what to say, aloud, before anybody else has spoken."""
    return isinstance(given, dict) and "instructions" in given and given.get("conversation", "auto") == "auto"
