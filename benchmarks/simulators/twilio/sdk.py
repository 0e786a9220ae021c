"""Twilio's own Python library against the simulated API: the same client, only its host is another.

Kept apart from the rest because importing `twilio.rest` takes a second.
"""

from typing import Any, Final
from urllib.parse import urlsplit

from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from benchmarks.simulators.twilio.rest import Account

TIMEOUT_S: Final = 10.0  # the library's own default is none at all


class LoopbackHttpClient(TwilioHttpClient):  # type: ignore[misc]  # its parent has no types
    """Sends every request to the simulator, whatever host of Twilio's it was meant for. Blocks: use it in a thread."""

    def __init__(self, base_url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(timeout=timeout_s)
        self.session.trust_env = False  # no proxy between two ends of one machine
        self._base_url = base_url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return super().request(method, f"{self._base_url}{parts.path}{query}", *args, **kwargs)


def rest_client(account: Account, base_url: str) -> Client:
    """Twilio's client, logged in to the simulated account."""
    return Client(account.sid, account.auth_token, http_client=LoopbackHttpClient(base_url))
