"""What the local detector takes for the caller's voice, how soon, and what it leaves alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import speech
from benchmarks.speech import sounds
from proto import mulaw
from proto.mulaw import Floats
from relay.voice_detector import HANGOVER_MS, VoiceDetector

CALLER = speech.clips("caller")
NAMES = [clip.name for clip in CALLER]
LEAD_MS = 2000
AUDIBLE_DBOV = -45.0  # of a clip as it was recorded; below this, its own silence
PHASES_MS = (0.0, 4.875, 9.5, 10.0, 13.125, 19.875)  # where within a frame the clip begins


def seeded() -> np.random.Generator:
    return np.random.default_rng(7)


def states(sound: Floats) -> list[bool]:
    """The detector's word after each frame."""
    audio, detector = sounds.to_mulaw(sound), VoiceDetector()
    whole = len(audio) - len(audio) % mulaw.FRAME_BYTES
    return [detector.hear(audio[at : at + mulaw.FRAME_BYTES]) for at in range(0, whole, mulaw.FRAME_BYTES)]


def audible_from_ms(clip: Floats, level_dbov: float) -> int:
    """Where the first 10 ms are that are louder than this."""
    levels = 10 * np.log10(np.mean(np.square(clip.reshape(-1, 80)), axis=1).clip(1e-3) / mulaw.OVERLOAD**2)
    return int(np.argmax(levels > level_dbov)) * 10


def detected_after_ms(clip: Floats, onset_ms: int, background: Floats | None = None, phase_ms: float = 0.0) -> float:
    """From a clip's onset to the end of the frame with which it was noticed; nothing may be noticed before."""
    lead = np.zeros(round((LEAD_MS + phase_ms) * mulaw.BYTES_PER_MS))
    sound = np.concatenate([lead, clip])
    heard = states(sound if background is None else sound + background[: sound.size])
    assert not any(heard[: LEAD_MS // mulaw.FRAME_MS])
    return (heard.index(True) + 1) * mulaw.FRAME_MS - (LEAD_MS + phase_ms + onset_ms)


def slowest_ms(name: str, gain_db: float, background: Floats | None = None, audible_dbov: float = -99.0) -> float:
    """The latest detection of a clip, wherever in a frame it begins."""
    clip = sounds.spoken(speech.clip(name), gain_db=gain_db)
    onset_ms = audible_from_ms(clip, max(AUDIBLE_DBOV + gain_db, audible_dbov))
    return max(detected_after_ms(clip, onset_ms, background, phase_ms) for phase_ms in PHASES_MS)


# Speech


@pytest.mark.parametrize("name", NAMES)
def test_speech_is_noticed_within_three_frames_of_its_onset(name: str) -> None:
    assert slowest_ms(name, gain_db=0.0) <= 60


@pytest.mark.parametrize("name", NAMES)
def test_a_softer_talker_is_noticed_as_soon(name: str) -> None:
    assert slowest_ms(name, gain_db=-6.0) <= 60


@pytest.mark.parametrize("name", NAMES)
def test_a_very_soft_talker_is_noticed_with_the_first_vowel(name: str) -> None:
    # At -33 dBov one clip's first consonant, a th, lies below all that may be background.
    assert slowest_ms(name, gain_db=-12.0) <= (90 if name == "thanks_bye" else 60)


@pytest.mark.parametrize("name", NAMES)
def test_over_comfort_noise_speech_is_noticed_as_soon(name: str) -> None:
    assert slowest_ms(name, gain_db=0.0, background=sounds.white_noise(30_000, -60.0, seeded())) <= 60


@pytest.mark.parametrize("gain_db", [0.0, -6.0, -12.0])
@pytest.mark.parametrize("name", NAMES)
def test_over_loud_noise_speech_is_noticed_soon_after_it_stands_out(name: str, gain_db: float) -> None:
    noise_dbov = -21.0 + gain_db - 20.0  # 20 dB below the clips' level
    noise = sounds.white_noise(30_000, noise_dbov, seeded())
    assert slowest_ms(name, gain_db, noise, audible_dbov=noise_dbov + 6.0) <= 90


def test_a_sentence_is_one_stretch_of_speech_and_ends_soon_after_its_last_sound() -> None:
    clip = sounds.spoken(speech.clip("ask_menu"))
    heard = states(np.concatenate([sounds.silence(LEAD_MS), clip, sounds.silence(1000)]))
    stretches = "".join("x" if is_speaking else "-" for is_speaking in heard).strip("-")
    assert "-" not in stretches
    end_ms = (len(heard) - heard[::-1].index(True)) * mulaw.FRAME_MS
    spoken_until_ms = LEAD_MS + speech.clip("ask_menu").duration_ms
    assert spoken_until_ms - 100 <= end_ms <= spoken_until_ms + HANGOVER_MS


def test_long_talk_does_not_become_its_own_background() -> None:
    clip = sounds.spoken(speech.clip("caller_long"))
    noise = sounds.white_noise(60_000, -50.0, seeded())
    sound = np.concatenate([sounds.silence(LEAD_MS), clip, clip])
    heard = states(sound + noise[: sound.size])[LEAD_MS // mulaw.FRAME_MS :]
    assert sum(heard) / len(heard) > 0.8  # the rest are its pauses


def test_after_loud_noise_has_gone_soft_speech_is_noticed_again() -> None:
    soft = sounds.spoken(speech.clip("ask_menu"), gain_db=-12.0)
    loud = sounds.white_noise(5000, -25.0, seeded())
    heard = states(np.concatenate([loud, sounds.silence(100), soft]))
    assert not any(heard[: 5100 // mulaw.FRAME_MS])
    assert heard.index(True) * mulaw.FRAME_MS <= 5100 + 20 + 60


# What is not speech


@pytest.mark.parametrize("byte", [0xFF, 0x7F])
def test_digital_silence_is_not_speech(byte: int) -> None:
    assert not VoiceDetector().hear(bytes([byte]) * 80_000)


@pytest.mark.parametrize("level_dbov", [-60.0, -45.0, -30.0, -20.0])
def test_steady_noise_of_any_level_is_not_speech(level_dbov: float) -> None:
    assert not any(states(sounds.white_noise(60_000, level_dbov, seeded())))


def test_comfort_noise_that_sets_in_is_not_speech() -> None:
    assert not any(states(np.concatenate([sounds.silence(3000), sounds.white_noise(10_000, -60.0, seeded())])))


@pytest.mark.parametrize("level_dbov", [-40.0, -20.0])
def test_a_steady_hum_is_not_speech(level_dbov: float) -> None:
    assert not any(states(sounds.tone(10_000, level_dbov, 50.0)))


def test_a_hum_that_sets_in_is_not_speech() -> None:
    assert not any(states(np.concatenate([sounds.silence(3000), sounds.tone(5000, -35.0, 50.0)])))


@pytest.mark.parametrize("phase_ms", range(20))
def test_a_click_is_not_speech(phase_ms: int) -> None:
    click = sounds.white_noise(20, -10.0, seeded())
    assert not any(states(np.concatenate([sounds.silence(1000 + phase_ms), click, sounds.silence(500)])))


def test_loud_noise_that_sets_in_is_background_after_two_seconds() -> None:
    heard = states(np.concatenate([sounds.silence(3000), sounds.white_noise(10_000, -35.0, seeded())]))
    assert heard[3060 // mulaw.FRAME_MS]  # at first it could be speech
    assert not any(heard[(3000 + 2000 + HANGOVER_MS) // mulaw.FRAME_MS :])


# What it cannot tell from speech


def test_a_key_counts_as_speech_while_it_sounds() -> None:
    key = sounds.tone(100, -15.0, 770.0, 1336.0)  # a 5, as long as keys are
    heard = states(np.concatenate([sounds.silence(1000), key, sounds.silence(1000)]))
    assert heard.index(True) * mulaw.FRAME_MS <= 1060
    assert sum(heard) * mulaw.FRAME_MS <= 100 + HANGOVER_MS


def test_a_held_chord_counts_as_speech_until_it_is_background() -> None:
    chord = sounds.tone(6000, -25.0, 440.0, 554.4, 659.3)
    heard = states(np.concatenate([sounds.silence(1000), chord]))
    assert heard[1060 // mulaw.FRAME_MS]
    assert not any(heard[(1000 + 2000 + HANGOVER_MS) // mulaw.FRAME_MS :])


# The cut of the audio


@given(cuts=st.lists(st.integers(0, 900), max_size=25))
@settings(max_examples=25, deadline=None)
def test_how_the_audio_is_cut_changes_nothing(cuts: list[int]) -> None:
    audio = sounds.to_mulaw(np.concatenate([sounds.silence(300), sounds.spoken(speech.clip("ask_menu"))]))
    cut, at = VoiceDetector(), 0
    for size in cuts:
        heard = cut.hear(audio[at : at + size])
        at += size
        assert heard == VoiceDetector().hear(audio[:at])


def test_nothing_heard_is_not_speech() -> None:
    assert not VoiceDetector().hear(b"")
