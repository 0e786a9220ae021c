"""What a call costs at OpenAI, from what it used and the prices in model_prices.json. Pure but for reading that file.

A price that is not in the file is not guessed: then the cost is unknown.
"""

from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

FILE: Final = Path(__file__).with_name("model_prices.json")
SECONDS_PER_MINUTE: Final = 60
MILLIONTHS_PER_USD: Final = 1_000_000


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a realtime model has read and made. cached: of those that went in, how many were charged as cached."""

    text_in: int = 0
    text_cached: int = 0
    text_out: int = 0  # reasoning included
    audio_in: int = 0
    audio_cached: int = 0
    audio_out: int = 0
    image_in: int = 0
    image_cached: int = 0

    @property
    def total(self) -> int:
        """As OpenAI counts it: cached ones are among those that went in."""
        return self.text_in + self.audio_in + self.image_in + self.text_out + self.audio_out


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
    image_in: float
    image_cached: float


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
    model: str, tokens: Tokens | None, transcription: Transcription, *, known: Prices | None = None
) -> int | None:
    """What it costs, in millionths of a US dollar; None where a price is not known.

    Args: tokens, None where only their sum is known, which says nothing of their price; known, usually `prices()`.
    """
    listed = known or prices()
    price = listed.realtime_usd_per_million_tokens.get(model)
    transcribing = _transcription_cost(transcription, listed)
    if price is None or tokens is None or transcribing is None:
        return None
    return round(_token_cost(tokens, price) + transcribing)


def _token_cost(tokens: Tokens, price: TokenPrices) -> float:
    return (
        (tokens.text_in - tokens.text_cached) * price.text_in
        + tokens.text_cached * price.text_cached
        + tokens.text_out * price.text_out
        + (tokens.audio_in - tokens.audio_cached) * price.audio_in
        + tokens.audio_cached * price.audio_cached
        + tokens.audio_out * price.audio_out
        + (tokens.image_in - tokens.image_cached) * price.image_in
        + tokens.image_cached * price.image_cached
    )


def _transcription_cost(used: Transcription, listed: Prices) -> float | None:
    if used.audio_s == 0 and used.tokens == 0:
        return 0.0
    per_minute = listed.transcription_usd_per_minute.get(used.model or "")
    if per_minute is None or used.tokens > 0:  # no model that is charged by tokens has a price here
        return None
    return used.audio_s / SECONDS_PER_MINUTE * per_minute * MILLIONTHS_PER_USD
