"""The conversation: its items in order, what the wire shows of them, and the audio behind them.

It knows which items a client may delete, read or cut short, and refuses the rest in the service's words. Nothing here
knows of time or of who is speaking.
"""

import base64
from typing import Final, Literal

from benchmarks.simulators.openai.audio import BYTES_PER_MS, FormatName, duration_ms
from benchmarks.simulators.openai.checks import RequestError
from benchmarks.simulators.openai.events import Json
from benchmarks.simulators.openai.items import text_cost
from benchmarks.simulators.openai.usage import INPUT_MS_PER_TOKEN, OUTPUT_MS_PER_TOKEN, Tokens

_AUDIO_PARTS: Final = ("input_audio", "output_audio")
ROOT: Final = "root"  # as a predecessor: before everything
_KEPT_AUDIO_BYTES: Final = 32 * 2**20  # of one conversation; beyond it the oldest items can no longer be listened to


class Entry:
    """One item: what the wire shows, and what it does not."""

    def __init__(self, item: Json, audio: bytes = b"", audio_format: FormatName | None = None) -> None:
        self.item = item  # without the audio; replaced, never changed in place: it is in events still queued
        self.audio = bytearray(audio)
        self.audio_format = audio_format  # None: an item without audio
        self.audio_ms = duration_ms(audio, audio_format) if audio_format else 0
        self.is_truncated = False
        self._costed: tuple[Json, int, Tokens] | None = None  # the cost, for each response anew, of this item and audio

    @property
    def is_spoken_by_assistant(self) -> bool:
        return self.audio_format is not None and self.item.get("role") == "assistant"

    def extend(self, audio: bytes) -> None:
        """More audio of an item that is being spoken; what comes after a cut is not kept."""
        if not self.is_truncated and self.audio_format is not None:
            self.audio += audio
            self.audio_ms = duration_ms(self.audio, self.audio_format)

    def tokens(self) -> Tokens:
        """What the item costs as input."""
        if self._costed is None or self._costed[0] is not self.item or self._costed[1] != self.audio_ms:
            ms_per_token = OUTPUT_MS_PER_TOKEN if self.is_spoken_by_assistant else INPUT_MS_PER_TOKEN
            cost = text_cost(self.item) + Tokens(audio=-(-self.audio_ms // ms_per_token))
            self._costed = (self.item, self.audio_ms, cost)
        return self._costed[2]


class Conversation:
    """The conversation of one session."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._entries: dict[str, Entry] = {}
        self._order: list[str] = []

    @property
    def has_assistant_audio(self) -> bool:
        return any(entry.is_spoken_by_assistant and entry.audio_ms for entry in self._entries.values())

    @property
    def has_user_message(self) -> bool:
        return any(entry.item.get("role") == "user" for entry in self._entries.values())

    def add(self, entry: Entry, *, after: str | None = None) -> str | None:
        """Adds an item, by default at the end, and says which one it now follows.

        Raises: RequestError if there is no item `after`, if the id is taken, or if it answers what nobody asked.
        """
        item_id: str = entry.item["id"]
        if item_id in self._entries:
            message = f"Error adding item: an item with id '{item_id}' already exists."
            raise RequestError("item_create_duplicate_item_id", message, param="item.id")
        if entry.item["type"] == "function_call_output" and not self._has_call(entry.item["call_id"]):
            message = f"Tool call ID '{entry.item['call_id']}' not found in conversation."
            raise RequestError("invalid_tool_call_id", message)
        if entry.item["type"] == "mcp_approval_response":
            self._require_approval_request(entry.item["approval_request_id"])
        self._order.insert(self._position_after(after), item_id)
        self._entries[item_id] = entry
        self._drop_oldest_audio()
        return self.predecessor(item_id)

    def predecessor(self, item_id: str) -> str | None:
        """The item before this one; None for the first, or if this one is gone."""
        position = self._order.index(item_id) if item_id in self._entries else 0
        return self._order[position - 1] if position else None

    def entry(self, item_id: str) -> Entry | None:
        """An item that may meanwhile have been deleted."""
        return self._entries.get(item_id)

    def delete(self, item_id: str) -> None:
        """Raises: RequestError if there is no such item."""
        self._find(item_id, "delete", "deleting")
        del self._entries[item_id]
        self._order.remove(item_id)

    def retrieve(self, item_id: str) -> Json:
        """The item with its audio. Raises: RequestError if there is no such item."""
        entry = self._find(item_id, "retrieve", "retrieving")
        if entry.audio_format is None:
            return entry.item
        audio = base64.b64encode(entry.audio).decode()
        parts = [{**part, "audio": audio} if part["type"] in _AUDIO_PARTS else part for part in entry.item["content"]]
        return {**entry.item, "content": parts}

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cuts an assistant's audio down to what was heard, and forgets its transcript, which would say too much.

        Raises: RequestError if there is no such item, if it is not assistant audio, or if it is shorter than that.
        """
        entry = self._find(item_id, "truncate", "truncating")
        if not entry.is_spoken_by_assistant or entry.audio_format is None:
            raise RequestError(None, "Only model output audio messages can be truncated")
        if content_index != 0:
            raise RequestError("invalid_value", "Invalid 'content_index': there is only 0.", param="content_index")
        if audio_end_ms > entry.audio_ms:
            message = f"Audio content of {entry.audio_ms}ms is already shorter than {audio_end_ms}ms"
            raise RequestError("invalid_value", message, param="audio_end_ms")
        del entry.audio[audio_end_ms * BYTES_PER_MS[entry.audio_format] :]
        entry.audio_ms, entry.is_truncated = audio_end_ms, True
        entry.item = _without_transcript(entry.item)

    def finish(self, item_id: str, item: Json) -> None:
        """The final shape of an item that was being produced, if it is still there."""
        entry = self._entries.get(item_id)
        if entry is not None:
            entry.item = _without_transcript(item) if entry.is_truncated else item

    def transcribe(self, item_id: str, transcript: str) -> None:
        """Writes down what the caller was understood to say, if the item is still there."""
        entry = self._entries.get(item_id)
        if entry is not None:
            entry.item = {**entry.item, "content": [{**entry.item["content"][0], "transcript": transcript}]}

    def tokens(self) -> Tokens:
        """All items together, as input of the next response."""
        costs = [entry.tokens() for entry in self._entries.values()]
        return Tokens(sum(cost.text for cost in costs), sum(cost.audio for cost in costs))

    def _has_call(self, call_id: str) -> bool:
        calls = (entry.item for entry in self._entries.values() if entry.item["type"] == "function_call")
        return any(call["call_id"] == call_id for call in calls)

    def _require_approval_request(self, item_id: str) -> None:
        asked = self._entries.get(item_id)
        if asked is None or asked.item["type"] != "mcp_approval_request":
            message = f"Approval request '{item_id}' not found in conversation."
            raise RequestError("invalid_value", message, param="item.approval_request_id")

    def _position_after(self, item_id: str | None) -> int:
        if item_id is None:
            return len(self._order)
        if item_id == ROOT:
            return 0
        if item_id not in self._entries:
            message = f"Error adding item: the previous item with id '{item_id}' does not exist."
            raise RequestError("item_create_invalid_previous_item_id", message, param="previous_item_id")
        return self._order.index(item_id) + 1

    def _find(self, item_id: str, verb: Literal["delete", "retrieve", "truncate"], doing: str) -> Entry:
        if item_id not in self._entries:
            message = f"Error {doing} item: the item with id '{item_id}' does not exist."
            raise RequestError(f"item_{verb}_invalid_item_id", message, param="item_id")
        return self._entries[item_id]

    def _drop_oldest_audio(self) -> None:
        excess = sum(len(entry.audio) for entry in self._entries.values()) - _KEPT_AUDIO_BYTES
        for item_id in self._order:
            if excess <= 0:
                return
            excess -= len(self._entries[item_id].audio)
            self._entries[item_id].audio.clear()


def _without_transcript(item: Json) -> Json:
    return {**item, "content": [{**part, "transcript": None} for part in item["content"]]}
