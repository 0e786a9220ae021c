"""Audio in memory: found again, and never more of it than there may be."""

from admin.services.personas.kept_audio import KeptAudio


def test_what_was_asked_for_lately_stays_and_the_rest_goes() -> None:
    kept: KeptAudio[str] = KeptAudio(10)
    kept.keep("greeting", b"1234")
    kept.keep("apology", b"5678")
    assert kept.find("greeting") == b"1234"
    kept.keep("goodbye", b"90ab")
    assert [name for name in ("greeting", "apology", "goodbye") if name in kept] == ["greeting", "goodbye"]
    assert kept.find("apology") == b""


def test_what_is_kept_anew_takes_the_place_of_what_was() -> None:
    kept: KeptAudio[str] = KeptAudio(10)
    for audio in (b"1234", b"12345678", b"12"):
        kept.keep("greeting", audio)
    kept.keep("apology", b"12345678")
    assert (kept.find("greeting"), kept.find("apology")) == (b"12", b"12345678")


def test_what_is_larger_than_all_that_may_be_kept_is_not_kept() -> None:
    kept: KeptAudio[str] = KeptAudio(10)
    kept.keep("greeting", bytes(11))
    assert "greeting" not in kept
