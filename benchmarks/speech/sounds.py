"""What else is on a telephone line: noise, hum, tones and other people's talk, to be mixed with the spoken clips.

All are (n,) float64 in int16 units at 8 kHz, so that they add; `to_mulaw` makes them what a line carries. Levels are
RMS in dBov. What is random comes from the generator that is handed in, so the same seed makes the same sound.
"""

import numpy as np

from benchmarks import speech
from proto import mulaw
from proto.mulaw import Floats


def silence(ms: int) -> Floats:
    """Nothing at all."""
    return np.zeros(ms * mulaw.BYTES_PER_MS)


def spoken(clip: speech.Clip, *, gain_db: float = 0.0) -> Floats:
    """A clip, louder or softer."""
    gain: float = 10.0 ** (gain_db / 20)
    return mulaw.decode(clip.mulaw).astype(np.float64) * gain


def white_noise(ms: int, level_dbov: float, rng: np.random.Generator) -> Floats:
    """Equally strong at all frequencies, as comfort noise is, roughly."""
    return at_level(rng.standard_normal(ms * mulaw.BYTES_PER_MS), level_dbov)


def rumble(ms: int, level_dbov: float, rng: np.random.Generator) -> Floats:
    """Noise that falls by 6 dB per octave above 150 Hz and sways slowly by a few dB: a car, a street."""
    count = ms * mulaw.BYTES_PER_MS
    hz = np.fft.rfftfreq(count, 1 / mulaw.SAMPLE_RATE_HZ)
    spectrum = np.fft.rfft(rng.standard_normal(count)) / np.maximum(hz, 150.0)
    sway_db = 3.0 * np.sin(2 * np.pi * (0.3 * np.arange(count) / mulaw.SAMPLE_RATE_HZ + rng.random()))
    return at_level(np.fft.irfft(spectrum, count) * 10.0 ** (sway_db / 20), level_dbov)


def tone(ms: int, level_dbov: float, *hz: float) -> Floats:
    """One or several steady sines, equally strong: a hum, a key (DTMF), a chord."""
    seconds = np.arange(ms * mulaw.BYTES_PER_MS) / mulaw.SAMPLE_RATE_HZ
    return at_level(np.sum([np.sin(2 * np.pi * each * seconds) for each in hz], axis=0), level_dbov)


def babble(ms: int, level_dbov: float, rng: np.random.Generator, *, talkers: int = 4) -> Floats:
    """Several people talking at once, elsewhere in the room."""
    count = ms * mulaw.BYTES_PER_MS
    talk = np.concatenate([spoken(clip) for clip in speech.clips("assistant")])
    talk = np.tile(talk, 1 + count // talk.size)[:count]
    return at_level(np.sum([np.roll(talk, rng.integers(count)) for _ in range(talkers)], axis=0), level_dbov)


def knocks(ms: int, level_dbov: float, rng: np.random.Generator, *, every_ms: int = 1500) -> Floats:
    """Short bursts at irregular times, dying away by 60 dB within 60 ms: a cup, a keyboard, a door."""
    sound = silence(ms)
    burst = rng.standard_normal(60 * mulaw.BYTES_PER_MS) * np.geomspace(1.0, 1e-3, 60 * mulaw.BYTES_PER_MS)
    burst = at_level(burst, level_dbov)
    for at in rng.integers(sound.size - burst.size, size=ms // every_ms):
        sound[at : at + burst.size] += burst
    return sound


def at_level(sound: Floats, level_dbov: float) -> Floats:
    """The same sound at this RMS level; silence stays silent."""
    rms = float(np.sqrt(np.mean(np.square(sound))))
    return sound * (mulaw.OVERLOAD * 10.0 ** (level_dbov / 20) / rms) if rms else sound


def to_mulaw(sound: Floats) -> bytes:
    """As a line carries it, clipped where it is too loud."""
    return mulaw.encode(np.clip(np.rint(sound), -32768, 32767).astype(np.int16))
