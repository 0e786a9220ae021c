"""Did Twilio send this? Checks `X-Twilio-Signature` on webhooks and on the media stream's upgrade.

Twilio signs the address it was told to use. That address is rebuilt from PUBLIC_URL and the request's raw path and
query, never from headers that a stranger or a proxy may have written. HMAC and comparison are the official helper's.
Source: Twilio's documentation, "Webhooks security" and, for WebSockets, "Media Streams: WebSocket messages".
"""

import hmac
from collections.abc import Iterable
from typing import TypeGuard
from urllib.parse import parse_qs, urlsplit

from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

_BODY_HASH = "bodySHA256"


class TwilioSignature:
    """Checks signatures made with one auth token for one public address; without that address none can be right."""

    def __init__(self, auth_token: str, public_url: str | None) -> None:
        self._validator = RequestValidator(auth_token)
        self._public_url = public_url

    def http(
        self, target: str, signature: str | None, *, form: Iterable[tuple[str, str]] | None = None, body: bytes = b""
    ) -> bool:
        """Whether Twilio signed this webhook.

        Args: target, raw path and query as they stood in the request line; signature, the header's value;
        form, the decoded fields of a form in their order, blanks and repetitions kept; body, of anything but a form.
        """
        if self._public_url is None or not _is_usable(signature) or not target.startswith("/"):
            return False
        url = self._public_url + target
        if form is not None:
            return bool(self._validator.validate(url, MultiDict(form), signature))
        if _BODY_HASH in parse_qs(urlsplit(url).query):
            return self._has_signed_body(url, signature, body)
        # The signature covers no body here, so there must be none: a stranger could have put it there.
        return not body and bool(self._validator.validate(url, {}, signature))

    def websocket(self, path: str, signature: str | None) -> bool:
        """Whether Twilio signed this upgrade. path: raw, as it stood in the request line.

        Twilio may sign the address with or without a slash at its end, and its documentation tells us to try both;
        of the port it says nothing for WebSockets, so both forms count too.
        """
        if self._public_url is None or not _is_usable(signature) or not path.startswith("/"):
            return False
        public = urlsplit(self._public_url)
        scheme = "ws" if public.scheme == "http" else "wss"
        paths = (path, path[:-1] if path.endswith("/") else path + "/")
        urls = {f"{scheme}://{host}{each}" for host in (public.netloc, public.netloc.split(":")[0]) for each in paths}
        expected = [self._validator.compute_signature(url, {}) for url in sorted(urls)]
        return any(hmac.compare_digest(each, signature) for each in expected)

    def _has_signed_body(self, url: str, signature: str, body: bytes) -> bool:
        try:
            return bool(self._validator.validate(url, body.decode(), signature))
        except UnicodeDecodeError:
            return False


def _is_usable(signature: str | None) -> TypeGuard[str]:
    # Comparing takes ASCII only, and no signature of Twilio's is anything else.
    return signature is not None and signature != "" and signature.isascii()
