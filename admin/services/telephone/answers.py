"""What Twilio is told to do with a call, as TwiML made with the official helper, which escapes what it is given."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import assert_never
from urllib.parse import urlsplit

from twilio.twiml.voice_response import Connect, Dial, VoiceResponse

from admin.errors import UnusableHostError
from admin.services.telephone.fallbacks import Fallback, Message, Transfer, Voicemail
from relay import MEDIA_PATH

AFTER_STREAM_PATH = "/after-stream"
AFTER_DIAL_PATH = "/after-dial"
AFTER_VOICEMAIL_PATH = "/after-voicemail"
STATUS_PATH = "/voice/status"
STREAM_STATUS_PATH = "/stream/status"
RECORDING_PATH = "/voice/recording"
PARAMETER_CHARACTERS = 499  # Twilio: a <Parameter>'s name and value stay under 500 characters together
STAFF_RINGS_S = 20  # not much longer, or a mobile phone's mailbox answers in their place

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def connect(*, stream_url: str, action: str, parameters: Mapping[str, str], status_callback: str | None = None) -> str:
    """Join the call to our media stream; Twilio asks `action` what to do once the stream is closed.

    Args: parameters, come back in the stream's start message, blank ones are left out, long ones cut; status_callback,
    told when the stream begins, ends or fails.
    """
    response = VoiceResponse()
    verb = Connect(action=action)
    stream = verb.stream(url=stream_url, status_callback=status_callback)
    for name, value in parameters.items():
        fitting = _NOT_XML.sub("", value)[: PARAMETER_CHARACTERS - len(name)]
        if fitting:
            stream.parameter(name=name, value=fitting)
    response.append(verb)
    return str(response)


def hang_up() -> str:
    """End the call."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def dial_staff(number: str, *, action: str, caller_id: str | None) -> str:
    """Connect the caller to a person; Twilio asks `action` what to do once they have talked or nobody answered.

    Args: number, E.164; caller_id, whom the person sees calling, None for the caller.
    """
    response = VoiceResponse()
    verb = Dial(action=action, timeout=STAFF_RINGS_S, caller_id=caller_id)
    verb.number(number)
    response.append(verb)
    return str(response)


def say_and_ask(text: str, *, language: str | None, url: str) -> str:
    """Say something, and ask `url` what is next. language: such as de-DE, None for Twilio's usual one."""
    response = VoiceResponse()
    response.say(_NOT_XML.sub("", text), language=language)
    response.redirect(url)
    return str(response)


def meet_closed(fallback: Fallback, *, public_url: str | None) -> str:
    """What a caller meets outside of opening hours; where it goes on, Twilio asks or tells us under public_url."""
    base = public_url or ""
    response = VoiceResponse()
    if message := _NOT_XML.sub("", fallback.message).strip():
        response.say(message, language=fallback.language or None)
    match fallback:
        case Voicemail(max_length_s=max_length_s):
            response.record(
                action=base + AFTER_VOICEMAIL_PATH,
                max_length=max_length_s,
                finish_on_key="#",
                recording_status_callback=base + RECORDING_PATH,
                recording_status_callback_event="completed absent",
            )
            response.hangup()  # reached when nothing was said
        case Transfer(number=number):
            verb = Dial(action=base + AFTER_DIAL_PATH, timeout=STAFF_RINGS_S)
            verb.number(number)
            response.append(verb)
        case Message():
            response.hangup()
        case _:
            assert_never(fallback)
    return str(response)


def thank() -> str:
    """Say that the message was taken, and end the call."""
    response = VoiceResponse()
    response.say("Thank you. Goodbye.")
    response.hangup()
    return str(response)


def regret() -> str:
    """Say that no person could be reached, and end the call."""
    response = VoiceResponse()
    response.say("We are sorry, nobody can take your call at the moment. Please call again later.")
    response.hangup()
    return str(response)


def decline() -> str:
    """Say that nobody is free, and end the call."""
    response = VoiceResponse()
    response.say("All our lines are busy at the moment. Please call again in a few minutes.")
    response.hangup()
    return str(response)


def apologise() -> str:
    """Say that something went wrong and end the call: better than the error message Twilio would read out."""
    response = VoiceResponse()
    response.say("We are sorry, something went wrong on our side. Please call again in a moment.")
    response.hangup()
    return str(response)


def stream_url(public_url: str | None, host: str | None) -> str:
    """Where Twilio opens the media stream: under the public address or, without one, under the request's Host.

    Twilio speaks wss only. A simulator on this machine has no certificate, so loopback hosts get ws.
    Raises: UnusableHostError if it comes to the Host header and that is missing or malformed.
    """
    if public_url is not None:
        scheme, _, authority = public_url.partition("://")
        return f"{'ws' if scheme == 'http' else 'wss'}://{authority}{MEDIA_PATH}"
    if host is None or not _HOST.fullmatch(host):
        raise UnusableHostError("PUBLIC_URL is not set, and the request has no usable Host header")
    return f"{'ws' if _is_loopback(host) else 'wss'}://{host}{MEDIA_PATH}"


def after_stream_url(public_url: str | None) -> str:
    """Where Twilio asks what to do after the stream; relative to the webhook when no public address is known."""
    return (public_url or "") + AFTER_STREAM_PATH


def stream_status_url(public_url: str | None) -> str | None:
    """Where Twilio tells how a media stream gets on. It takes no relative address for this."""
    return None if public_url is None else public_url + STREAM_STATUS_PATH


def after_dial_url(public_url: str | None) -> str:
    """Where Twilio asks what to do after staff was dialled; relative like the one before."""
    return (public_url or "") + AFTER_DIAL_PATH


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:  # a name, or brackets around something that is no address
        return False
