"""What can go wrong between a relay and OpenAI, and when: a trouble strikes once, in one phase of a call.

A trouble is told by what it does to a session. What happens while a session is opened (`Refused`, `Hangs`, `Mute`,
`SettingsIgnored`, `SettingsRefused`) needs one that is being opened: in the phases in which none is, the session in use
is cut off first, and the one that is to follow it meets the trouble. `Struck` happens to a session at any time,
`ResponseFails` to a response of it.
"""

from typing import Literal

import msgspec

from benchmarks.simulators.openai import Close, Disturbance, Drop, Fail, SendError, SendText, Stall
from proto.errors import HandshakeError
from relay.retry import Failure, failure_of

Phase = Literal[
    "connecting", "greeting", "waiting", "listening", "speaking", "tool_running", "rolling_over", "taking_over"
]

TOO_BIG = 1009  # how a WebSocket ends that refuses a message for its size (RFC 6455, 7.4.1)
MALFORMED_IN_A_ROW = 25
STALL_S = 600.0  # longer than anybody waits


class Refused(msgspec.Struct, frozen=True):
    """No session could be had, and it is known at once."""

    failure: Failure


class Hangs(msgspec.Struct, frozen=True):
    """The upgrade is never answered."""


class Mute(msgspec.Struct, frozen=True):
    """Upgraded, and then never a word."""


class SettingsIgnored(msgspec.Struct, frozen=True):
    """`session.created` comes, and after that nothing."""


class Struck(msgspec.Struct, frozen=True):
    """These happen to a session, one right after the other."""

    by: tuple[Disturbance, ...]


class ResponseFails(msgspec.Struct, frozen=True):
    """A response ends `failed` before it says anything."""

    how: Fail


class SettingsRefused(msgspec.Struct, frozen=True):
    """What we ask for at the beginning is answered by this error."""

    error: SendError


Happening = Refused | Hangs | Mute | SettingsIgnored | SettingsRefused | Struck | ResponseFails


class Trouble(msgspec.Struct, frozen=True):
    """One thing that goes wrong. story: in a person's words."""

    name: str
    story: str
    happening: Happening

    @property
    def is_in_opening(self) -> bool:
        """It can only happen to a session that is being opened."""
        return not isinstance(self.happening, Struck | ResponseFails)


def _http(status: int, retry_after_s: float | None = None) -> Refused:
    return Refused(failure_of(HandshakeError(f"HTTP {status}", status=status, retry_after_s=retry_after_s)))


def _closed(code: int, reason: str = "") -> Struck:
    return Struck((Close(code, reason),))


_LIMIT = "Your session hit the maximum duration of 60 minutes."
_EXPIRED = SendError("session_expired", _LIMIT, kind="invalid_request_error")
_NO_MONEY = "You exceeded your current quota."

# In the order in which a session lives: opened, configured, used.
TROUBLES = (
    Trouble("tcp_refused", "nobody answers at the address", Refused(failure_of(ConnectionRefusedError()))),
    Trouble("http_401", "the upgrade is refused with 401, the key is wrong", _http(401)),
    Trouble("http_403", "the upgrade is refused with 403, the key may not", _http(403)),
    Trouble("http_429_1", "the upgrade is refused with 429, Retry-After 1", _http(429, 1.0)),
    Trouble("http_429_60", "the upgrade is refused with 429, Retry-After 60", _http(429, 60.0)),
    Trouble("http_503", "the upgrade is refused with 503", _http(503)),
    Trouble("upgrade_hangs", "the upgrade is never answered", Hangs()),
    Trouble("no_created", "the session never says that it is there", Mute()),
    Trouble(
        "settings_refused",
        "our settings are refused",
        SettingsRefused(SendError("unknown_parameter", "Unknown parameter.", kind="invalid_request_error")),
    ),
    Trouble("no_updated", "our settings are never answered", SettingsIgnored()),
    Trouble("dropped", "the line is cut, without a close frame", Struck((Drop(),))),
    Trouble("close_1000", "OpenAI closes with 1000, as if all were well", _closed(1000)),
    Trouble("close_1001", "OpenAI closes with 1001", _closed(1001, _LIMIT)),
    Trouble("expired", "OpenAI says `session_expired` and closes with 1001", Struck((_EXPIRED, Close(1001, _LIMIT)))),
    Trouble("close_1011", "OpenAI closes with 1011, an error of its own", _closed(1011)),
    Trouble("close_1013", "OpenAI closes with 1013, try again later", _closed(1013)),
    Trouble(
        "close_3000",
        "OpenAI closes with 3000, the key is wrong",
        _closed(3000, "invalid_request_error.invalid_api_key"),
    ),
    Trouble(
        "close_4000",
        "OpenAI closes with 4000, the model is wrong",
        _closed(4000, "invalid_request_error.invalid_model"),
    ),
    Trouble("stall", "the session stays open and says nothing any more", Struck((Stall(STALL_S),))),
    Trouble(
        "malformed", "25 messages in a row that are no JSON", Struck((SendText("{not json"),) * MALFORMED_IN_A_ROW)
    ),
    Trouble("oversized", "a message that is too large to be taken", _closed(TOO_BIG)),
    Trouble("no_quota", "an error `insufficient_quota`", Struck((SendError("insufficient_quota", _NO_MONEY),))),
    Trouble(
        "response_server_error",
        "a response fails with `server_error`",
        ResponseFails(Fail("server_error", "The server had an error.")),
    ),
    Trouble(
        "response_rate_limited",
        "a response fails with `rate_limit_exceeded`",
        ResponseFails(Fail("rate_limit_exceeded", "Rate limit reached.", kind="rate_limit_error")),
    ),
    Trouble(
        "response_no_quota",
        "a response fails with `insufficient_quota`",
        ResponseFails(Fail("insufficient_quota", _NO_MONEY, kind="insufficient_quota")),
    ),
)
