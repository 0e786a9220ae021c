"""Server VAD: what it takes for speech, and that only appended audio moves its clock."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import speech
from benchmarks.simulators.openai.audio import FormatName, clip_audio
from benchmarks.simulators.openai.session_config import TurnDetection
from benchmarks.simulators.openai.vad import SpeechStarted, SpeechStopped, Vad, VadEvent
from proto import mulaw


def vad(audio_format: FormatName = "audio/pcmu", **changes: float | str) -> Vad:
    defaults = {"type": "server_vad", "create_response": True, "interrupt_response": True}
    return Vad(TurnDetection(**{**defaults, **changes}), audio_format, start_ms=0)  # type: ignore[arg-type]  # test knobs


def tone(ms: int, level_dbov: float) -> bytes:
    """A 440 Hz tone of this RMS level, in μ-law."""
    amplitude = mulaw.OVERLOAD * 10 ** (level_dbov / 20) * 2**0.5
    samples = amplitude * np.sin(2 * np.pi * 440 * np.arange(ms * 8) / 8000)
    return mulaw.encode(np.rint(samples).astype(np.int16))


@pytest.mark.parametrize("clip", [clip.name for clip in speech.clips("caller") if clip.name != "caller_long"])
def test_each_of_the_callers_lines_is_one_turn(clip: str) -> None:
    spoken = speech.clip(clip)
    events = vad().feed(mulaw.silence(1000) + spoken.mulaw + mulaw.silence(1000))
    started, stopped = events
    assert isinstance(started, SpeechStarted)
    assert isinstance(stopped, SpeechStopped)
    assert 1000 - 300 <= started.audio_start_ms <= 1000
    assert 1000 + spoken.duration_ms - 300 <= stopped.audio_end_ms <= 1000 + spoken.duration_ms + 520


@pytest.mark.parametrize("audio_format", ["audio/pcm", "audio/pcma", "audio/pcmu"])
def test_point_27_a_line_sounds_the_same_in_every_format(audio_format: FormatName) -> None:
    silence = {"audio/pcm": bytes(48_000), "audio/pcma": b"\xd5" * 8000, "audio/pcmu": b"\xff" * 8000}
    events = vad(audio_format).feed(clip_audio("ask_hours", audio_format) + silence[audio_format])
    reference = vad().feed(clip_audio("ask_hours", "audio/pcmu") + silence["audio/pcmu"])
    assert [type(event) for event in events] == [type(event) for event in reference]
    assert events[0] == reference[0]


def test_a_higher_threshold_wants_louder_speech() -> None:
    quiet = tone(500, -45.0) + mulaw.silence(600)
    assert vad(threshold=0.5).feed(quiet) == []
    assert len(vad(threshold=0.3).feed(quiet)) == 2
    loud = tone(500, -30.0) + mulaw.silence(600)
    assert len(vad(threshold=0.5).feed(loud)) == 2
    assert vad(threshold=0.9).feed(loud) == []


def test_a_click_is_not_speech() -> None:
    assert vad().feed(mulaw.silence(200) + tone(40, -20.0) + mulaw.silence(600)) == []


def test_point_29_the_turn_ends_after_the_silence_asked_for() -> None:
    for silence_ms in (200, 500, 800):
        stopped = vad(silence_duration_ms=silence_ms).feed(tone(400, -20.0) + mulaw.silence(1000))[1]
        assert stopped == SpeechStopped(400 + silence_ms)


def test_a_pause_shorter_than_that_does_not_end_it() -> None:
    events = vad().feed(tone(400, -20.0) + mulaw.silence(480) + tone(400, -20.0) + mulaw.silence(500))
    assert events == [SpeechStarted(0), SpeechStopped(1780)]


def test_point_28_padding_reaches_back_before_the_onset_but_not_into_the_turn_before() -> None:
    detector = vad(prefix_padding_ms=300, silence_duration_ms=200)
    first = detector.feed(mulaw.silence(1000) + tone(400, -20.0) + mulaw.silence(200))
    assert first == [SpeechStarted(700), SpeechStopped(1600)]
    assert detector.feed(mulaw.silence(100) + tone(100, -20.0)) == [SpeechStarted(1600)]


def test_point_32_an_eager_ear_waits_less_for_the_end_of_a_thought() -> None:
    waits = {}
    for eagerness, most_ms in (("low", 8000), ("medium", 4000), ("high", 2000)):
        detector = vad(type="semantic_vad", eagerness=eagerness)
        stopped = detector.feed(tone(400, -20.0) + mulaw.silence(most_ms))[1]
        assert isinstance(stopped, SpeechStopped)
        waits[eagerness] = stopped.audio_end_ms - 400
    assert waits["high"] < waits["medium"] < waits["low"]


@given(st.lists(st.integers(1, 2000), max_size=30))
@settings(deadline=None, max_examples=50)
def test_how_the_audio_is_cut_into_appends_makes_no_difference(sizes: list[int]) -> None:
    audio = mulaw.silence(200) + speech.clip("ask_hours").mulaw + mulaw.silence(700)
    whole, pieces, detector = vad().feed(audio), list[VadEvent](), vad()
    cuts = [0, *np.minimum(np.cumsum(sizes, dtype=int), len(audio)).tolist(), len(audio)]
    for start, end in pairwise(cuts):
        pieces += detector.feed(audio[start:end])
    assert pieces == whole


@given(st.binary(max_size=4000), st.sampled_from(["audio/pcm", "audio/pcmu", "audio/pcma"]))
@settings(deadline=None, max_examples=50)
def test_any_bytes_are_some_sound(noise: bytes, audio_format: FormatName) -> None:
    detector = vad(audio_format)
    for event in detector.feed(noise) + detector.feed(noise):
        assert isinstance(event, SpeechStarted | SpeechStopped)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=6))
@settings(deadline=None, max_examples=50)
def test_silence_told_as_so_many_frames_is_heard_as_each_of_them(pauses: list[int]) -> None:
    told, heard = vad(prefix_padding_ms=3000), vad(prefix_padding_ms=3000)
    for frames in pauses:
        assert heard.feed(mulaw.silence(20) * frames) == []
        told.feed_silence(mulaw.silence(20), frames)
        spoken = tone(100, -20.0) + mulaw.silence(500)
        assert told.feed(spoken) == heard.feed(spoken) != []


def test_sound_is_not_taken_for_silence() -> None:
    detector = vad()
    with pytest.raises(ValueError, match="silence"):
        detector.feed_silence(tone(20, -20.0), 10)
    with pytest.raises(ValueError, match="silence"):
        detector.feed_silence(mulaw.silence(15), 10)
    assert detector.is_idle
    detector.feed(tone(60, -20.0))
    assert not detector.is_idle
