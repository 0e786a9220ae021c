"""Voicemail: what is recorded, when it ends, and who is told."""

import io
import wave

import httpx
import msgspec
import numpy as np
import pytest
from trio.testing import MockClock

from benchmarks.simulators.twilio import (
    CallOptions,
    CallReport,
    Digits,
    HangUp,
    Recording,
    Recordings,
    RecordingSettings,
    place_call,
)
from benchmarks.simulators.twilio.recordings import MAX_RECORDINGS, StoredRecording
from proto import mulaw
from tests.benchmarks.twilio.application import OPTIONS, Application, speech

RECORD = (
    '<Record action="/after" timeout="2" playBeep="false" recordingStatusCallback="/recorded" '
    'recordingStatusCallbackEvent="in-progress completed absent"/><Say>Nothing was said.</Say>'
)


def pages(voice: str = RECORD) -> Application:
    return Application({"/voice": voice, "/after": "<Hangup/>", "/recorded": 204})


async def call(
    application: Application, caller: Recording, options: CallOptions = OPTIONS
) -> tuple[CallReport, Recordings]:
    recordings = Recordings()
    transport = httpx.MockTransport(application)
    return await place_call(options, caller, http_transport=transport, recordings=recordings), recordings


def message(ms: int = 1500, *, then: str = "", hang_up_ms: int = 15_000) -> Recording:
    """Half a second of silence, then speech."""
    keys = [Digits(500 + ms, then)] if then else []
    return Recording(mulaw.silence(500) + speech(ms), actions=[*keys, HangUp(hang_up_ms)])


async def test_a_message_ends_with_silence_and_is_told_to_the_action(autojump_clock: MockClock) -> None:
    application = pages()
    report, recordings = await call(application, message())
    [told] = application.told("/after")
    [recording] = recordings.all()
    assert recording.audio == speech(1500)  # silence is trimmed
    assert told["RecordingUrl"] == (
        f"https://api.twilio.com/2010-04-01/Accounts/{recording.account_sid}/Recordings/{recording.sid}"
    )
    assert (told["RecordingSid"], told["RecordingDuration"]) == (recording.sid, "2")
    assert "Digits" not in told
    assert [asked.at_s for asked in application.requests if asked.path == "/after"] == [pytest.approx(4.0)]
    assert [(each.status, each.duration_ms) for each in report.recordings] == [("completed", 1500)]


async def test_the_callback_comes_when_the_file_is_there_and_the_action_did_not_wait(
    autojump_clock: MockClock,
) -> None:
    application = pages()
    await call(application, message())
    begun, completed = application.told("/recorded")
    assert begun["RecordingStatus"] == "in-progress"
    assert "RecordingUrl" not in begun
    assert (
        completed.items()
        >= {
            "RecordingStatus": "completed",
            "RecordingDuration": "2",
            "RecordingChannels": "1",
            "RecordingSource": "RecordVerb",
        }.items()
    )
    assert application.paths == ["/voice", "/recorded", "/after", "/recorded"]
    assert application.requests[-1].at_s == pytest.approx(5.0)


async def test_a_key_ends_the_message_and_is_told(autojump_clock: MockClock) -> None:
    application = pages()
    await call(application, message(then="#"))
    assert application.told("/after")[0]["Digits"] == "#"


async def test_only_the_finishing_key_ends_the_message(autojump_clock: MockClock) -> None:
    application = pages(RECORD.replace("<Record", '<Record finishOnKey="*"'))
    await call(application, message(then="#"))
    assert "Digits" not in application.told("/after")[0]


async def test_a_caller_who_hangs_up_leaves_the_message_behind(autojump_clock: MockClock) -> None:
    application = pages()
    report, recordings = await call(application, message(hang_up_ms=1480))
    assert application.told("/after")[0]["Digits"] == "hangup"
    assert (report.ended_by, report.said) == ("caller", ())
    assert recordings.all()[0].audio == speech(1000)


async def test_a_message_has_a_longest_length(autojump_clock: MockClock) -> None:
    application = pages(RECORD.replace("<Record", '<Record maxLength="1" trim="do-not-trim"'))
    _, recordings = await call(application, message())
    assert recordings.all()[0].audio == mulaw.silence(500) + speech(500)


async def test_with_no_timeout_silence_does_not_end_it(autojump_clock: MockClock) -> None:
    application = pages(RECORD.replace('timeout="2"', 'timeout="0" maxLength="9"'))
    await call(application, message())
    assert application.requests[-2].at_s == pytest.approx(9.0)


async def test_silence_is_no_message_and_the_next_verb_follows(autojump_clock: MockClock) -> None:
    application = pages()
    report, recordings = await call(application, Recording(b""))
    assert application.told("/after") == []
    assert report.said == ("Nothing was said.",)
    assert [told["RecordingStatus"] for told in application.told("/recorded")] == ["in-progress", "absent"]
    assert "RecordingUrl" not in application.told("/recorded")[1]
    assert [each.status for each in recordings.all()] == ["absent"]


async def test_a_recording_may_be_absent_although_there_was_a_message(autojump_clock: MockClock) -> None:
    application = pages()
    options = msgspec.structs.replace(OPTIONS, recordings=RecordingSettings(outcome="absent"))
    report, _ = await call(application, message(), options)
    assert application.told("/recorded")[-1]["RecordingStatus"] == "absent"
    assert [each.status for each in report.recordings] == ["absent"]


async def test_a_recording_may_fail_after_the_action_was_told_its_url(autojump_clock: MockClock) -> None:
    application = pages()
    options = msgspec.structs.replace(OPTIONS, recordings=RecordingSettings(outcome="failed", ready_after_s=8))
    await call(application, message(), options)
    assert "RecordingUrl" in application.told("/after")[0]
    failed = application.told("/recorded")[-1]
    assert failed["RecordingStatus"] == "failed"
    assert "RecordingUrl" not in failed
    assert application.requests[-1].at_s == pytest.approx(12.0)


async def test_events_that_were_not_asked_for_are_not_told(autojump_clock: MockClock) -> None:
    voice = '<Record action="/after" timeout="1" recordingStatusCallback="/recorded"/>'
    application = pages(voice)
    await call(application, Recording(b""))
    assert application.told("/recorded") == []  # absent was not asked for


async def test_the_caller_hears_a_beep_first(autojump_clock: MockClock) -> None:
    report, _ = await call(pages(RECORD.replace('playBeep="false"', "")), message())
    assert report.heard_ms == 500
    assert not mulaw.is_silence(report.heard_track[: 500 * 8])


def test_the_file_is_16_bit_pcm_at_8_khz() -> None:
    recording = StoredRecording(sid="RE1", call_sid="CA1", account_sid="AC1", status="completed", audio=speech(40))
    with wave.open(io.BytesIO(recording.wav())) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (8000, 2, 1)
        samples = np.frombuffer(file.readframes(1000), "<i2")
    assert mulaw.encode(samples.astype(np.int16)) == speech(40)


def test_recordings_do_not_pile_up_without_end() -> None:
    recordings = Recordings()
    for n in range(MAX_RECORDINGS + 5):
        recordings.put(StoredRecording(sid=f"RE{n}", call_sid="CA1", account_sid="AC1", status="completed", audio=b""))
    assert len(recordings.all()) == MAX_RECORDINGS
    assert recordings.get("RE4") is None
    assert recordings.get("RE5") is not None
