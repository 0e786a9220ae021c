"""The token that ties a media stream to the webhook that ordered it: made there, carried by Twilio, checked in `start`.

Twilio's signature on the upgrade says only that Twilio knows our address: it is the same for every call, for ever. The
token says which call was meant, and for how long. It is signed and holds all that it claims, so webhook and stream may
land on different workers; that it counts only once is `TokenGate`'s part. Pure but for the nonce: time is an argument.

    t1.<claims: a JSON array in base64url>.<HMAC-SHA256 over all before the dot, in base64url>
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Literal

import msgspec

from proto.errors import RelayError

TOKEN_PARAMETER = "token"  # noqa: S105 - the name of the TwiML's <Parameter>, no secret
LIVES_S = 60  # Twilio opens the stream within a second or two of the answer; the rest is for a slow or repeated webhook
CLOCK_SKEW_S = 30  # by which the clock of another machine may be ahead of ours
MAX_CHARACTERS = 450  # a <Parameter>'s name and value stay under 500 together
NONCE_BYTES = 16

_VERSION = "t1"
_PURPOSE = b"tautline stream token t1"  # so that what is signed here can never stand for anything else that is

Direction = Literal["inbound", "outbound"]
TokenProblem = Literal["malformed", "forged", "expired", "not_yet_valid"]


class StreamTokenError(RelayError):
    """A token that admits nobody. Attributes: problem, why; the token itself is never quoted."""

    def __init__(self, problem: TokenProblem) -> None:
        self.problem = problem
        super().__init__(f"the stream's token is {problem.replace('_', ' ')}")


class Claims(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What a token says. Both times are wall seconds; persona_version is "" for the persona of the settings."""

    call_sid: str
    direction: Direction
    persona_version: str
    nonce: str
    issued_at: int
    expires_at: int


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Claims)


def issue_stream_token(
    secret: str, call_sid: str, *, at: float, direction: Direction = "inbound", persona_version: str = ""
) -> str:
    """A new token for one call, good for LIVES_S from `at`, which is wall time in s.

    Raises: ValueError when the claims make no token, see `mint`.
    """
    claims = Claims(
        call_sid=call_sid,
        direction=direction,
        persona_version=persona_version,
        nonce=secrets.token_urlsafe(NONCE_BYTES),
        issued_at=int(at),
        expires_at=int(at) + LIVES_S,
    )
    return mint(secret, claims)


def mint(secret: str, claims: Claims) -> str:
    """The token that says this; letters, digits, `-`, `_` and two dots, at most MAX_CHARACTERS.

    Args: secret, the Twilio auth token, from which the key is derived.
    Raises: ValueError when no call is named, or the claims are too long.
    """
    if not claims.call_sid:
        raise ValueError("a token needs a call")
    signed = f"{_VERSION}.{_base64(_encode(claims))}"
    text = f"{signed}.{_signature(secret, signed)}"
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"a token of {len(text)} characters is more than a <Parameter> holds")
    return text


def verify(secret: str, text: str, at: float) -> Claims:
    """What a token says, if it was minted with this secret and is valid at this moment, in wall seconds.

    Raises: StreamTokenError otherwise.
    """
    parts = text.split(".") if len(text) <= MAX_CHARACTERS and text.isascii() else []
    if len(parts) != 3 or parts[0] != _VERSION:
        raise StreamTokenError("malformed")
    # Compared as text: of decoded base64, the last character may say the same thing in four ways.
    if not hmac.compare_digest(_signature(secret, f"{parts[0]}.{parts[1]}"), parts[2]):
        raise StreamTokenError("forged")
    claims = _claims(parts[1])
    if at >= claims.expires_at:
        raise StreamTokenError("expired")
    if at < claims.issued_at - CLOCK_SKEW_S:
        raise StreamTokenError("not_yet_valid")
    return claims


def _signature(secret: str, signed: str) -> str:
    key = hmac.digest(secret.encode(), _PURPOSE, "sha256")
    return _base64(hmac.digest(key, signed.encode(), "sha256"))


def _claims(payload: str) -> Claims:
    try:
        return _decoder.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, msgspec.DecodeError):  # signed by us, so this is a fault of ours
        raise StreamTokenError("malformed") from None


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
