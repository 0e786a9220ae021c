"""TwiML is read as Twilio reads it, as far as a relay can tell."""

import pytest
from twilio.twiml.voice_response import Connect as TwilioConnect
from twilio.twiml.voice_response import VoiceResponse

from benchmarks.simulators.twilio.errors import CallProblemError
from benchmarks.simulators.twilio.stream import parse_stream_url
from benchmarks.simulators.twilio.twiml import parse
from benchmarks.simulators.twilio.verbs import (
    Connect,
    Dial,
    Enqueue,
    Gather,
    Hangup,
    Pause,
    Play,
    Record,
    Redirect,
    Reject,
    Say,
    Stream,
    Target,
    Unsupported,
    Verb,
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
    inner = "<Sms/><Start><Stream url='wss://x'/></Start><Connect><ConversationRelay/></Connect><Connect/>"
    assert verbs(inner) == [
        Unsupported("Sms"),
        Unsupported("Start"),
        Unsupported("Connect with <ConversationRelay>"),
        Unsupported("Connect with nothing"),
    ]
    assert verbs("<Dial><Conference>room</Conference></Dial><Dial/>") == [
        Unsupported("Dial with <Conference>"),
        Unsupported("Dial with nothing"),
    ]


def test_attributes_that_are_not_carried_out_are_named_too() -> None:
    inner = '<Dial record="record-from-answer"><Number url="/whisper">+1555</Number></Dial><Record transcribe="true"/>'
    names = [verb.verb for verb in verbs(inner) if isinstance(verb, Unsupported)]
    assert names == ["Dial record", "Number url", "Record transcribe"]


def test_what_twilios_own_library_writes_for_the_staffs_telephone_is_understood() -> None:
    response = VoiceResponse()
    dial = response.dial(action="/after", timeout=12, time_limit=60, caller_id="+15550001", hangup_on_star=True)
    dial.number("+15550002", status_callback="/leg", status_callback_event="ringing answered")
    dial.client("anna")
    dial.sip("sip:bob@pbx.example")
    response.enqueue("support", action="/queued", wait_url="/wait")
    assert parse(str(response).encode(), BASE) == [
        Dial(
            targets=(
                Target(
                    "+15550002",
                    status_callback="https://relay.example/leg",
                    status_callback_events=("ringing", "answered"),
                ),
                Target("client:anna"),
                Target("sip:bob@pbx.example"),
            ),
            action="https://relay.example/after",
            timeout_s=12,
            time_limit_s=60,
            caller_id="+15550001",
            hangup_on_star=True,
        ),
        Enqueue(name="support", action="https://relay.example/queued", wait_url="https://relay.example/wait"),
    ]


def test_what_twilios_own_library_writes_for_voicemail_and_menus_is_understood() -> None:
    response = VoiceResponse()
    gather = response.gather(num_digits=1, timeout=3, action="/menu", action_on_empty_result=True)
    gather.say("Press one.", loop=2)
    gather.play(digits="w1")
    response.play("/hold.wav", loop=0)
    response.record(
        max_length=90,
        timeout=4,
        finish_on_key="#",
        play_beep=False,
        trim="do-not-trim",
        recording_status_callback="/recorded",
        recording_status_callback_event="completed absent",
    )
    assert parse(str(response).encode(), BASE) == [
        Gather(
            prompts=(Say("Press one.", 2), Play(digits="w1")),
            action="https://relay.example/menu",
            num_digits=1,
            timeout_s=3,
            action_on_empty=True,
        ),
        Play("https://relay.example/hold.wav", loop=0),
        Record(
            action=BASE,  # without an action it is the document's own: a loop, unless the document minds
            timeout_s=4,
            finish_on_key="#",
            max_length_s=90,
            play_beep=False,
            trim=False,
            status_callback="https://relay.example/recorded",
            status_callback_events=("completed", "absent"),
        ),
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
        (b"<Response><Pause length='inf'/></Response>", 12200),
        (b"<Response><Connect><Stream track='both_tracks' url='wss://x/'/></Connect></Response>", 31941),
        (b"<Response><Connect><Stream/></Connect></Response>", 31923),
        (b"<Response><Play/></Response>", 12200),
        (b"<Response><Enqueue/></Response>", 12200),
        (b"<Response><Enqueue>" + b"q" * 65 + b"</Enqueue></Response>", 12200),
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
    "inner", ["<Record/>", "<Gather/>", "<Redirect>/voice</Redirect>", '<Dial action="/a">1</Dial>']
)
def test_inline_twiml_needs_absolute_urls(inner: str) -> None:
    with pytest.raises(CallProblemError) as caught:
        parse(f"<Response>{inner}</Response>".encode(), "")
    assert caught.value.code == 11100


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
