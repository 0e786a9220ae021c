"""How a call's decisions are said to OpenAI's Realtime API, and what that API's refusals mean.

Pure. Together with proto/realtime.py and the structs of relay/persona.py that become a session's settings, this is all
that is peculiar to this API: the call decides that an item was heard so far, here it becomes a truncate. A model with
another API would bring its own module like this one, and its decoder would give the same events.
"""

from collections.abc import Iterable, Sequence

import msgspec

from proto import realtime
from relay.conversation import pressed_words
from relay.persona import Persona, greeting_config, interrupt_response, session_config
from relay.playout import Heard
from relay.retry import TERMINAL_CODES, Failure, failure_of_code
from relay.seeds import Correction, Seed

# Errors that only say a race went the other way; nothing is to be done about them.
BENIGN_ERROR_CODES = frozenset(
    {
        "response_cancel_not_active",
        "item_truncate_invalid_item_id",
        "item_delete_invalid_item_id",
        "unsupported_content_type",
        "input_audio_buffer_commit_empty",
        "conversation_already_has_active_response",
    }
)
# A truncate, cancel or delete that was refused says no more, whatever its code; a seed that was, is missed in the
# model's memory, and no reason to end its session.
_BENIGN_PURPOSES = ("truncate-", "cancel-", "delete-", "seed-", "output-", "keypad-")
_PROBE = "probe"

NO_ITEM_ID = "none"
_ASIDE = realtime.ResponseConfig(tool_choice="none")


class RealtimeModel:
    """Writes what is to be said in a session. Every event that can fail has an id, unique in the call."""

    def __init__(self, persona: Persona, tools: Sequence[realtime.FunctionTool] = ()) -> None:
        self._persona, self._tools = persona, list(tools)
        self._interrupts_by_itself = interrupt_response(persona)
        self._events_made = 0

    def event_id(self, purpose: str) -> str:
        """The id of the next event, by which a refusal of it is known."""
        self._events_made += 1
        return f"{purpose}-{self._events_made}"

    def configure(self, model: str) -> realtime.UpdateSession:
        """The complete settings. model: which one the session is with, "" if it does not say."""
        return realtime.UpdateSession(self.event_id("configure"), session_config(self._persona, self._tools, model))

    def retell(self, items: Iterable[Seed]) -> list[realtime.CreateItem]:
        """The conversation so far, for a session that does not know it."""
        return [realtime.CreateItem(self.event_id("seed"), item) for item in items]

    def correct(self, correction: Correction) -> list[realtime.DeleteItem | realtime.CreateItem]:
        """What was retold has been heard otherwise: tell it anew."""
        delete = realtime.DeleteItem(self.event_id("delete"), correction.deleted_id)
        if correction.item is None:
            return [delete]
        again = realtime.CreateItem(self.event_id("seed"), correction.item, correction.previous_item_id)
        return [delete, again]

    def say_typed(self, item_id: str, digits: str) -> realtime.CreateItem:
        """The caller pressed keys."""
        content: list[realtime.InputText | realtime.OutputText] = [realtime.InputText(pressed_words(digits))]
        return realtime.CreateItem(
            self.event_id("keypad"), realtime.NewMessage(id=item_id, role="user", content=content)
        )

    def give_output(self, item_id: str, call_id: str, output: str) -> realtime.CreateItem:
        """What came of a function that the model called."""
        given = realtime.NewFunctionOutput(id=item_id, call_id=call_id, output=output)
        return realtime.CreateItem(self.event_id("output"), given)

    def truncate(self, part: Heard) -> realtime.TruncateItem:
        """The caller heard only so much of this part."""
        event_id = self.event_id("truncate")
        return realtime.TruncateItem(event_id, part.key.item_id, part.key.content_index, part.heard_ms)

    def cancel(self, response_ids: Iterable[str], *, caller_speaks: bool) -> list[realtime.CancelResponse]:
        """Stop these responses, unless the service does that by itself because the caller speaks."""
        if caller_speaks and self._interrupts_by_itself:
            return []
        return [realtime.CancelResponse(self.event_id("cancel"), response_id) for response_id in response_ids]

    def probe(self) -> realtime.DeleteItem:
        """A request that changes nothing, for the refusal is a sign of life: there is no such item."""
        return realtime.DeleteItem(self.event_id(_PROBE), NO_ITEM_ID)

    # What a response of ours is to say.

    def greeting(self) -> realtime.ResponseConfig:
        """The persona's greeting."""
        return greeting_config(self._persona)

    def exactly(self, words: str) -> realtime.ResponseConfig:
        """A few words in between, and nothing else."""
        return self._told(f"Say exactly these words and nothing else, then wait: {words}", aside=True)

    def resuming(self) -> realtime.ResponseConfig:
        """The line to the model broke while it spoke."""
        return self._told("The line was bad for a moment, and the caller did not hear the end of what you said. Go on.")

    def wrapping_up(self) -> realtime.ResponseConfig:
        """Little time is left."""
        return self._told("The call must end within half a minute. Say so kindly, and bring the matter to its end.")

    def goodbye(self) -> realtime.ResponseConfig:
        """The last sentence."""
        return self._told("The call ends now. Say goodbye in one short sentence.", aside=True)

    def _told(self, what: str, *, aside: bool = False) -> realtime.ResponseConfig:
        """For one response; its instructions stand in for the session's, so they repeat them. aside: without tools."""
        instructions = f"{self._persona.instructions}\n\n{what}".strip()
        return msgspec.structs.replace(_ASIDE if aside else realtime.ResponseConfig(), instructions=instructions)


def takes_our_audio(session: realtime.Session) -> bool:
    """Both directions are μ-law, as asked for: nothing else may be appended or played."""
    return session.audio.input.format.type == session.audio.output.format.type == "audio/pcmu"


def answers_probe(error: realtime.ErrorDetail) -> bool:
    """The refusal that a probe asks for."""
    return (error.event_id or "").startswith(f"{_PROBE}-")


def is_benign(error: realtime.ErrorDetail) -> bool:
    """It changes nothing."""
    return error.code in BENIGN_ERROR_CODES or (error.event_id or "").startswith(_BENIGN_PURPOSES)


def ends_session(error: realtime.ErrorDetail, *, is_configured: bool) -> Failure | None:
    """Why the session is of no use after this error; None when it goes on.

    Before its settings are in force an error means that they were refused, and another session would not take them
    either: as bad a request as an HTTP 400.
    """
    if error.code == "session_expired" or error.code in TERMINAL_CODES:
        return failure_of_code(error.code)
    if is_configured:
        return None
    if error.type == "server_error":
        return failure_of_code(error.code)
    return Failure(kind="refused", status=400, error_code=error.code)
