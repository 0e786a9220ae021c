"""TwiML is read as Twilio reads it, as far as a relay can tell."""

import pytest
from twilio.twiml.voice_response import Connect as TwilioConnect  # type: ignore[import-untyped]  # no types shipped
from twilio.twiml.voice_response import VoiceResponse

from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.stream import parse_stream_url
from benchmarks.simulators.twilio.twiml import (
    Connect,
    Hangup,
    Pause,
    Redirect,
    Reject,
    Say,
    Stream,
    Unsupported,
    Verb,
    parse,
)

BASE = "https://relay.example/twilio/voice"


def verbs(inner: str) -> list[Verb]:
    return parse(f'<?xml version="1.0" encoding="UTF-8"?><Response>{inner}</Response>'.encode(), BASE)


def test_what_twilios_own_library_writes_is_understood() -> None:
    response, connect = VoiceResponse(), TwilioConnect(action="/after?a=1&b=2")
    stream = connect.stream(url="wss://relay.example/media")
    stream.parameter(name="caller", value='"Zoë" <+1555> & more')
    response.say("One moment.")
    response.append(connect)
    response.redirect("again", method="GET")
    assert parse(str(response).encode(), BASE) == [
        Say("One moment."),
        Connect(
            Stream("wss://relay.example/media", {"caller": '"Zoë" <+1555> & more'}),
            action="https://relay.example/after?a=1&b=2",
            method="POST",
        ),
        Redirect("https://relay.example/twilio/again", "GET"),
    ]


def test_the_short_verbs() -> None:
    inner = '<Pause/><Pause length="2"/><Hangup/><Reject reason="busy"/><Reject/>'
    assert verbs(inner) == [Pause(1), Pause(2), Hangup(), Reject("busy"), Reject("rejected")]


def test_a_relative_stream_url_takes_the_documents_host() -> None:
    [connect] = verbs('<Connect><Stream url="/media"/></Connect>')
    assert isinstance(connect, Connect)
    assert connect.stream.url == "wss://relay.example/media"


def test_other_verbs_are_named_not_pretended() -> None:
    inner = "<Dial>+1555</Dial><Start><Stream url='wss://x'/></Start><Connect><ConversationRelay/></Connect><Connect/>"
    assert verbs(inner) == [
        Unsupported("Dial"),
        Unsupported("Start"),
        Unsupported("Connect with <ConversationRelay>"),
        Unsupported("Connect with nothing"),
    ]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", 12100),
        (b"<Response>", 12100),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><Response>&a;</Response>", 12100),
        (b"<Response>" + b" " * 65536 + b"</Response>", 12100),
        (b"<html/>", 12200),
        (b"<Response><Pause length='long'/></Response>", 12200),
        (b"<Response><Connect><Stream track='both_tracks' url='wss://x/'/></Connect></Response>", 31941),
        (b"<Response><Connect><Stream/></Connect></Response>", 31923),
        (
            b"<Response><Connect><Stream url='wss://x/'><Parameter name='n' value='%s'/></Stream></Connect></Response>"
            % (b"v" * 499),
            12200,
        ),
    ],
)
def test_what_is_no_twiml_is_refused_with_twilios_code(document: bytes, code: int) -> None:
    with pytest.raises(CallProblemError) as caught:
        parse(document, BASE)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ws://relay.example/media", 31922),
        ("https://relay.example/media", 31922),
        ("wss:///media", 31923),
        ("wss://me:pw@relay.example/media", 31923),
        ("wss://relay.example/media#x", 31923),
        ("wss://relay.example:port/media", 31923),
        ("wss://relay.example/media?call=1", 31920),
    ],
)
def test_a_stream_url_that_twilio_would_not_dial_is_refused(url: str, code: int) -> None:
    with pytest.raises(CallProblemError) as caught:
        parse_stream_url(url)
    assert caught.value.code == code


def test_a_stream_url_is_taken_apart() -> None:
    address = parse_stream_url("wss://relay.example:8443/media/")
    assert (address.host, address.port, address.is_tls, address.target) == ("relay.example", 8443, True, "/media/")
    assert address.host_header == "relay.example:8443"
    local = parse_stream_url("ws://127.0.0.1", allow_insecure=True)
    assert (local.port, local.is_tls, local.target, local.host_header) == (80, False, "/", "127.0.0.1")
