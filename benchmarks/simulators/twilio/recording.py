"""`<Record>`: listen until the caller is silent, presses a key, leaves or has said enough; then keep it and say so."""

from typing import Final

import numpy as np
import trio

from benchmarks.simulators.twilio.callbacks import Callback
from benchmarks.simulators.twilio.leg import Leg, Outcome
from benchmarks.simulators.twilio.level import is_speech
from benchmarks.simulators.twilio.phone import frames_in
from benchmarks.simulators.twilio.recordings import RecordingStatus, StoredRecording
from benchmarks.simulators.twilio.report import RecordingReport
from benchmarks.simulators.twilio.verbs import Record
from proto import mulaw

BEEP_HZ: Final = 1000
BEEP_S: Final = 0.5
BEEP_LEVEL: Final = 8000  # of 32767

HUNG_UP: Final = "hangup"  # in place of a key


async def record(leg: Leg, verb: Record) -> Outcome:
    """Record the caller and ask the action; an empty recording lets the next verb follow."""
    sid = leg.sids.next("RE")
    leg.phone.take_keys()
    with leg.phone.in_use():
        if verb.play_beep:
            await leg.phone.play(BEEP)
        if "in-progress" in verb.status_callback_events and leg.phone.left_by is None:
            _tell(leg, verb, _stored(leg, sid, "in-progress", b""))
        spoken, key = await _listen(leg, verb)
    audio = _trimmed(spoken) if verb.trim else spoken
    status: RecordingStatus = leg.options.recordings.outcome if any(map(is_speech, _frames(spoken))) else "absent"
    recording = _stored(leg, sid, status, b"" if status == "absent" else audio)
    leg.record.recordings.append(
        RecordingReport(sid=sid, status=status, duration_ms=mulaw.duration_ms(len(recording.audio)))
    )
    leg.nursery.start_soon(_finish, leg, verb, recording)
    if status == "absent":
        return leg.phone.left_by
    pressed = HUNG_UP if leg.phone.left_by == "caller" else key
    fields = {
        "RecordingUrl": leg.recordings.url(recording),
        "RecordingSid": sid,
        "RecordingDuration": str(recording.duration_s),
    }
    return await leg.ask_or_follow(verb.action, verb.method, fields | ({"Digits": pressed} if pressed else {}))


async def _listen(leg: Leg, verb: Record) -> tuple[bytes, str]:
    """What was said, and the key that ended it, "" if none did."""
    said = bytearray()
    quiet_frames = 0
    patience = frames_in(verb.timeout_s) if verb.timeout_s else None
    for _ in range(frames_in(verb.max_length_s)):
        if leg.phone.left_by is not None:
            break
        frame = await leg.phone.tick()
        said += frame
        quiet_frames = 0 if is_speech(frame) else quiet_frames + 1
        ending = [key for key in leg.phone.take_keys() if key in verb.finish_on_key]
        if ending:
            return bytes(said), ending[0]
        if quiet_frames == patience:
            break
    return bytes(said), ""


async def _finish(leg: Leg, verb: Record, recording: StoredRecording) -> None:
    """The file takes a moment, and so does the callback: the action may be asked before either."""
    await trio.sleep(leg.options.recordings.ready_after_s)
    leg.recordings.put(recording)
    wanted = "absent" if recording.status == "absent" else "completed"  # a failure is told like a completion
    if wanted in verb.status_callback_events:
        _tell(leg, verb, recording)


def _tell(leg: Leg, verb: Record, recording: StoredRecording) -> None:
    if verb.status_callback is None:
        return
    fields = {
        "AccountSid": recording.account_sid,
        "CallSid": recording.call_sid,
        "RecordingSid": recording.sid,
        "RecordingStatus": recording.status,
        "RecordingChannels": "1",
        "RecordingSource": "RecordVerb",
        "RecordingTrack": "inbound",
        "RecordingStartTime": leg.wall.rfc2822(trio.current_time()),
    }
    if recording.status == "completed":
        fields |= {"RecordingUrl": leg.recordings.url(recording), "RecordingDuration": str(recording.duration_s)}
    leg.courier.fire(Callback("recording", verb.status_callback, verb.status_callback_method, fields))


def _stored(leg: Leg, sid: str, status: RecordingStatus, audio: bytes) -> StoredRecording:
    return StoredRecording(
        sid=sid,
        call_sid=leg.identity.call_sid,
        account_sid=leg.identity.account_sid,
        status=status,
        audio=audio,
    )


def _trimmed(audio: bytes) -> bytes:
    """Without the silence before the first word and after the last."""
    loud = [number for number, frame in enumerate(_frames(audio)) if is_speech(frame)]
    return audio[loud[0] * mulaw.FRAME_BYTES : (loud[-1] + 1) * mulaw.FRAME_BYTES] if loud else b""


def _frames(audio: bytes) -> list[bytes]:
    return [audio[at : at + mulaw.FRAME_BYTES] for at in range(0, len(audio), mulaw.FRAME_BYTES)]


def _beep() -> bytes:
    phase = 2 * np.pi * BEEP_HZ * np.arange(round(BEEP_S * mulaw.SAMPLE_RATE_HZ)) / mulaw.SAMPLE_RATE_HZ
    return mulaw.encode((BEEP_LEVEL * np.sin(phase)).astype(np.int16))


BEEP: Final = _beep()
