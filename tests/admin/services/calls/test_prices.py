"""What a call costs: by hand for one turn, unknown where a price is."""

from admin.services.calls.prices import Transcription, cost_usd_millionths, prices
from relay import TokenUsage

OFF = Transcription(model=None)
MODEL = "gpt-realtime-2.1"


def used(*, text: tuple[int, int] = (0, 0), audio: tuple[int, int] = (0, 0), cached: int = 0) -> TokenUsage:
    """text and audio: in and out; cached: of both that went in."""
    return TokenUsage(
        input_tokens=text[0] + audio[0], output_tokens=text[1] + audio[1],
        input_text_tokens=text[0], output_text_tokens=text[1], cached_text_tokens=cached,
        input_audio_tokens=audio[0], output_audio_tokens=audio[1], cached_audio_tokens=cached,
    )  # fmt: skip


def test_one_turn_costs_what_it_comes_to_by_hand() -> None:
    assert (
        cost_usd_millionths(MODEL, used(text=(14, 28), audio=(27, 136)), OFF)
        == 14 * 4 + 27 * 32 + 28 * 24 + 136 * 64
        == 10_296
    )


def test_what_the_model_had_read_before_costs_less() -> None:
    fresh = cost_usd_millionths(MODEL, used(text=(1000, 0), audio=(1000, 0)), OFF)
    cached = cost_usd_millionths(MODEL, used(text=(1000, 0), audio=(1000, 0), cached=640), OFF)
    assert (fresh, cached) == (36_000, 360 * 4 + 256 + 360 * 32 + 256)


def test_a_minute_of_transcription_is_added() -> None:
    a_minute = Transcription(model="gpt-realtime-whisper", audio_s=60.0)
    assert cost_usd_millionths(MODEL, TokenUsage(), a_minute) == 17_000


def test_nothing_is_guessed() -> None:
    some = used(text=(1, 0))
    assert cost_usd_millionths("a-model-of-tomorrow", some, OFF) is None
    assert cost_usd_millionths(MODEL, TokenUsage(input_tokens=2, input_text_tokens=1), OFF) is None
    assert cost_usd_millionths(MODEL, TokenUsage(output_tokens=1), OFF) is None
    assert cost_usd_millionths(MODEL, some, Transcription(model="of-tomorrow", audio_s=1.0)) is None
    assert cost_usd_millionths(MODEL, some, Transcription(model="gpt-realtime-whisper", tokens=1)) is None


def test_a_transcription_that_was_not_used_needs_no_price() -> None:
    assert cost_usd_millionths(MODEL, used(text=(1, 0)), Transcription(model="of-tomorrow")) == 4


def test_the_file_says_when_and_where_its_prices_were_looked_up() -> None:
    assert prices().as_of.year >= 2026
    assert "openai.com" in prices().source
    assert all(each.text_cached <= each.text_in for each in prices().realtime_usd_per_million_tokens.values())
