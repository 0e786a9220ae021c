"""Usage: how many tokens a response is said to have cost. Audio is counted as the service counts it, text estimated."""

import math
from typing import Final, Literal

import msgspec

from benchmarks.simulators.openai.events import Json

INPUT_MS_PER_TOKEN: Final = 100
OUTPUT_MS_PER_TOKEN: Final = 50
CHARACTERS_PER_TOKEN: Final = 4
_CACHE_BLOCK: Final = 64  # only whole blocks of a repeated beginning are cached
_TOKENS_PER_MINUTE: Final = 15_000_000


class Tokens(msgspec.Struct, frozen=True):
    """Counts of one kind of use: all input of a response, or all output."""

    text: int = 0
    audio: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.text + other.text, self.audio + other.audio)

    @property
    def total(self) -> int:
        return self.text + self.audio


def text_tokens(text: str) -> int:
    """About four characters make a token."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def cached_tokens(current: Tokens, previous: Tokens) -> Tokens:
    """What of this input the previous response had read already, in whole blocks of 64."""
    repeated = Tokens(min(current.text, previous.text), min(current.audio, previous.audio))
    return Tokens(repeated.text // _CACHE_BLOCK * _CACHE_BLOCK, repeated.audio // _CACHE_BLOCK * _CACHE_BLOCK)


def usage_object(given: Tokens, cached: Tokens, produced: Tokens, reasoning: int | None) -> Json:
    """The `usage` of a response; `reasoning`, part of the text produced, only for models that reason."""
    produced_details = {"text_tokens": produced.text, "audio_tokens": produced.audio}
    if reasoning is not None:
        produced_details["reasoning_tokens"] = reasoning
    return {
        "total_tokens": given.total + produced.total,
        "input_tokens": given.total,
        "output_tokens": produced.total,
        "input_token_details": {
            "text_tokens": given.text,
            "audio_tokens": given.audio,
            "image_tokens": 0,
            "cached_tokens": cached.total,
            "cached_tokens_details": {"text_tokens": cached.text, "audio_tokens": cached.audio, "image_tokens": 0},
        },
        "output_token_details": produced_details,
    }


class Meter:
    """What a response has produced so far, in tokens, against its limit.

    Attributes: reasoning, tokens; audio_ms, spoken so far; is_spent, whether anything was refused.
    """

    def __init__(self, limit: int | Literal["inf"]) -> None:
        self._limit = math.inf if limit == "inf" else limit
        self.reasoning = 0
        self._characters = 0
        self.audio_ms = 0.0
        self.is_spent = False  # something was refused, so the response must end

    @property
    def tokens(self) -> Tokens:
        text = self.reasoning + math.ceil(self._characters / CHARACTERS_PER_TOKEN)
        return Tokens(text, math.ceil(self.audio_ms / OUTPUT_MS_PER_TOKEN))

    def think(self, tokens: int) -> None:
        """Reasoning comes first and counts as text."""
        self.reasoning = int(min(tokens, self._limit))

    def admits(self, *, text: str = "", audio_ms: float = 0.0) -> bool:
        """Counts this in, unless it goes beyond the limit."""
        self._characters += len(text)
        self.audio_ms += audio_ms
        if self.tokens.total <= self._limit:
            return True
        self._characters -= len(text)
        self.audio_ms -= audio_ms
        self.is_spent = True
        return False


def rate_limits(used: int) -> Json:
    """The `rate_limits.updated` event after a response of so many tokens."""
    tokens = {
        "name": "tokens",
        "limit": _TOKENS_PER_MINUTE,
        "remaining": _TOKENS_PER_MINUTE - used,
        "reset_seconds": round(60 * used / _TOKENS_PER_MINUTE, 3),
    }
    return {"type": "rate_limits.updated", "rate_limits": [tokens]}
