"""Is this token Supabase's, and good now? Checked with the project's public keys, or, where it has none, by asking.

Which of the two is decided by the token's `alg`, from a list of our own: ES256 and RS256 are checked with a public key
that is named by `kid` and made for that very algorithm; HS256 needs the secret, which only Supabase has. Any other is
refused unread. Issuer, audience, subject and expiry are checked here in either case, before anything is asked.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import jwt
import msgspec
import trio

from admin.errors import AuthUnreachableError
from admin.services.people.api_keys import hash_of
from admin.services.people.supabase_auth import SupabaseAuth, SupabaseRules

ASYMMETRIC: Final = ("ES256", "RS256")
SYMMETRIC: Final = "HS256"
KEYS_FRESH_FOR: Final = timedelta(minutes=10)  # as long as Supabase's own edge keeps them
KEYS_USED_FOR: Final = timedelta(hours=1)  # when there are no newer ones to be had
KEYS_ASKED_EVERY: Final = timedelta(seconds=30)  # whatever key ids people come with
KEYS_TRIED_EVERY: Final = timedelta(seconds=5)  # when there was no answer
ANSWER_KEPT_FOR: Final = timedelta(minutes=1)
REFUSAL_KEPT_FOR: Final = timedelta(seconds=10)
MAX_ANSWERS: Final = 1000
LEEWAY: Final = timedelta(seconds=10)  # of a clock that goes slow, for `nbf`


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a good token names."""

    supabase_id: str
    email: str | None


class _Header(msgspec.Struct, frozen=True):
    alg: str = ""
    kid: str | None = None


class _Claims(msgspec.Struct, frozen=True, kw_only=True):
    """See Supabase's JWT claims reference."""

    iss: str
    aud: str | list[str]
    sub: Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
    exp: Annotated[float, msgspec.Meta(ge=0, le=4e9)]
    nbf: Annotated[float, msgspec.Meta(le=4e9)] = 0
    email: str | None = None
    is_anonymous: bool = False


class SupabaseTokens:
    """Checks them. Args: rules; auth, asks Supabase; now, wall time."""

    def __init__(self, rules: SupabaseRules, auth: SupabaseAuth, now: Callable[[], datetime]) -> None:
        self._rules, self._auth, self._now = rules, auth, now
        self._ring = KeyRing(auth, now)
        self._answers: OrderedDict[bytes, tuple[bool, datetime]] = OrderedDict()

    async def identity(self, token: str) -> Identity | None:
        """Whom it names, None if it is no good. Raises: AuthUnreachableError, TooManyRequestsError."""
        header = _header(token)
        if header.alg in ASYMMETRIC and header.kid:
            key = await self._ring.find(header.kid)
            claims = None if key is None else _claims(token, key, header.alg)
            return None if claims is None else self._accepted(claims)
        if header.alg == SYMMETRIC:
            claims = _claims(token, None, SYMMETRIC)
            accepted = None if claims is None else self._accepted(claims)
            if claims is None or accepted is None:
                return None
            return accepted if await self._is_known(token, claims) else None
        return None

    async def is_email_confirmed(self, token: str, identity: Identity) -> bool:
        """Whether the address that this good token names is its owner's. Asks Supabase each time.

        Raises: AuthUnreachableError, TooManyRequestsError.
        """
        confirmed = await self._auth.confirmed_email(token)
        return confirmed is not None and identity.email is not None and confirmed.lower() == identity.email.lower()

    def _accepted(self, claims: _Claims) -> Identity | None:
        """Whom these claims name, if they are for us and hold now. Somebody anonymous is nobody."""
        now = self._now()
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if claims.iss != self._rules.issuer or self._rules.audience not in audiences or claims.is_anonymous:
            return None
        if claims.exp <= now.timestamp() or claims.nbf > (now + LEEWAY).timestamp():
            return None
        return Identity(supabase_id=claims.sub, email=claims.email or None)

    async def _is_known(self, token: str, claims: _Claims) -> bool:
        """Whether Supabase knows it, as of a minute ago at most."""
        token_hash, now = hash_of(token), self._now()
        kept = self._answers.get(token_hash)
        if kept is not None and kept[1] > now:
            return kept[0]
        user = await self._auth.user(token)
        is_known = user is not None and user.id == claims.sub
        ends = datetime.fromtimestamp(claims.exp, UTC)
        self._answers[token_hash] = (is_known, min(now + (ANSWER_KEPT_FOR if is_known else REFUSAL_KEPT_FOR), ends))
        self._answers.move_to_end(token_hash)
        while len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        return is_known


class KeyRing:
    """The project's public keys, by their ids, as of some minutes ago. Args: auth, asks Supabase; now, wall time."""

    def __init__(self, auth: SupabaseAuth, now: Callable[[], datetime]) -> None:
        self._auth, self._now = auth, now
        self._keys: dict[str, jwt.PyJWK] = {}
        self._had_at: datetime | None = None
        self._quiet_until: datetime | None = None
        self._lock = trio.Lock()

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key of this id; None if the project has none. Raises: AuthUnreachableError when that cannot be known."""
        if kid not in self._keys or not self._had_within(KEYS_FRESH_FOR):
            async with self._lock:  # of many who come at once, one asks
                if kid not in self._keys or not self._had_within(KEYS_FRESH_FOR):
                    await self._refresh()
        if not self._had_within(KEYS_USED_FOR):
            raise AuthUnreachableError
        return self._keys.get(kid)

    async def _refresh(self) -> None:
        """Ask for the keys, unless that was done just now. Keys that were had before stay when none can be had."""
        now = self._now()
        if self._quiet_until is not None and now < self._quiet_until:
            return
        try:
            self._keys = _usable(await self._auth.keys())
        except AuthUnreachableError:
            self._quiet_until = now + KEYS_TRIED_EVERY
        else:
            self._had_at, self._quiet_until = now, now + KEYS_ASKED_EVERY

    def _had_within(self, time: timedelta) -> bool:
        return self._had_at is not None and self._now() - self._had_at <= time


def _usable(keys: list[dict[str, Any]]) -> dict[str, jwt.PyJWK]:
    """Those that tokens are checked with here: public ones, for signatures. A secret has no business in the list."""
    found: dict[str, jwt.PyJWK] = {}
    for each in keys:
        kid = each.get("kid")
        if isinstance(kid, str) and each.get("kty") in ("EC", "RSA") and each.get("use", "sig") == "sig":
            try:
                key = jwt.PyJWK(each)
            except jwt.PyJWTError:
                continue  # of a kind that we do not know
            if key.algorithm_name in ASYMMETRIC:
                found[kid] = key
    return found


def _header(token: str) -> _Header:
    try:
        return msgspec.convert(jwt.get_unverified_header(token), _Header)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return _Header()


def _claims(token: str, key: jwt.PyJWK | None, alg: str) -> _Claims | None:
    """What the token says, its signature checked with this key; without one unchecked, for who asks Supabase next."""
    ours: Any = {"verify_signature": key is not None, "verify_aud": False, "verify_iss": False}
    ours |= dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_sub", "verify_jti"), False)
    try:
        return msgspec.convert(jwt.decode(token, key or "", algorithms=[alg], options=ours), _Claims)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
