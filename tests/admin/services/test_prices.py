"""What a call costs: by hand for one turn, unknown where a price is."""

from admin.services.prices import Tokens, Transcription, cost_usd_millionths, prices

OFF = Transcription(model=None)
MODEL = "gpt-realtime-2.1"


def test_one_turn_costs_what_it_comes_to_by_hand() -> None:
    tokens = Tokens(text_in=14, audio_in=27, text_out=28, audio_out=136)
    assert cost_usd_millionths(MODEL, tokens, OFF) == 14 * 4 + 27 * 32 + 28 * 24 + 136 * 64 == 10_296


def test_what_the_model_had_read_before_costs_less() -> None:
    fresh = cost_usd_millionths(MODEL, Tokens(text_in=1000, audio_in=1000), OFF)
    cached = cost_usd_millionths(MODEL, Tokens(text_in=1000, audio_in=1000, text_cached=640, audio_cached=640), OFF)
    assert (fresh, cached) == (36_000, 360 * 4 + 256 + 360 * 32 + 256)


def test_a_minute_of_transcription_is_added() -> None:
    a_minute = Transcription(model="gpt-realtime-whisper", audio_s=60.0)
    assert cost_usd_millionths(MODEL, Tokens(), a_minute) == 17_000


def test_nothing_is_guessed() -> None:
    some = Tokens(text_in=1)
    assert cost_usd_millionths("a-model-of-tomorrow", some, OFF) is None
    assert cost_usd_millionths(MODEL, None, OFF) is None
    assert cost_usd_millionths(MODEL, some, Transcription(model="of-tomorrow", audio_s=1.0)) is None
    assert cost_usd_millionths(MODEL, some, Transcription(model="gpt-realtime-whisper", tokens=1)) is None


def test_a_transcription_that_was_not_used_needs_no_price() -> None:
    assert cost_usd_millionths(MODEL, Tokens(text_in=1), Transcription(model="of-tomorrow")) == 4


def test_the_file_says_when_and_where_its_prices_were_looked_up() -> None:
    assert prices().as_of.year >= 2026
    assert "openai.com" in prices().source
    assert all(each.text_cached <= each.text_in for each in prices().realtime_usd_per_million_tokens.values())
