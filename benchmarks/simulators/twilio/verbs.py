"""TwiML's verbs as structs, with Twilio's defaults filled in. `twiml.py` reads them, `call.py` has them carried out.

URLs are absolute. `action` is None where the next verb follows instead.
"""

from typing import Literal

import msgspec

from benchmarks.simulators.twilio.options import Method, StatusEvent

ANY_KEY = "0123456789*#"
RecordingEvent = Literal["in-progress", "completed", "absent"]


class Say(msgspec.Struct, frozen=True):
    """Speak a text. loop 0: until the caller hangs up."""

    text: str
    loop: int = 1


class Play(msgspec.Struct, frozen=True):
    """Play what is behind a URL, or keys' tones."""

    url: str = ""
    digits: str = ""
    loop: int = 1


class Pause(msgspec.Struct, frozen=True):
    """Wait on the line."""

    length_s: float


Prompt = Say | Play | Pause


class Stream(msgspec.Struct, frozen=True):
    """A bidirectional stream. The URL is absolute but otherwise unchecked."""

    url: str
    parameters: dict[str, str]
    name: str = ""
    status_callback: str | None = None
    status_callback_method: Method = "POST"


class Connect(msgspec.Struct, frozen=True):
    """Hand the call to a stream until that is closed; with an action, what comes after is decided there."""

    stream: Stream
    action: str | None
    method: Method


class Redirect(msgspec.Struct, frozen=True):
    """Go on with another document."""

    url: str
    method: Method


class Hangup(msgspec.Struct, frozen=True):
    """End the call."""


class Reject(msgspec.Struct, frozen=True):
    """Do not take the call; counts as the first verb only."""

    reason: Literal["rejected", "busy"]


class Gather(msgspec.Struct, frozen=True, kw_only=True):
    """Collect keys, while prompts may play. Speech is not recognised."""

    prompts: tuple[Prompt, ...]
    action: str
    method: Method = "POST"
    num_digits: int | None = None
    finish_on_key: str = "#"
    timeout_s: float = 5.0  # after the prompts, and after each key
    action_on_empty: bool = False


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Record the caller."""

    action: str
    method: Method = "POST"
    timeout_s: float = 5.0  # of silence; 0: do not listen for it
    finish_on_key: str = ANY_KEY
    max_length_s: float = 3600.0
    play_beep: bool = True
    trim: bool = True
    status_callback: str | None = None
    status_callback_method: Method = "POST"
    status_callback_events: tuple[RecordingEvent, ...] = ("completed",)


class Target(msgspec.Struct, frozen=True):
    """Whom to dial: a number, a client or a SIP address."""

    number: str
    status_callback: str | None = None
    status_callback_method: Method = "POST"
    status_callback_events: tuple[StatusEvent, ...] = ("completed",)


class Dial(msgspec.Struct, frozen=True, kw_only=True):
    """Connect the caller to somebody. Several targets ring at once; the first to answer is connected."""

    targets: tuple[Target, ...]
    action: str | None
    method: Method = "POST"
    timeout_s: float = 30.0
    time_limit_s: float = 14_400.0
    caller_id: str | None = None
    hangup_on_star: bool = False
    answer_on_bridge: bool = False


class Enqueue(msgspec.Struct, frozen=True, kw_only=True):
    """Let the caller wait in a queue."""

    name: str
    action: str | None
    method: Method = "POST"
    wait_url: str | None = None
    wait_method: Method = "POST"


class Unsupported(msgspec.Struct, frozen=True):
    """A verb that this simulator does not carry out."""

    verb: str


Verb = Say | Play | Pause | Connect | Redirect | Hangup | Reject | Gather | Record | Dial | Enqueue | Unsupported


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a verb can come to: ask this URL how the call goes on."""

    url: str
    method: Method
    fields: dict[str, str] = {}  # beside the usual ones
