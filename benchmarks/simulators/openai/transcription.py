"""Input transcription: a second model writes down the caller's turn, later and on its own account."""

import re
from typing import Final

from benchmarks.simulators.openai.conversation import Conversation, Entry
from benchmarks.simulators.openai.events import Json, Track
from benchmarks.simulators.openai.ids import Ids
from benchmarks.simulators.openai.usage import INPUT_MS_PER_TOKEN, text_tokens

_WORD_PAUSE_S: Final = 0.02
_BILLED_BY_DURATION: Final = ("gpt-realtime-whisper", "whisper-1")
_NOT_STREAMING: Final = ("whisper-1",)


def transcription(model: str, entry: Entry, text: str, *, ids: Ids, conversation: Conversation) -> Track:
    """The events of one turn's transcription: its words, unless the model does not stream, then the whole text."""
    prefix = "conversation.item.input_audio_transcription"
    at = {"item_id": entry.item["id"], "content_index": 0}
    for word in [] if model in _NOT_STREAMING else re.findall(r"\s*\S+", text):
        yield {"type": f"{prefix}.delta", **at, "delta": word, "obfuscation": ids.obfuscation(word)}
        yield _WORD_PAUSE_S
    conversation.transcribe(entry.item["id"], text)
    yield {"type": f"{prefix}.completed", **at, "transcript": text, "usage": _usage(model, entry.audio_ms, text)}


def _usage(model: str, audio_ms: int, text: str) -> Json:
    if model in _BILLED_BY_DURATION:
        return {"type": "duration", "seconds": -(-audio_ms // 1000)}
    heard, written = -(-audio_ms // INPUT_MS_PER_TOKEN), text_tokens(text)
    details = {"audio_tokens": heard, "text_tokens": 0}
    counts = {"input_tokens": heard, "output_tokens": written, "total_tokens": heard + written}
    return {"type": "tokens", **counts, "input_token_details": details}
