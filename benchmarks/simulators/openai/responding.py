"""Responding: which responses run, with which options, and how they are cut short.

One response at a time writes to the conversation; others may run beside it. What a fault does to a response as a whole
(disturbances on its way, stray deltas, a `response.done` that comes late) happens here; what it does to single events,
on the stage.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from benchmarks.simulators.openai.checks import RequestError, missing_parameter
from benchmarks.simulators.openai.conversation import Conversation
from benchmarks.simulators.openai.events import Disturbance, Json, Track
from benchmarks.simulators.openai.items import check_item, text_cost
from benchmarks.simulators.openai.responses import CutReason, Response, ResponseOptions
from benchmarks.simulators.openai.session_config import is_reasoning_model, voice_is_fixed
from benchmarks.simulators.openai.session_fields import RESPONSE
from benchmarks.simulators.openai.stage import Stage
from benchmarks.simulators.openai.usage import Tokens, cached_tokens, text_tokens

MOST_RESPONSES_AT_ONCE: Final = 16  # one writes to the conversation, the others run beside it
LATE_DONE_S: Final = 10.0  # how long a late `response.done` waits for another response to be created


class Responding:
    """The responses of one session.

    Attributes: when_created, when_done, called for each response of the conversation as soon as that was said.
    """

    def __init__(self, stage: Stage) -> None:
        self.when_created: Callable[[], None] = _nothing
        self.when_done: Callable[[Response], None] = _ignore
        self._stage = stage
        self._running: dict[str, tuple[Response, Track]] = {}  # by response id
        self._late: list[Json] = []  # ends of cancelled responses, not told yet
        self._last_input = Tokens()  # of the latest response: what may be cached

    @property
    def active(self) -> Response | None:
        """The response that now writes to the conversation."""
        running = (response for response, _ in self._running.values())
        return next((response for response in running if response.options.is_in_conversation), None)

    def create(self, given: Any) -> None:
        """`response.create` with this `response`. Raises: RequestError if it cannot be."""
        is_greeting = not self._stage.conversation.has_user_message and _speaks_first(given)
        options = response_options(self._stage.settings, self._stage.conversation, given)
        self._refuse_too_many(options)
        scene = self._stage.performance.next_scene(is_greeting=is_greeting)
        cached = cached_tokens(options.input_tokens, self._last_input)
        response = Response(scene, options, cached=cached, stage=self._stage)
        self._last_input = options.input_tokens
        track = self._performed(response, (*scene.disturbances, *self._stage.faults.disturbances()))
        self._running[response.id] = (response, track)
        self._stage.timeline.start(track, self._stage.now)
        self._stage.play(self._stage.now)  # `response.created` belongs to the burst of what caused it

    def create_automatically(self) -> None:
        """The service responds by itself; if it cannot, no client event is to blame."""
        try:
            self.create({})
        except RequestError as refusal:
            self._stage.emit(refusal.event(None))

    def cancel(self, response_id: str | None) -> None:
        """`response.cancel`; None is the active one. Raises: RequestError if there is no such response."""
        response = self._running[response_id][0] if response_id in self._running else None
        if response_id is None:
            response = self.active
        if response is None:
            raise RequestError("response_cancel_not_active", "Cancellation failed: no active response found")
        self._cut(response, "client_cancelled")

    def interrupt(self) -> None:
        """The caller speaks: whatever is being said ends."""
        active = self.active
        if active is not None:
            self._cut(active, "turn_detected")

    def _refuse_too_many(self, options: ResponseOptions) -> None:
        active = self.active
        if options.is_in_conversation and active is not None:
            message = (
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise RequestError("conversation_already_has_active_response", message)
        if len(self._running) >= MOST_RESPONSES_AT_ONCE:
            raise RequestError("rate_limit_exceeded", "Too many responses are in progress.", kind="rate_limit_error")

    def _performed(self, response: Response, disturbances: tuple[Disturbance, ...]) -> Track:
        """The response, with what goes wrong on its way and what its beginning and end bring about."""
        ahead = sorted(disturbances, key=lambda one: one.after_audio_ms)
        for step in response.stream():
            if response.is_done and response.id in self._running:
                yield from ahead
                ahead = []
                yield step
                self._ended(response)
                continue
            yield step
            if isinstance(step, dict) and step["type"] == "response.created":
                yield from self._told_late()
                self._began(response)
            while ahead and isinstance(step, dict) and ahead[0].after_audio_ms <= response.audio_ms:
                yield ahead.pop(0)

    def _cut(self, response: Response, reason: CutReason) -> None:
        self._stage.timeline.stop(self._running[response.id][1])
        faults = self._stage.faults
        for event in response.cut(reason, stray_deltas=faults.stray_deltas):
            if faults.late_done and response.is_done:
                self._late.append(event)
            else:
                self._stage.emit(event)
        if self._late:
            self._stage.timeline.start(self._told_late(), self._stage.now + LATE_DONE_S)
        self._ended(response)

    def _told_late(self) -> Track:
        late, self._late = self._late, []
        yield from late

    def _began(self, response: Response) -> None:
        if response.options.is_in_conversation:
            self.when_created()

    def _ended(self, response: Response) -> None:
        del self._running[response.id]
        if response.options.is_in_conversation:
            self.when_done(response)


def response_options(session: Json, conversation: Conversation, given: Any) -> ResponseOptions:
    """The options of a response that `given`, the `response` of a `response.create`, asks for; {} is a bare one.

    Raises: RequestError for the first thing that is wrong.
    """
    RESPONSE(given, "response")
    spoken = given.get("audio", {}).get("output", {})
    usual = session["audio"]["output"]
    is_in_conversation = given.get("conversation", "auto") == "auto"
    is_other_voice = spoken.get("voice", usual["voice"]) != usual["voice"]
    if is_in_conversation and conversation.has_assistant_audio and is_other_voice:
        raise voice_is_fixed("response.audio.output.voice")
    return ResponseOptions(
        output_modalities=given.get("output_modalities", session["output_modalities"]),
        max_output_tokens=given.get("max_output_tokens", session["max_output_tokens"]),
        audio={"output": {key: spoken.get(key, usual[key]) for key in ("format", "voice")}},
        may_call_tools=given.get("tool_choice", session["tool_choice"]) != "none",
        is_in_conversation=is_in_conversation,
        metadata=given.get("metadata"),
        input_tokens=_prompt_cost({**session, **given}) + _context_cost(conversation, given.get("input")),
        is_reasoning=is_reasoning_model(session["model"]),
    )


def _prompt_cost(settings: Json) -> Tokens:
    tools = msgspec.json.encode(settings["tools"]).decode() if settings["tools"] else ""
    return Tokens(text=text_tokens(settings["instructions"]) + text_tokens(tools))


def _context_cost(conversation: Conversation, items: list[Any] | None) -> Tokens:
    """What the model reads: the conversation, or instead of it the items that the client names."""
    if items is None:
        return conversation.tokens()
    costs = (_item_cost(conversation, item, f"response.input[{index}]") for index, item in enumerate(items))
    return sum(costs, Tokens())


def _item_cost(conversation: Conversation, item: Any, path: str) -> Tokens:
    if not isinstance(item, dict) or item.get("type") != "item_reference":
        check_item(item, path)
        return text_cost(item)
    if "id" not in item:
        raise missing_parameter(f"{path}.id")
    entry = conversation.entry(item["id"])
    if entry is None:
        message = f"Error referencing item: the item with id '{item['id']}' does not exist."
        raise RequestError("invalid_value", message, param=f"{path}.id")
    return entry.tokens()


def _speaks_first(given: Any) -> bool:
    """Whether a `response.create` tells the model what to say, aloud, before anybody else has spoken."""
    return isinstance(given, dict) and "instructions" in given and given.get("conversation", "auto") == "auto"


def _nothing() -> None:
    pass


def _ignore(_response: Response) -> None:
    pass
