"""Twilio's messages: each documented shape is read exactly, what we write has exactly the documented keys, and nothing
that arrives can do more than be refused."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import twilio
from proto.errors import RemoteProtocolError

STREAM = "MZ3b0c55e1f2a94d7c8e61d20b9f4a7c13"
CALL = "CA90e4f1b76c2d48a5b3f09d1c6e7a2845"
ACCOUNT = "AC7d1f0c2b9a8e46d3b5c4a39281706f5e"
SEVEN_BYTES = "/////////w=="

# Messages as Twilio sends them, beside what they mean to us.
DOCUMENTED: list[tuple[str, twilio.Inbound]] = [
    ('{"event":"connected","protocol":"Call","version":"1.0.0"}', twilio.Connected()),
    (
        f'{{"event":"start","sequenceNumber":"1","start":{{"accountSid":"{ACCOUNT}","streamSid":"{STREAM}",'
        f'"callSid":"{CALL}","tracks":["inbound"],"mediaFormat":{{"encoding":"audio/x-mulaw","sampleRate":8000,'
        f'"channels":1}},"customParameters":{{"token":"9f2c1d7e","caller":"+15551230001"}}}},"streamSid":"{STREAM}"}}',
        twilio.Start(
            STREAM,
            twilio.StartBody(
                STREAM,
                CALL,
                ACCOUNT,
                twilio.MediaFormat("audio/x-mulaw", 8000, 1),
                {"token": "9f2c1d7e", "caller": "+15551230001"},
            ),
            sequence_number=1,
        ),
    ),
    (
        f'{{"event":"media","sequenceNumber":"2","media":{{"track":"inbound","chunk":"1","timestamp":"118",'
        f'"payload":"{SEVEN_BYTES}"}},"streamSid":"{STREAM}"}}',
        twilio.Media(STREAM, twilio.MediaBody(b"\xff" * 7, "inbound", 118), sequence_number=2),
    ),
    (
        f'{{"event":"dtmf","streamSid":"{STREAM}","sequenceNumber":"731",'
        '"dtmf":{"track":"inbound_track","digit":"5"}}',
        twilio.Dtmf(STREAM, twilio.DtmfBody("5"), sequence_number=731),
    ),
    (
        f'{{"event":"mark","sequenceNumber":"905","streamSid":"{STREAM}","mark":{{"name":"g3.17"}}}}',
        twilio.Mark(STREAM, twilio.MarkBody("g3.17"), sequence_number=905),
    ),
    (
        f'{{"event":"stop","sequenceNumber":"4120","stop":{{"accountSid":"{ACCOUNT}","callSid":"{CALL}"}},'
        f'"streamSid":"{STREAM}"}}',
        twilio.Stop(STREAM, sequence_number=4120),
    ),
]
KINDS = [type(message).__name__ for _, message in DOCUMENTED]

documented = pytest.mark.parametrize(("raw", "message"), DOCUMENTED, ids=KINDS)


def media(payload: object = SEVEN_BYTES, **fields: object) -> dict[str, Any]:
    return {"event": "media", "streamSid": STREAM, "media": {"payload": payload} | fields}


def decode(message: object) -> twilio.Inbound | twilio.Unhandled:
    return twilio.decode(json.dumps(message).encode())


def refused(raw: bytes) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        twilio.decode(raw)
    assert caught.value.peer == "twilio"
    return caught.value


# What Twilio sends


@documented
def test_each_documented_message_is_read(raw: str, message: twilio.Inbound) -> None:
    assert twilio.decode(raw.encode()) == message


@documented
def test_the_order_of_keys_means_nothing(raw: str, message: twilio.Inbound) -> None:
    backwards = dict(reversed(json.loads(raw).items()))
    assert decode(backwards) == message


@documented
def test_fields_that_twilio_adds_one_day_are_skipped(raw: str, message: twilio.Inbound) -> None:
    sent: dict[str, Any] = json.loads(raw)
    fields: dict[str, Any] = {
        key: value | {"new": [1]} if isinstance(value, dict) else value for key, value in sent.items()
    }
    assert decode(fields | {"new": {"a": None}}) == message


@pytest.mark.parametrize("number", ["7", 7, 7.0])
def test_counters_may_be_strings_or_numbers(number: object) -> None:
    message = decode(media(timestamp=number) | {"sequenceNumber": number})
    assert isinstance(message, twilio.Media)
    assert (message.sequence_number, message.media.timestamp) == (7, 7)


@pytest.mark.parametrize("number", ["", "seven", "1.5", "0x7", None, True, [], {}, 7.5])
def test_a_frame_is_not_lost_for_a_counter_that_cannot_be_read(number: object) -> None:
    message = decode(media(timestamp=number) | {"sequenceNumber": number})
    assert message == twilio.Media(STREAM, twilio.MediaBody(b"\xff" * 7))


def test_a_counter_of_thirty_digits_does_no_harm() -> None:
    message = decode(media(timestamp="9" * 30) | {"sequenceNumber": int("9" * 30)})
    assert isinstance(message, twilio.Media)
    assert message.media.payload == b"\xff" * 7


def test_a_start_without_parameters_has_none() -> None:
    start: dict[str, Any] = {"streamSid": STREAM, "callSid": CALL}
    for fields in (start, start | {"customParameters": {}}):
        message = decode({"event": "start", "streamSid": STREAM, "start": fields})
        assert isinstance(message, twilio.Start)
        assert message.start.custom_parameters == {}


@pytest.mark.parametrize("tag", ["transcription", "Media", "", "stop ", "x" * 1000])
def test_a_kind_that_nobody_knows_yet_is_named_and_left_alone(tag: str) -> None:
    assert decode({"event": tag, "streamSid": STREAM}) == twilio.Unhandled(tag[:64])


# Audio


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_audio_of_any_length_arrives_byte_exact(audio: bytes) -> None:
    message = decode(media(base64.b64encode(audio).decode()))
    assert isinstance(message, twilio.Media)
    assert message.media.payload == audio


BAD_BASE64 = {
    "no padding": "/////////w",
    "short padding": "/////////w=",
    "long padding": "////w===",
    "only padding": "====",
    "data after padding": "//8=AAAA",
    "blanks": "//8= ",
    "a line break": "//8=\n",
    "the URL alphabet": "__-_",
    "foreign characters": "//!8",
    "not ASCII": "//8é",
    "a lone surrogate": "//\ud800",
    "one character": "/",
}


@pytest.mark.parametrize("payload", BAD_BASE64.values(), ids=BAD_BASE64.keys())
def test_base64_is_read_strictly(payload: str) -> None:
    refused(json.dumps(media(payload)).encode())


@pytest.mark.parametrize("payload", [None, 5, True, ["/w=="], {}])
def test_a_payload_that_is_no_text_is_refused(payload: object) -> None:
    assert refused(json.dumps(media(payload)).encode()).tag == "media"


# What cannot be read

NOT_JSON = {
    "nothing": b"",
    "words": b"hello",
    "half a message": b'{"event":"media","streamSid":',
    "two messages": b'{"event":"connected"}{"event":"connected"}',
    "a trailing comma": b'{"event":"connected",}',
    "NaN": b'{"event":"stop","streamSid":"MZ1","sequenceNumber":NaN}',
    "a number beyond all numbers": b'{"event":"stop","streamSid":"MZ1","sequenceNumber":1e400}',
    "a raw control character": b'{"event":"stop","streamSid":"\x01"}',
    "half a surrogate pair": b'{"event":"stop","streamSid":"\\ud800"}',
    "not UTF-8": b'{"event":"stop","streamSid":"\xff"}',
    "100 000 brackets": b"[" * 100_000,
    "100 000 brackets in a field": b'{"event":"stop","streamSid":"MZ1","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100 000 braces in a field": b'{"event":"stop","streamSid":"MZ1","x":' + b'{"x":' * 100_000,
}


@pytest.mark.parametrize("raw", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_no_json_is_refused_without_naming_a_kind(raw: bytes) -> None:
    assert refused(raw).tag == ""


@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"1", b"null", b"true", b"[{}]", b"{}"])
def test_json_that_is_no_message_is_refused(raw: bytes) -> None:
    assert refused(raw).tag == ""


@pytest.mark.parametrize("tag", [None, 5, True, ["media"], {"media": 1}])
def test_an_event_that_is_no_text_is_refused(tag: object) -> None:
    assert refused(json.dumps({"event": tag, "streamSid": STREAM}).encode()).tag == ""


LACKING: dict[str, dict[str, Any]] = {
    "media without a stream": {"event": "media", "media": {"payload": "/w=="}},
    "media without a body": {"event": "media", "streamSid": STREAM},
    "media with a null body": {"event": "media", "streamSid": STREAM, "media": None},
    "media without a payload": {"event": "media", "streamSid": STREAM, "media": {"timestamp": "5"}},
    "start without a stream": {"event": "start", "start": {"streamSid": STREAM, "callSid": CALL}},
    "start without its own stream": {"event": "start", "streamSid": STREAM, "start": {"callSid": CALL}},
    "start without a call": {"event": "start", "streamSid": STREAM, "start": {"streamSid": STREAM}},
    "start without a body": {"event": "start", "streamSid": STREAM},
    "mark without a body": {"event": "mark", "streamSid": STREAM},
    "mark without a name": {"event": "mark", "streamSid": STREAM, "mark": {}},
    "mark with a number for a name": {"event": "mark", "streamSid": STREAM, "mark": {"name": 5}},
    "dtmf without a digit": {"event": "dtmf", "streamSid": STREAM, "dtmf": {"track": "inbound_track"}},
    "stop without a stream": {"event": "stop"},
}


@pytest.mark.parametrize("message", LACKING.values(), ids=LACKING.keys())
def test_a_message_that_lacks_what_its_kind_must_have_is_refused_by_name(message: dict[str, Any]) -> None:
    assert refused(json.dumps(message).encode()).tag == message["event"]


def test_of_a_key_that_comes_twice_one_counts() -> None:
    raw = f'{{"event":"media","event":"stop","streamSid":"{STREAM}","streamSid":"{STREAM}"}}'
    assert twilio.decode(raw.encode()) == twilio.Stop(STREAM)


def test_a_refusal_quotes_no_audio() -> None:
    audio = base64.b64encode(b"my secret words").decode()
    assert audio not in str(refused(json.dumps(media(audio + "!")).encode()))


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_no_bytes_at_all_do_more_than_be_refused(raw: bytes) -> None:
    refused(raw + b"!")


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(
    st.sampled_from(["connected", "start", "media", "mark", "dtmf", "stop", "clear"]),
    st.dictionaries(
        st.sampled_from(["streamSid", "sequenceNumber", "media", "start", "mark", "dtmf", "stop"]), any_json
    ),
)
@settings(deadline=None)
def test_any_json_at_all_is_read_or_refused(tag: str, fields: dict[str, object]) -> None:
    refused_tags = set()
    try:
        decode(fields | {"event": tag})
    except RemoteProtocolError as error:
        refused_tags.add(error.tag)
    assert refused_tags <= {tag, ""}


# What we write

WRITTEN: list[tuple[twilio.Outbound, dict[str, Any]]] = [
    (
        twilio.Play(STREAM, twilio.PlayBody(b"\xff" * 7)),
        {"event": "media", "streamSid": STREAM, "media": {"payload": SEVEN_BYTES}},
    ),
    (
        twilio.SendMark(STREAM, twilio.MarkBody("g3.17")),
        {"event": "mark", "streamSid": STREAM, "mark": {"name": "g3.17"}},
    ),
    (twilio.Clear(STREAM), {"event": "clear", "streamSid": STREAM}),
]


@pytest.mark.parametrize(("message", "fields"), WRITTEN, ids=["Play", "SendMark", "Clear"])
def test_what_we_write_has_exactly_the_documented_keys(message: twilio.Outbound, fields: dict[str, Any]) -> None:
    assert json.loads(twilio.encode(message)) == fields


@given(st.text(), st.binary(max_size=2000))
@settings(deadline=None)
def test_whatever_we_write_is_read_back_as_it_was(stream_sid: str, audio: bytes) -> None:
    fields = json.loads(twilio.encode(twilio.Play(stream_sid, twilio.PlayBody(audio))))
    assert fields == {"event": "media", "streamSid": stream_sid, "media": fields["media"]}
    assert base64.b64decode(fields["media"]["payload"], validate=True) == audio
    assert list(fields["media"]) == ["payload"]


@given(st.text(), st.text())
@settings(deadline=None)
def test_a_mark_comes_back_under_the_name_it_was_sent_with(stream_sid: str, name: str) -> None:
    echo = twilio.decode(twilio.encode(twilio.SendMark(stream_sid, twilio.MarkBody(name))))
    assert echo == twilio.Mark(stream_sid, twilio.MarkBody(name))
