"""Did Twilio send this? Checks `X-Twilio-Signature` on webhooks and on the media stream's upgrade.

Twilio signs the address it was told to use. That address is rebuilt from PUBLIC_URL and the request's raw path and
query, never from headers that a stranger or a proxy may have written. HMAC and comparison are the official helper's.

Twilio signs with the account's auth token, or with a shared key that was chosen for this webhook; then a header names
the key and how it signs. It never says which secret of ours is good enough: a key that we do not have is refused, and
without the header only the auth tokens count. More than one of those count while one is being replaced by another.
Source: Twilio's documentation, "Webhooks security", "Sign webhooks with shared keys" and, for WebSockets, "Media
Streams: WebSocket messages".
"""

import hmac
from collections.abc import Iterable, Mapping
from typing import Final, TypeGuard
from urllib.parse import parse_qs, urlsplit

from twilio.request_validator import HMAC_SHA1, HMAC_SHA256, RequestValidator, get_signature_algorithm
from werkzeug.datastructures import MultiDict

SIGNATURE_HEADER: Final = "X-Twilio-Signature"
SETTINGS_HEADER: Final = "X-Twilio-Webhooks-Signature-Settings"

_BODY_HASH = "bodySHA256"
_ALGORITHMS = (HMAC_SHA1, HMAC_SHA256)


class TwilioSignature:
    """Checks signatures for one public address; without that address none can be right.

    Args: auth_tokens, of the account: the primary one, and whichever else counts for now; shared_keys, their secrets
    by id.
    """

    def __init__(
        self, auth_tokens: str | Iterable[str], public_url: str | None, shared_keys: Mapping[str, str] | None = None
    ) -> None:
        tokens = [auth_tokens] if isinstance(auth_tokens, str) else auth_tokens
        self._by_token = [RequestValidator(token) for token in tokens]
        self._by_key = {key: RequestValidator(secret) for key, secret in (shared_keys or {}).items()}
        self._public_url = public_url

    def http(
        self,
        target: str,
        signature: str | None,
        *,
        form: Iterable[tuple[str, str]] | None = None,
        body: bytes = b"",
        settings: str | None = None,
    ) -> bool:
        """Whether Twilio signed this webhook.

        Args: target, raw path and query as they stood in the request line; signature, the header's value;
        form, the decoded fields of a form in their order, blanks and repetitions kept; body, of anything but a form;
        settings, the value of the header that names a shared key, if there is one.
        """
        if self._public_url is None or not _is_usable(signature) or not target.startswith("/"):
            return False
        url = self._public_url + target
        params = _signed_params(url, form, body)
        if params is None:
            return False
        algorithm = get_signature_algorithm(settings)
        return algorithm in _ALGORITHMS and any(
            bool(each.validate(url, params, signature, algorithm)) for each in self._validators(settings)
        )

    def websocket(self, path: str, signature: str | None, *, settings: str | None = None) -> bool:
        """Whether Twilio signed this upgrade. path: raw, as it stood in the request line; settings: as above.

        Twilio may sign the address with or without a slash at its end, and its documentation tells us to try both;
        of the port it says nothing for WebSockets, so both forms count too.
        """
        if self._public_url is None or not _is_usable(signature) or not path.startswith("/"):
            return False
        public = urlsplit(self._public_url)
        scheme = "ws" if public.scheme == "http" else "wss"
        paths = (path, path[:-1] if path.endswith("/") else path + "/")
        urls = {f"{scheme}://{host}{each}" for host in (public.netloc, public.netloc.split(":")[0]) for each in paths}
        algorithm = get_signature_algorithm(settings)
        if algorithm not in _ALGORITHMS:
            return False
        expected = [
            each.compute_signature(url, {}, algorithm) for each in self._validators(settings) for url in sorted(urls)
        ]
        return any(hmac.compare_digest(each, signature) for each in expected)

    def _validators(self, settings: str | None) -> list[RequestValidator]:
        """Whose signature would do."""
        if not settings:
            return self._by_token
        key = self._by_key.get(_key_id(settings))
        return [] if key is None else [key]


def _signed_params(
    url: str, form: Iterable[tuple[str, str]] | None, body: bytes
) -> MultiDict[str, str] | dict[str, str] | str | None:
    """What the signature covers beside the address, as the helper wants it; None for what no signature can cover."""
    if form is not None:
        return MultiDict(form)
    if _BODY_HASH in parse_qs(urlsplit(url).query):
        try:
            return body.decode()
        except UnicodeDecodeError:
            return None
    # The signature covers no body here, so there must be none: a stranger could have put it there.
    return None if body else {}


def _key_id(settings: str) -> str:
    parts = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    return parts.get("key", "")


def _is_usable(signature: str | None) -> TypeGuard[str]:
    # Comparing takes ASCII only, and no signature of Twilio's is anything else.
    return signature is not None and signature != "" and signature.isascii()
