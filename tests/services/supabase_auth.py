"""A stand-in for Supabase Auth, on a real port: what the official client and we ask of it, answered as it documents.

Passwords are kept as they are and nothing is mailed. It signs with a key of its own, or with a secret as older projects
do, and can be told to fail, to change its keys, and to count what it is asked.
"""

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import jwt
import trio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypercorn.config import Config
from hypercorn.trio import serve
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from quart import Response, jsonify, request
from quart_trio import QuartTrio

API_KEY = "sb_publishable_for-tests"
LIFETIME_S = 3600

Alg = Literal["ES256", "RS256", "HS256"]


class SigningKey:
    """What tokens are signed with. Attributes: alg, kid, private, public_jwk (None of a secret)."""

    def __init__(self, alg: Alg) -> None:
        self.alg, self.kid = alg, str(uuid4())
        self.private: Any
        self.public_jwk: dict[str, Any] | None = None
        if alg == "HS256":
            self.private = secrets.token_hex(32)
            return
        if alg == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
            jwk = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            jwk = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        self.public_jwk = {**jwk, "alg": alg, "kid": self.kid, "use": "sig", "key_ops": ["verify"]}


class SupabaseStandIn:
    """The project. Attributes: url, once it is served; key, that signs; asked, how often which path was; failing, how
    the next requests are answered instead, by their status; raw_keys, what is said of the keys, if that is to be wrong;
    confirms, whether it has people confirm their address, or takes it for confirmed as it is given.
    """

    def __init__(self, alg: Alg = "ES256", now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.url, self.key, self._now = "", SigningKey(alg), now
        self.asked: Counter[str] = Counter()
        self.failing: list[int] = []
        self.raw_keys: Any = None
        self.confirms = True
        self._unconfirmed: set[str] = set()
        self._people: dict[str, dict[str, str]] = {}
        self._refresh: dict[str, str] = {}

    def add(self, email: str, password: str, *, is_confirmed: bool = True) -> str:
        """Somebody new; their id."""
        user_id = str(uuid4())
        if not is_confirmed:
            self._unconfirmed.add(email)
        self._people[email] = {"id": user_id, "email": email, "password": password}
        return user_id

    def confirm(self, email: str) -> None:
        """Somebody has followed the link that was mailed to them."""
        self._unconfirmed.remove(email)

    def forget(self, email: str) -> None:
        """Somebody is deleted."""
        del self._people[email]

    def claims(self, email: str, **changed: Any) -> dict[str, Any]:
        """What their token says; a change to None leaves a claim out."""
        now = int(self._now().timestamp())
        claims = {
            "iss": f"{self.url}/auth/v1",
            "sub": self._people[email]["id"],
            "aud": "authenticated",
            "exp": now + LIFETIME_S,
            "iat": now,
            "email": email,
            "phone": "",
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {},
            "role": "authenticated",
            "aal": "aal1",
            "session_id": str(uuid4()),
            "is_anonymous": False,
        } | changed
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, email: str, **changed: Any) -> str:
        """A token for them, with other claims if need be."""
        return jwt.encode(self.claims(email, **changed), self.key.private, self.key.alg, {"kid": self.key.kid})

    def session(self, email: str) -> dict[str, Any]:
        """What a log-in answers."""
        refresh_token = secrets.token_urlsafe(9)
        self._refresh[refresh_token] = email
        return {
            "access_token": self.token(email),
            "token_type": "bearer",
            "expires_in": LIFETIME_S,
            "expires_at": int(self._now().timestamp()) + LIFETIME_S,
            "refresh_token": refresh_token,
            "user": self.user(email),
        }

    def user(self, email: str) -> dict[str, Any]:
        """What is told of somebody."""
        at = self._now().isoformat()
        confirmed_at = None if email in self._unconfirmed else at
        return {
            "id": self._people[email]["id"],
            "aud": "authenticated",
            "role": "authenticated",
            "email": email,
            "email_confirmed_at": confirmed_at,
            "phone": "",
            "confirmed_at": confirmed_at,
            "last_sign_in_at": at,
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": {},
            "identities": [],
            "created_at": at,
            "updated_at": at,
            "is_anonymous": False,
        }

    def signed_in(self, email: str, password: str) -> dict[str, Any] | None:
        """A session for who knows the password."""
        person = self._people.get(email)
        return self.session(email) if person is not None and person["password"] == password else None

    def refreshed(self, refresh_token: str) -> dict[str, Any] | None:
        """A session for who has another one's refresh token, which works once."""
        email = self._refresh.pop(refresh_token, None)
        return None if email is None else self.session(email)

    def email_of(self, token: str) -> str | None:
        """Whose token it is, if it is good."""
        key = self.key.private if self.key.public_jwk is None else self.key.private.public_key()
        try:
            claims = jwt.decode(token, key, [self.key.alg], {"verify_exp": False}, audience="authenticated")
        except jwt.PyJWTError:
            return None
        is_over = claims["exp"] <= self._now().timestamp()
        return None if is_over or claims["email"] not in self._people else str(claims["email"])

    def sign_out(self, email: str) -> None:
        """End all of their sessions."""
        self._refresh = {token: owner for token, owner in self._refresh.items() if owner != email}


@asynccontextmanager
async def open_supabase(stand_in: SupabaseStandIn) -> AsyncIterator[SupabaseStandIn]:
    """Serve it on a port of 127.0.0.1."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    async with trio.open_nursery() as nursery:
        binds: list[str] = await nursery.start(lambda **started: serve(_app(stand_in), config, **started))
        stand_in.url = binds[0]
        yield stand_in
        nursery.cancel_scope.cancel()


def _app(stand_in: SupabaseStandIn) -> QuartTrio:
    app = QuartTrio(__name__)

    @app.before_request
    async def gate() -> Response | None:
        path = request.path.removeprefix("/auth/v1")
        stand_in.asked[path] += 1
        if stand_in.failing:
            return Response("failing as told", status=stand_in.failing.pop(0))
        if path != "/.well-known/jwks.json" and request.headers.get("apikey") != API_KEY:
            return _error(401, "no_api_key", "No API key found in request")
        return None

    @app.get("/auth/v1/.well-known/jwks.json")
    async def get_keys() -> Response:
        if stand_in.raw_keys is not None:
            return jsonify(stand_in.raw_keys)
        return jsonify(keys=[] if stand_in.key.public_jwk is None else [stand_in.key.public_jwk])

    @app.get("/auth/v1/settings")
    async def get_settings() -> Response:
        return jsonify(external={"email": True}, disable_signup=False, mailer_autoconfirm=not stand_in.confirms)

    @app.post("/auth/v1/signup")
    async def post_signup() -> Response:
        body = await request.get_json()
        stand_in.add(body["email"], body["password"])
        return jsonify(stand_in.session(body["email"]))

    @app.post("/auth/v1/token")
    async def post_token() -> Response:
        body = await request.get_json()
        if request.args.get("grant_type") == "password":
            session = stand_in.signed_in(body["email"], body["password"])
            refusal = _error(400, "invalid_credentials", "Invalid login credentials")
        else:
            session = stand_in.refreshed(body["refresh_token"])
            refusal = _error(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        return refusal if session is None else jsonify(session)

    @app.get("/auth/v1/user")
    async def get_user() -> Response:
        email = _bearer()
        return _error(403, "bad_jwt", "invalid JWT") if email is None else jsonify(stand_in.user(email))

    @app.post("/auth/v1/logout")
    async def post_logout() -> Response:
        email = _bearer()
        if email is None:
            return _error(403, "bad_jwt", "invalid JWT")
        stand_in.sign_out(email)
        return Response(b"", status=204)

    def _bearer() -> str | None:
        return stand_in.email_of(request.headers.get("Authorization", "").removeprefix("Bearer "))

    return app


def _error(status: int, code: str, message: str) -> Response:
    response = jsonify(code=code, message=message)
    response.status_code = status
    response.headers["X-Supabase-Api-Version"] = "2024-01-01"
    return response
