"""Who calls whom, and how: all that one simulated call needs to know, and the identifiers it is known by."""

import random
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from benchmarks.simulators.twilio.network import Network
from benchmarks.simulators.twilio.people import PhoneBook, Queue

DEFAULT_MAX_SECONDS: Final = 300.0

Method = Literal["GET", "POST"]
StatusEvent = Literal["initiated", "ringing", "answered", "completed"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How callbacks arrive. Twilio promises neither order nor once, so a relay has to bear all of this."""

    order: Literal["fired", "reversed", "shuffled"] = "fired"  # others hold status callbacks until the call has ended
    is_doubled: bool = False  # every callback is sent twice
    late_s: float = 0.0  # every callback is sent this much later


class MachineDetection(msgspec.Struct, frozen=True, kw_only=True):
    """Find out who or what answered an outbound call. The finding itself is the callee's."""

    mode: Literal["Enable", "DetectMessageEnd"] = "Enable"
    is_async: bool = False  # connect at once and tell later, in a callback
    callback_url: str | None = None  # of the asynchronous kind
    callback_method: Method = "POST"
    timeout_s: float = 30.0  # without a finding until then it is "unknown"


class RecordingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of recordings."""

    outcome: Literal["completed", "absent", "failed"] = "completed"  # an empty one is absent in any case
    ready_after_s: float = 1.0  # until the file is there and the callback fires


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One call. Exactly one of `webhook_url`, `stream_url` and `twiml` is given.

    Raises: ValueError if they are not, or the time limit is not positive.
    """

    webhook_url: str | None = None  # asked for TwiML, as a phone number's voice URL is
    webhook_method: Method = "POST"
    stream_url: str | None = None  # dialled directly, without a webhook
    twiml: str | None = None  # run as it is, as with a REST request's Twiml
    parameters: Mapping[str, str] = {}  # customParameters of a direct stream
    fallback_url: str | None = None  # asked when a document cannot be had or carried out
    fallback_method: Method = "POST"
    status_callback_url: str | None = None  # told how the call gets on
    status_callback_method: Method = "POST"
    status_callback_events: tuple[StatusEvent, ...] = ("completed",)
    delivery: Delivery = Delivery()
    auth_token: str | None = None  # signs every request and the upgrade; None signs nothing
    account_sid: str | None = None  # None: made from the seed
    from_number: str = "+15551230001"
    to_number: str = "+15551230002"
    direction: Literal["inbound", "outbound-api"] = "inbound"
    ring_timeout_s: float = 60.0  # of an outbound call
    machine_detection: MachineDetection | None = None  # of an outbound call
    extra_fields: Mapping[str, str] = {}  # more webhook fields: Twilio adds some without notice
    max_seconds: float = DEFAULT_MAX_SECONDS
    phone_book: PhoneBook = {}  # whom <Dial> can reach
    queues: Mapping[str, Queue] = {}  # what <Enqueue> finds, by name
    recordings: RecordingSettings = RecordingSettings()
    network: Network = Network()
    seed: int | None = None  # of the identifiers and the network; None makes new ones every time
    allow_insecure: bool = False  # ws:// streams, for local use
    # Dial this host and port, without TLS, for every request and socket: what a tunnel or a proxy in front of the
    # relay does. URLs, Host headers and signatures stay those of the public name.
    connect_to: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        if (self.webhook_url, self.stream_url, self.twiml).count(None) != 2:
            raise ValueError("a call needs a webhook_url or a stream_url or twiml, and only one of them")
        if self.max_seconds <= 0:
            raise ValueError(f"a call cannot last {self.max_seconds} s")

    def __repr__(self) -> str:
        """Without the token: options end up in logs."""
        where = self.webhook_url or self.stream_url or "inline TwiML"
        return f"CallOptions({where}, {self.from_number} to {self.to_number})"


class Sids:
    """Identifiers in Twilio's shape: two letters and 32 hexadecimal digits."""

    def __init__(self, seed: int | None) -> None:
        self._random: random.Random = random.SystemRandom() if seed is None else random.Random(seed)

    def next(self, prefix: str) -> str:
        return f"{prefix}{self._random.getrandbits(128):032x}"


def chance(seed: int | None, what: str) -> random.Random:
    """A source of chance of its own for each purpose, so that one more draw here changes nothing there."""
    return random.Random() if seed is None else random.Random(f"{seed}/{what}")
