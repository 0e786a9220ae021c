"""Phrases on disk: found again by what they say and how, whole or not at all, and no more of them than there may be."""

import os
from pathlib import Path

import pytest

from benchmarks.speech import clip
from proto import mulaw
from relay import Persona
from relay.rendering import VERSION
from tautline import phrases as phrases_module
from tautline.phrases import APOLOGY_CLIP, Phrase, Phrases, phrases_of

GREETING, APOLOGY = clip("greeting"), clip("sorry")
SERVICE = "ws://openai.test/v1/realtime?model=gpt-realtime-2.1"
PERSONA = Persona(instructions="", greeting=GREETING.transcript, apology=APOLOGY.transcript)
PHRASE = phrases_of(PERSONA, SERVICE)["greeting"]
BUILT_IN = APOLOGY_CLIP.read_bytes()


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def phrase(text: str) -> Phrase:
    return Phrase(service=SERVICE, voice="marin", text=text)


def keep_in_order(phrases: Phrases, folder: Path, *kept: Phrase) -> None:
    """Each was used a second after the one before."""
    for number, each in enumerate(kept, 1):
        phrases.keep(each, GREETING.mulaw)
        os.utime(folder / each.file_name, (number, number))


def test_a_persona_always_says_its_greeting_and_its_apology() -> None:
    assert {place: each.text for place, each in phrases_of(PERSONA, SERVICE).items()} == {
        "greeting": GREETING.transcript,
        "apology": APOLOGY.transcript,
    }
    assert list(phrases_of(Persona(instructions="", greeting=" \n"), SERVICE)) == ["apology"]
    assert phrases_of(Persona(instructions="", apology=""), SERVICE) == {}


def test_every_voice_speed_text_service_and_way_of_rendering_has_a_file_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phrases = [
        Phrase(service=service, voice=voice, text=text, speed=speed)
        for service in ("a", "b")
        for voice in ("marin", "../../etc/passwd\0")
        for text in ("Hello.", "Hello. ")
        for speed in (1.0, 1.25)
    ]
    names = [each.file_name for each in phrases]
    monkeypatch.setattr(phrases_module, "VERSION", VERSION + 1)
    names += [each.file_name for each in phrases]
    assert len(set(names)) == 32
    assert {Path(name).name for name in names} == set(names)
    assert all(name.removesuffix(".ulaw").isalnum() for name in names)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        GREETING.mulaw[:-1],
        mulaw.silence(2000),
        GREETING.mulaw * 20,
        b"not audio at all",
    ],
    ids=["empty", "torn", "silent", "endless", "no audio"],
)
def test_a_broken_file_is_none_and_is_replaced(tmp_path: Path, broken: bytes) -> None:
    phrases = Phrases(tmp_path)
    (tmp_path / PHRASE.file_name).write_bytes(broken)
    assert phrases.find(PHRASE) == b""
    phrases.keep(PHRASE, GREETING.mulaw)
    assert phrases.find(PHRASE) == GREETING.mulaw


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phrases = Phrases(tmp_path)
    phrases.keep(PHRASE, GREETING.mulaw)

    def full(_descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        phrases.keep(PHRASE, APOLOGY.mulaw)
    assert phrases.find(PHRASE) == GREETING.mulaw
    assert len(files(tmp_path)) == 1


def test_what_nobody_has_used_for_longest_goes_first(tmp_path: Path) -> None:
    phrases = Phrases(tmp_path, kept_bytes=2 * len(GREETING.mulaw))
    one, two, three, four = (phrase(text) for text in ("One.", "Two.", "Three.", "Four."))
    keep_in_order(phrases, tmp_path, one, two, three, four)
    phrases.find(two)
    phrases.tidy([])
    assert {path.name for path in files(tmp_path)} == {two.file_name, four.file_name}


def test_what_is_in_use_stays_however_much_it_is(tmp_path: Path) -> None:
    phrases = Phrases(tmp_path, kept_bytes=len(GREETING.mulaw))
    one, two, three = (phrase(text) for text in ("One.", "Two.", "Three."))
    keep_in_order(phrases, tmp_path, one, two, three)
    phrases.tidy([one, three])
    assert {path.name for path in files(tmp_path)} == {one.file_name, three.file_name}


def test_what_a_killed_process_has_not_finished_goes_too_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    phrases = Phrases(tmp_path, kept_bytes=len(GREETING.mulaw))
    keep_in_order(phrases, tmp_path, PHRASE)
    unfinished, foreign = tmp_path / "x.part", tmp_path / "notes.txt"
    for path in (unfinished, foreign):
        path.write_bytes(bytes(100))
        os.utime(path, (0, 0))
    phrases.tidy([])
    assert {path.name for path in files(tmp_path)} == {PHRASE.file_name, foreign.name}


def test_the_built_in_apology_is_short_and_sounds_like_a_call() -> None:
    assert len(BUILT_IN) < 60_000
    assert len(BUILT_IN) % mulaw.FRAME_BYTES == 0
    assert -25 < mulaw.level_dbov(mulaw.decode(BUILT_IN)) < -18
    assert Persona(instructions="").apology in APOLOGY_CLIP.with_name("README.md").read_text()
