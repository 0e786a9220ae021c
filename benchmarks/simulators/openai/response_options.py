"""ResponseOptions: what one response may use, the session's settings with `response.create` laid over them."""

from typing import Any, Literal

import msgspec

from benchmarks.simulators.openai.audio import FormatName
from benchmarks.simulators.openai.conversation import Conversation
from benchmarks.simulators.openai.errors import RequestError, missing_parameter
from benchmarks.simulators.openai.events import Json
from benchmarks.simulators.openai.items import check_item, text_cost
from benchmarks.simulators.openai.session_config import is_reasoning_model, voice_is_fixed
from benchmarks.simulators.openai.session_fields import RESPONSE
from benchmarks.simulators.openai.usage import Tokens, text_tokens


class ResponseOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settled when the response is created; an update meanwhile touches only later ones."""

    output_modalities: list[Literal["audio", "text"]]
    max_output_tokens: int | Literal["inf"]
    audio: Json  # {"output": {"format", "voice"}}, as the response object shows it
    is_in_conversation: bool  # else it adds nothing to the conversation and runs beside other responses
    metadata: dict[str, str] | None
    input_tokens: Tokens
    is_reasoning: bool  # models of the 2.x family think before they speak, and say which messages are asides

    @property
    def audio_format(self) -> FormatName:
        name: FormatName = self.audio["output"]["format"]["type"]
        return name


def response_options(session: Json, conversation: Conversation, given: Any) -> ResponseOptions:
    """The options of a response that `given`, the `response` of a `response.create`, asks for; {} is a bare one.

    Raises: RequestError for the first thing that is wrong.
    """
    RESPONSE(given, "response")
    spoken = given.get("audio", {}).get("output", {})
    usual = session["audio"]["output"]
    is_in_conversation = given.get("conversation", "auto") == "auto"
    if (
        is_in_conversation
        and conversation.has_assistant_audio
        and spoken.get("voice", usual["voice"]) != usual["voice"]
    ):
        raise voice_is_fixed("response.audio.output.voice")
    return ResponseOptions(
        output_modalities=given.get("output_modalities", session["output_modalities"]),
        max_output_tokens=given.get("max_output_tokens", session["max_output_tokens"]),
        audio={"output": {key: spoken.get(key, usual[key]) for key in ("format", "voice")}},
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
