"""The console's session over HTTP: sign in, who am I, sign out, another password."""

from datetime import timedelta
from typing import Annotated

import msgspec
from quart import Blueprint, Response, g, request
from quart_schema import security_scheme, validate_request, validate_response
from werkzeug.http import dump_cookie

from admin.routes.access import SESSION_COOKIE, Access
from admin.routes.inputs import Email, Input
from admin.services.people.logins import LogIns
from admin.services.people.passwords import MAX_CHARACTERS, Password
from admin.services.people.sessions import Sessions, SignedIn


class Credentials(Input, frozen=True, kw_only=True):
    """What somebody signs in with."""

    email: Email
    password: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CHARACTERS)]


class PasswordChange(Input, frozen=True, kw_only=True):
    """Another password for who asks."""

    current_password: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CHARACTERS)]
    new_password: Password


def session_blueprint(access: Access, sessions: Sessions, logins: LogIns, *, secure_cookies: bool) -> Blueprint:
    """/api/session. secure_cookies: see PeopleRules."""
    blueprint = Blueprint("session", __name__)

    @blueprint.post("/api/session")
    @security_scheme([])  # anybody may
    @validate_request(Credentials)
    @validate_response(SignedIn, 201)
    async def post_session(data: Credentials) -> tuple[SignedIn, int, dict[str, str]]:
        """Sign in: sets the session's cookie. 401 login_refused, 429 too_many_logins."""
        opened = await logins.log_in(
            data.email,
            data.password,
            address=_address(),
            user_agent=request.headers.get("User-Agent", ""),
            replaces=request.cookies.get(SESSION_COOKIE),
        )
        signed_in = await sessions.signed_in(opened.principal)
        return signed_in, 201, {"Set-Cookie": cookie(opened.token, opened.lasts)}

    @blueprint.get("/api/session")
    @validate_response(SignedIn)
    async def get_session() -> SignedIn:
        """Say who is signed in. 401 not_authenticated, 404 session_not_found for who came with a key or a token."""
        return await sessions.signed_in(await access.signed_in())

    @blueprint.delete("/api/session")
    async def delete_session() -> Response:
        """Sign out. 204; 401 not_authenticated, 404 session_not_found for who came with a key or a token."""
        await sessions.end(await access.signed_in())
        return Response(b"", status=204, headers={"Set-Cookie": cookie("", timedelta())})

    @blueprint.put("/api/session/password")
    @validate_request(PasswordChange)
    async def put_password(data: PasswordChange) -> Response:
        """Change one's own password, and end one's other sessions. 204; 403 password_wrong, 429 too_many_logins."""
        principal = await access.signed_in()
        await logins.change_password(principal, data.current_password, data.new_password, address=_address())
        return Response(b"", status=204)

    def cookie(token: str, lasts: timedelta) -> str:
        return dump_cookie(
            SESSION_COOKIE, token, max_age=lasts, httponly=True, secure=secure_cookies, samesite="Lax", path="/"
        )

    return blueprint


def _address() -> str:
    """Where the request comes from, the proxies that are trusted aside."""
    found: str = g.address
    return found
