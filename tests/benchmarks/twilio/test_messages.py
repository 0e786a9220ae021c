"""Messages are written as Twilio documents them, and read as strictly as it reads them."""

import base64
import json

import pytest

from benchmarks.simulators.twilio import messages
from proto import mulaw

SID = "MZ" + "1" * 32


def test_a_stream_opens_with_connected_and_start() -> None:
    body = messages.StartBody("AC1", SID, "CA1", {"token": "t"})
    assert json.loads(messages.encode(messages.Connected())) == {
        "event": "connected",
        "protocol": "Call",
        "version": "1.0.0",
    }
    assert json.loads(messages.encode(messages.Start("1", body, SID))) == {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": "AC1",
            "streamSid": SID,
            "callSid": "CA1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": "t"},
        },
        "streamSid": SID,
    }


def test_media_numbers_are_strings_and_a_frame_is_216_characters() -> None:
    raw = messages.encode(messages.Media("2", messages.media_body(1, 155, mulaw.silence(20)), SID))
    message = json.loads(raw)
    payload = message["media"].pop("payload")
    assert len(payload) == 216
    assert payload.endswith("==")
    assert base64.b64decode(payload) == mulaw.silence(20)
    assert message == {
        "event": "media",
        "sequenceNumber": "2",
        "media": {"track": "inbound", "chunk": "1", "timestamp": "155"},
        "streamSid": SID,
    }


def test_keys_marks_and_the_end_are_shaped_as_documented() -> None:
    sent: list[messages.Outbound] = [
        messages.Dtmf(SID, "3", messages.DtmfBody("5")),
        messages.Mark("4", SID, messages.MarkBody("g3.17")),
        messages.Stop("5", messages.StopBody("AC1", "CA1"), SID),
    ]
    assert [json.loads(messages.encode(message)) for message in sent] == [
        {"event": "dtmf", "streamSid": SID, "sequenceNumber": "3", "dtmf": {"track": "inbound_track", "digit": "5"}},
        {"event": "mark", "sequenceNumber": "4", "streamSid": SID, "mark": {"name": "g3.17"}},
        {"event": "stop", "sequenceNumber": "5", "stop": {"accountSid": "AC1", "callSid": "CA1"}, "streamSid": SID},
    ]


def test_the_three_shapes_are_accepted() -> None:
    play = messages.decode(json.dumps({"event": "media", "streamSid": SID, "media": {"payload": "AP8="}}), SID)
    assert isinstance(play, messages.Play)
    assert messages.audio_of(play) == b"\x00\xff"
    mark = messages.decode(json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": "m"}}), SID)
    assert isinstance(mark, messages.MarkRequest)
    clear = messages.decode(json.dumps({"event": "clear", "streamSid": SID}), SID)
    assert isinstance(clear, messages.Clear)


BAD_MESSAGES = {
    "binary": b'{"event":"clear","streamSid":"%s"}' % SID.encode(),
    "not JSON": "hello",
    "deeply nested": "[" * 100_000,
    "lone surrogate": '"\ud800"',
    "no object": "[]",
    "no event": json.dumps({"streamSid": SID}),
    "unknown event": json.dumps({"event": "start", "streamSid": SID}),
    "no streamSid": json.dumps({"event": "clear"}),
    "streamSid null": json.dumps({"event": "clear", "streamSid": None}),
    "another stream": json.dumps({"event": "clear", "streamSid": "MZ2"}),
    "extra key": json.dumps({"event": "clear", "streamSid": SID, "sequenceNumber": "1"}),
    "extra key in media": json.dumps({"event": "media", "streamSid": SID, "media": {"payload": "", "track": "x"}}),
    "extra key in mark": json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": "m", "at": 1}}),
    "no media": json.dumps({"event": "media", "streamSid": SID}),
    "no payload": json.dumps({"event": "media", "streamSid": SID, "media": {}}),
    "payload a number": json.dumps({"event": "media", "streamSid": SID, "media": {"payload": 5}}),
    "mark without name": json.dumps({"event": "mark", "streamSid": SID, "mark": {}}),
    "mark name a number": json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": 7}}),
}


@pytest.mark.parametrize("raw", BAD_MESSAGES.values(), ids=BAD_MESSAGES.keys())
def test_everything_else_is_refused(raw: str | bytes) -> None:
    with pytest.raises(messages.InvalidMessageError):
        messages.decode(raw, SID)


@pytest.mark.parametrize("payload", ["A", "AP8", "AP8=AP8=", "AP-_", "AP8=\n", "A P8=", "ÄP8=", "===="])
def test_payloads_are_strict_base64(payload: str) -> None:
    play = messages.decode(json.dumps({"event": "media", "streamSid": SID, "media": {"payload": payload}}), SID)
    assert isinstance(play, messages.Play)
    with pytest.raises(messages.InvalidMessageError):
        messages.audio_of(play)
