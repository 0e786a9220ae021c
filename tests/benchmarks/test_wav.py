"""Recordings people bring: read whatever a telephone or a studio makes, and say clearly what cannot be read."""

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.speech import wav
from benchmarks.speech.wav import read_mulaw, write_wav
from proto import mulaw
from proto.mulaw import Samples

PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE


def tone(rate_hz: int = 8000) -> Samples:
    time_s = np.arange(rate_hz // 2, dtype=np.float64) / rate_hz
    wave_form: NDArray[np.float64] = 8000 * np.sin(2 * np.pi * 440 * time_s)
    return wave_form.round().astype(np.int16)


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def fmt(code: int, *, channels: int = 1, rate_hz: int = 8000, bits: int = 16, tail: bytes = b"") -> bytes:
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, rate_hz, rate_hz * frame, frame, bits) + tail)


def save(path: Path, *chunks: bytes) -> Path:
    body = b"WAVE" + b"".join(chunks)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recording.wav"


@pytest.mark.parametrize("suffix", [".ulaw", ".mulaw", ".raw", ".ULAW"])
def test_raw_audio_is_taken_as_it_is(tmp_path: Path, suffix: str) -> None:
    raw = tmp_path / f"recording{suffix}"
    raw.write_bytes(bytes(range(256)))
    assert read_mulaw(raw) == bytes(range(256))


def test_what_was_written_is_read_again(path: Path) -> None:
    write_wav(path, tone())
    assert read_mulaw(path) == mulaw.encode(tone())


def test_another_program_can_read_what_was_written(path: Path) -> None:
    both = np.stack([tone(24000), -tone(24000)], axis=1)
    write_wav(path, both, 24000)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 24000)
        assert file.readframes(file.getnframes()) == both.astype("<i2").tobytes()


def test_a_mulaw_recording_keeps_every_bit(path: Path) -> None:
    every_code = bytes(range(256))
    assert read_mulaw(save(path, fmt(MULAW, bits=8), chunk(b"data", every_code))) == every_code


def test_two_channels_are_averaged(path: Path) -> None:
    write_wav(path, np.stack([tone(), np.zeros_like(tone())], axis=1))
    heard = mulaw.level_dbov(mulaw.decode(read_mulaw(path)))
    assert heard == pytest.approx(mulaw.level_dbov(tone()) - 6.02, abs=0.1)


def test_a_mulaw_recording_of_both_sides_is_mixed(path: Path) -> None:
    sides = np.frombuffer(mulaw.encode(tone()), np.uint8).repeat(2)
    assert read_mulaw(save(path, fmt(MULAW, channels=2, bits=8), chunk(b"data", sides.tobytes()))) == mulaw.encode(
        mulaw.decode(mulaw.encode(tone()))
    )


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 44100, 48000])
def test_every_usual_rate_sounds_the_same(path: Path, rate_hz: int) -> None:
    write_wav(path, tone(rate_hz), rate_hz)
    heard = mulaw.decode(read_mulaw(path)).astype(np.float64)
    assert heard.size == tone().size
    error = (heard - tone())[500:-500]
    assert 10 * np.log10(np.mean(np.square(tone(), dtype=np.float64)) / np.mean(error**2)) > 35  # what μ-law can do


def test_chunks_nobody_asked_for_are_skipped(path: Path) -> None:
    tagged = save(path, chunk(b"LIST", b"odd"), fmt(PCM), chunk(b"fact", b"1234"), chunk(b"data", tone().tobytes()))
    assert read_mulaw(tagged) == mulaw.encode(tone())


def test_the_extensible_header_is_understood(path: Path) -> None:
    tail = struct.pack("<HHIH", 22, 16, 4, PCM) + bytes(14)
    assert read_mulaw(save(path, fmt(EXTENSIBLE, tail=tail), chunk(b"data", tone().tobytes()))) == mulaw.encode(tone())


def test_a_streamed_file_with_an_unknown_length_is_read_to_its_end(path: Path) -> None:
    endless = b"data" + struct.pack("<I", 0xFFFFFFFF) + tone().tobytes() + b"\1"  # and it was cut within a sample
    assert read_mulaw(save(path, fmt(PCM), endless)) == mulaw.encode(tone())


@pytest.mark.parametrize(
    ("chunks", "wrong"),
    [
        ([], "no 'fmt ' or no 'data'"),
        ([fmt(PCM)], "no 'fmt ' or no 'data'"),
        ([chunk(b"fmt ", b"short"), chunk(b"data", b"1234")], "'fmt ' chunk is too short"),
        ([fmt(ALAW, bits=8), chunk(b"data", b"1234")], "format 6 with 8 bits"),
        ([fmt(FLOAT, bits=32), chunk(b"data", b"1234")], "format 3 with 32 bits"),
        ([fmt(PCM, bits=24), chunk(b"data", b"123456")], "format 1 with 24 bits"),
        ([fmt(EXTENSIBLE), chunk(b"data", b"1234")], "format 65534"),
        ([fmt(PCM, channels=6), chunk(b"data", b"1234")], "has 6 channels"),
        ([fmt(PCM, channels=0), chunk(b"data", b"1234")], "has 0 channels"),
        ([fmt(PCM, rate_hz=11025), chunk(b"data", b"1234")], "11025 Hz; read are 8000, 16000"),
        ([fmt(PCM), chunk(b"data", b"")], "holds no audio"),
        ([fmt(PCM), chunk(b"data", b"1")], "holds no audio"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(path: Path, chunks: list[bytes], wrong: str) -> None:
    with pytest.raises(ValueError, match=r"recording\.wav: .*" + wrong):
        read_mulaw(save(path, *chunks))


@pytest.mark.parametrize("content", [b"", b"RIFF", b"ID3\x04 this is an mp3", b"RIFX\0\0\0\0WAVE"])
def test_something_else_with_the_name_of_a_wav_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"recording\.wav: is not a RIFF/WAVE file"):
        read_mulaw(path)


def test_an_unknown_suffix_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"song\.mp3: expected a \.wav file"):
        read_mulaw(tmp_path / "song.mp3")
    (tmp_path / "empty.ulaw").touch()
    with pytest.raises(ValueError, match=r"empty\.ulaw: holds no audio"):
        read_mulaw(tmp_path / "empty.ulaw")


def test_a_file_too_large_to_hold_is_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(wav.MAX_FILE_BYTES + 1)  # sparse: takes no room on the disk
    with pytest.raises(ValueError, match=r"recording\.wav: larger than 128 MiB"):
        read_mulaw(path)


@pytest.mark.parametrize("samples", [np.zeros((4, 3), np.int16), np.zeros(4, np.int32), np.zeros((1, 2, 2), np.int16)])
def test_samples_of_a_wrong_shape_or_type_are_not_written(path: Path, samples: Samples) -> None:
    with pytest.raises(ValueError, match=r"recording\.wav: cannot write"):
        write_wav(path, samples)
    assert not path.exists()
