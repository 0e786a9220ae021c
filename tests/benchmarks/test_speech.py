"""The spoken clips: present, audible, well cut, and described truthfully."""

import numpy as np
import pytest

from benchmarks import speech
from proto import mulaw

EVERY_CLIP = speech.clips("assistant") + speech.clips("caller")
NAMES = [spoken.name for spoken in EVERY_CLIP]
every_clip = pytest.mark.parametrize("spoken", EVERY_CLIP, ids=NAMES)


def frame_levels_dbov(audio: bytes) -> list[float]:
    return [mulaw.level_dbov(frame) for frame in mulaw.decode(audio).reshape(-1, mulaw.FRAME_BYTES)]


def longest_pause_ms(audio: bytes) -> int:
    quiet = "".join("-" if level < -50 else "x" for level in frame_levels_dbov(audio))
    return max(len(pause) for pause in quiet.strip("-").split("x")) * mulaw.FRAME_MS


def test_both_speakers_have_their_lines() -> None:
    assert {"greeting", "opening_hours", "menu", "vegetarian", "table_booked", "goodbye"} <= {
        spoken.name for spoken in speech.clips("assistant")
    }
    assert [spoken.name for spoken in speech.clips("caller")] == [
        "ask_hours",
        "ask_menu",
        "interrupt_vegetarian",
        "book_table",
        "thanks_bye",
        "caller_long",
    ]


def test_every_file_is_in_the_catalog_and_every_entry_has_its_file() -> None:
    assert sorted(path.stem for path in speech.CLIPS_DIR.glob("*.ulaw")) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_the_clips_stay_small_enough_to_ship() -> None:
    assert sum(len(spoken.mulaw) for spoken in EVERY_CLIP) < 1_000_000


@every_clip
def test_a_clip_is_as_loud_as_a_telephone_talker(spoken: speech.Clip) -> None:
    samples = mulaw.decode(spoken.mulaw)
    assert -30 < mulaw.level_dbov(samples) < -12
    assert np.abs(samples.astype(np.int32)).max() < 32124  # the last level would be clipping


@every_clip
def test_a_clip_is_cut_to_its_speech(spoken: speech.Clip) -> None:
    audible = [level > -50 for level in frame_levels_dbov(spoken.mulaw)]
    assert audible.index(True) * mulaw.FRAME_MS <= 120
    assert audible[::-1].index(True) * mulaw.FRAME_MS <= 100
    assert 1000 <= spoken.duration_ms <= 20_000
    assert len(spoken.mulaw) % mulaw.FRAME_BYTES == 0


@every_clip
def test_words_follow_each_other_within_the_clip_and_make_the_transcript(spoken: speech.Clip) -> None:
    assert spoken.transcript
    assert " ".join(word.text for word in spoken.words) == spoken.transcript
    edges = [edge for word in spoken.words for edge in (word.start_ms, word.end_ms)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= spoken.duration_ms
    assert all(word.start_ms < word.end_ms for word in spoken.words)


def test_the_menu_is_long_enough_to_be_interrupted() -> None:
    assert 14_000 <= speech.clip("menu").duration_ms <= 18_000


def test_the_long_caller_pauses_between_sentences_without_being_done() -> None:
    assert 380 <= longest_pause_ms(speech.clip("caller_long").mulaw) <= 440


def test_a_clip_is_read_once_and_found_by_name() -> None:
    assert speech.clip("greeting") is speech.clip("greeting")
    assert speech.clip("greeting") in speech.clips("assistant")


def test_a_wrong_name_is_told_the_right_ones() -> None:
    with pytest.raises(KeyError, match=r"no clip 'pasta'.*greeting.*caller_long"):
        speech.clip("pasta")
