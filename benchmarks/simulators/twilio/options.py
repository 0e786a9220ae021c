"""Who calls whom, and how: all that one simulated call needs to know, and the identifiers it is known by."""

import random
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

DEFAULT_MAX_SECONDS: Final = 300.0


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One call. Exactly one of `webhook_url` and `stream_url` is given.

    Raises: ValueError if they are not, or the time limit is not positive.
    """

    webhook_url: str | None = None  # asked for TwiML, as a phone number's voice URL is
    webhook_method: Literal["GET", "POST"] = "POST"
    stream_url: str | None = None  # dialled directly, without a webhook
    parameters: Mapping[str, str] = {}  # customParameters of a direct stream
    status_callback_url: str | None = None  # told when the call has ended
    auth_token: str | None = None  # signs every request and the upgrade; None signs nothing
    account_sid: str | None = None  # None: made from the seed
    from_number: str = "+15551230001"
    to_number: str = "+15551230002"
    direction: Literal["inbound", "outbound-api"] = "inbound"
    extra_fields: Mapping[str, str] = {}  # more webhook fields: Twilio adds some without notice
    max_seconds: float = DEFAULT_MAX_SECONDS
    seed: int | None = None  # of the identifiers; None makes new ones every time
    allow_insecure: bool = False  # ws:// streams, for local use
    # Dial this host and port, without TLS, for every request and socket: what a tunnel or a proxy in front of the
    # relay does. URLs, Host headers and signatures stay those of the public name.
    connect_to: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        if (self.webhook_url is None) == (self.stream_url is None):
            raise ValueError("a call needs a webhook_url or a stream_url, not both")
        if self.max_seconds <= 0:
            raise ValueError(f"a call cannot last {self.max_seconds} s")

    def __repr__(self) -> str:
        """Without the token: options end up in logs."""
        return f"CallOptions({self.webhook_url or self.stream_url}, {self.from_number} to {self.to_number})"


class Sids:
    """Identifiers in Twilio's shape: two letters and 32 hexadecimal digits."""

    def __init__(self, seed: int | None) -> None:
        self._random: random.Random = random.SystemRandom() if seed is None else random.Random(seed)

    def next(self, prefix: str) -> str:
        return f"{prefix}{self._random.getrandbits(128):032x}"
