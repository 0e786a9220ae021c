"""What a call costs at OpenAI, from what it used and the prices in model_prices.json. Pure but for reading that file.

A price that is not in the file is not guessed: then the cost is unknown.
"""

from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from relay import TokenUsage

FILE: Final = Path(__file__).with_name("model_prices.json")
SECONDS_PER_MINUTE: Final = 60
MILLIONTHS_PER_USD: Final = 1_000_000


class Transcription(msgspec.Struct, frozen=True, kw_only=True):
    """What writing down the caller's words took. model: None where it was off. Charged by time or by tokens."""

    model: str | None
    audio_s: float = 0.0
    tokens: int = 0


class TokenPrices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one realtime model, in USD per million tokens: which is millionths of a USD per token."""

    text_in: float
    text_cached: float
    text_out: float
    audio_in: float
    audio_cached: float
    audio_out: float


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. as_of: when the prices were looked up; source: where."""

    as_of: date
    source: str
    realtime_usd_per_million_tokens: dict[str, TokenPrices]
    transcription_usd_per_minute: dict[str, float]


@cache
def prices() -> Prices:
    """The prices that this version knows."""
    return msgspec.json.decode(FILE.read_bytes(), type=Prices)


def cost_usd_millionths(
    model: str, usage: TokenUsage, transcription: Transcription, *, known: Prices | None = None
) -> int | None:
    """What it costs, in millionths of a US dollar; None where a price is not known, or what kind a token was.

    Args: usage, of all responses; known, usually `prices()`.
    """
    listed = known or prices()
    price = listed.realtime_usd_per_million_tokens.get(model)
    speaking = _token_cost(usage, price) if _tells_all_kinds(usage) else None
    transcribing = _transcription_cost(transcription, listed)
    return None if speaking is None or transcribing is None else round(speaking + transcribing)


def _tells_all_kinds(usage: TokenUsage) -> bool:
    """Whether each token is of a kind that has a price; those of pictures, for example, are not among them."""
    given = usage.input_text_tokens + usage.input_audio_tokens
    made = usage.output_text_tokens + usage.output_audio_tokens
    return (given, made) == (usage.input_tokens, usage.output_tokens)


def _token_cost(usage: TokenUsage, price: TokenPrices | None) -> float | None:
    if usage == TokenUsage():
        return 0.0
    if price is None:
        return None
    return (
        (usage.input_text_tokens - usage.cached_text_tokens) * price.text_in
        + usage.cached_text_tokens * price.text_cached
        + usage.output_text_tokens * price.text_out
        + (usage.input_audio_tokens - usage.cached_audio_tokens) * price.audio_in
        + usage.cached_audio_tokens * price.audio_cached
        + usage.output_audio_tokens * price.audio_out
    )


def _transcription_cost(used: Transcription, listed: Prices) -> float | None:
    if used.audio_s == 0 and used.tokens == 0:
        return 0.0
    per_minute = listed.transcription_usd_per_minute.get(used.model or "")
    if per_minute is None or used.tokens > 0:  # no model that is charged by tokens has a price here
        return None
    return used.audio_s / SECONDS_PER_MINUTE * per_minute * MILLIONTHS_PER_USD
