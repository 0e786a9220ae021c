"""μ-law against an independent encoder, its laws, and the resampler measured with tones."""

import warnings
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import mulaw
from proto.mulaw import Samples

ALL_CODES = bytes(range(256))
ALL_SAMPLES = np.arange(-32768, 32768).astype(np.int16)


@pytest.fixture
def audioop() -> ModuleType:
    """The standard library's own codec: deprecated, gone from Python 3.13, but written by somebody else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        reference: ModuleType = pytest.importorskip("audioop")
    return reference


def tone(hz: float, rate_hz: int, *, seconds: float = 1.0, amplitude: float = 10000.0) -> Samples:
    return np.rint(amplitude * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.int16)


def middle(samples: Samples) -> Samples:
    """Without the first and last quarter, where a tone is switched on and off."""
    return samples[samples.size // 4 : -(samples.size // 4)]


def test_every_code_decodes_as_an_independent_decoder_says(audioop: ModuleType) -> None:
    assert mulaw.decode(ALL_CODES).tobytes() == audioop.ulaw2lin(ALL_CODES, 2)


def test_every_sample_encodes_as_an_independent_encoder_says(audioop: ModuleType) -> None:
    # The reference drops two bits by rounding down. It is handed samples without them, so both signs are alike.
    wide = ALL_SAMPLES.astype(np.int32)
    shortened = (np.sign(wide) * (np.abs(wide) & ~3)).astype(np.int16)
    expected = np.frombuffer(audioop.lin2ulaw(shortened.tobytes(), 2), np.uint8).copy()
    expected[(ALL_SAMPLES < 0) & (shortened == 0)] = 0x7F  # a shortened -1 has lost its sign
    np.testing.assert_array_equal(np.frombuffer(mulaw.encode(ALL_SAMPLES), np.uint8), expected)


def test_non_negative_samples_encode_exactly_as_the_reference_without_any_help(audioop: ModuleType) -> None:
    loud = ALL_SAMPLES[ALL_SAMPLES >= 0]
    assert mulaw.encode(loud) == audioop.lin2ulaw(loud.tobytes(), 2)


def test_known_values_from_the_recommendation() -> None:
    assert mulaw.decode(b"\x00\x80\xff\x7f\xfe\x7e").tolist() == [-32124, 32124, 0, 0, 8, -8]
    assert mulaw.encode(np.array([32767, -32768, 0], np.int16)) == b"\x80\x00\xff"


def test_a_second_encoding_loses_nothing() -> None:
    again = mulaw.encode(mulaw.decode(ALL_CODES))
    assert again == ALL_CODES.replace(b"\x7f", b"\xff")  # negative zero comes back as zero


def test_segments_begin_at_the_decision_values_of_the_recommendation() -> None:
    decisions = 4 * np.array([31, 95, 223, 479, 991, 2015, 4063], np.int16)  # tables 2a and 2b, in 14 bits
    for sign, sign_bit in ((1, 0x80), (-1, 0x00)):
        first_of_segment = [sign_bit | code for code in (0x6F, 0x5F, 0x4F, 0x3F, 0x2F, 0x1F, 0x0F)]
        assert list(mulaw.encode(sign * decisions)) == first_of_segment
        assert list(mulaw.encode(sign * (decisions - 1))) == [code + 1 for code in first_of_segment]


def test_the_error_stays_within_half_a_step_of_the_segment() -> None:
    unclipped = ALL_SAMPLES[np.abs(ALL_SAMPLES.astype(np.int32)) <= 32635].astype(np.int32)
    error = np.abs(mulaw.decode(mulaw.encode(unclipped.astype(np.int16))).astype(np.int32) - unclipped)
    segment = np.floor(np.log2(np.abs(unclipped) + 132)) - 7
    assert np.all(error <= 4 * 2**segment)


def test_a_louder_sample_never_sounds_quieter() -> None:
    assert np.all(np.diff(mulaw.decode(mulaw.encode(ALL_SAMPLES)).astype(np.int32)) >= 0)


@given(st.lists(st.integers(-32768, 32767)))
@settings(deadline=None)
def test_a_sample_sounds_the_same_wherever_it_stands(values: list[int]) -> None:
    samples = np.array(values, np.int16)
    assert mulaw.encode(samples) == b"".join(mulaw.encode(samples[i : i + 1]) for i in range(samples.size))
    assert mulaw.encode(samples[::-1]) == mulaw.encode(samples)[::-1]


def test_floats_are_refused_rather_than_misread() -> None:
    with pytest.raises(TypeError, match="float64"):
        mulaw.encode(np.zeros(3))  # type: ignore[arg-type] # what a caller without a type checker might do


def test_bytes_and_milliseconds_agree() -> None:
    assert mulaw.FRAME_BYTES == mulaw.FRAME_MS * mulaw.BYTES_PER_MS == len(mulaw.silence(mulaw.FRAME_MS))
    assert [mulaw.duration_ms(nbytes) for nbytes in (0, 7, 8, 159, 160)] == [0, 0, 1, 19, 20]
    assert not mulaw.decode(mulaw.silence(20)).any()


@pytest.mark.parametrize("hz", [100, 300, 1000, 2500, 3400, 3560])
@pytest.mark.parametrize(("from_hz", "to_hz"), [(8000, 24000), (24000, 8000), (44100, 8000), (16000, 8000)])
def test_what_the_telephone_carries_passes_unchanged(hz: int, from_hz: int, to_hz: int) -> None:
    before, after = tone(hz, from_hz), mulaw.resample(tone(hz, from_hz), from_hz, to_hz)
    assert abs(mulaw.level_dbov(middle(after)) - mulaw.level_dbov(middle(before))) < 0.01


@pytest.mark.parametrize("hz", [4001, 4100, 5000, 7900, 11000])
@pytest.mark.parametrize("from_hz", [24000, 44100, 48000])
def test_what_the_telephone_cannot_carry_does_not_fold_back(hz: int, from_hz: int) -> None:
    loud = tone(hz, from_hz, amplitude=32000)
    after = mulaw.resample(loud, from_hz, 8000)
    assert mulaw.level_dbov(middle(after)) < mulaw.level_dbov(loud) - 79


@pytest.mark.parametrize("hz", [1000, 3400])
def test_going_up_adds_no_image_of_the_sound(hz: int) -> None:
    after = mulaw.resample(tone(hz, 8000, amplitude=30000), 8000, 24000)
    power = np.abs(np.fft.rfft(middle(after) * np.hanning(middle(after).size))) ** 2
    bin_hz = 24000 / middle(after).size
    assert power[int(4100 / bin_hz) :].max() < power.max() * 1e-7


@pytest.mark.parametrize("hz", [300, 1000, 3400])
def test_up_and_down_again_gives_the_same_sound_at_the_same_time(hz: int) -> None:
    before = tone(hz, 8000)
    after = mulaw.resample(mulaw.resample(before, 8000, 24000), 24000, 8000)
    assert after.size == before.size
    assert mulaw.level_dbov(middle(after) - middle(before)) < mulaw.level_dbov(before) - 70


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24000, 8000), (8000, 24000), (44100, 8000), (48000, 8000)])
def test_a_click_stays_where_it_was(from_hz: int, to_hz: int) -> None:
    click = np.zeros(from_hz, np.int16)
    click[from_hz // 2] = 30000
    after = mulaw.resample(click, from_hz, to_hz)
    centre = to_hz // 2
    assert np.argmax(np.abs(after)) == centre
    np.testing.assert_array_equal(after[centre - 99 : centre], after[centre + 99 : centre : -1])  # linear phase


@given(st.integers(0, 700), st.sampled_from([(8000, 24000), (24000, 8000), (44100, 8000), (8000, 44100), (3, 7)]))
@settings(deadline=None)
def test_resampling_keeps_the_duration(count: int, rates: tuple[int, int]) -> None:
    from_hz, to_hz = rates
    assert mulaw.resample(np.ones(count, np.int16), from_hz, to_hz).size == -(-count * to_hz // from_hz)


def test_overshoot_is_clipped_and_does_not_wrap() -> None:
    square = np.where(np.arange(800) // 40 % 2, -32768, 32767).astype(np.int16)
    after = mulaw.resample(square, 8000, 24000)
    assert (after.max(), after.min()) == (32767, -32768)
    plateaus = after.reshape(-1, 120)[:, 10:-10]
    assert (plateaus[::2] > 0).all()
    assert (plateaus[1::2] < 0).all()


def test_equal_rates_change_nothing_and_nonsense_is_refused() -> None:
    samples = tone(440, 8000)
    assert mulaw.resample(samples, 8000, 8000) is samples
    with pytest.raises(ValueError, match="from 0 to 8000 Hz"):
        mulaw.resample(samples, 0, 8000)
    with pytest.raises(ValueError, match="resample"):
        mulaw.resample(samples.reshape(-1, 2), 24000, 8000)


def test_the_level_of_known_sounds() -> None:
    assert mulaw.level_dbov(np.full(100, -32768, np.int16)) == 0.0
    assert mulaw.level_dbov(tone(1000, 8000, amplitude=32767)) == pytest.approx(-3.01, abs=0.01)
    assert mulaw.level_dbov(np.zeros(100, np.int16)) == -127.0
    assert mulaw.level_dbov(np.zeros(0, np.int16)) == -127.0
    rare_click = np.zeros(10**6, np.int16)
    rare_click[0] = 1
    assert mulaw.level_dbov(rare_click) == -127.0  # the scale ends here


def test_a_whisper_is_silence_only_above_its_own_level() -> None:
    whisper = mulaw.encode(tone(500, 8000, amplitude=100))  # about -53 dBov
    assert mulaw.is_silence(whisper)
    assert not mulaw.is_silence(whisper, threshold_dbov=-60)
    assert mulaw.is_silence(mulaw.silence(20))
    assert not mulaw.is_silence(mulaw.encode(tone(500, 8000)))
