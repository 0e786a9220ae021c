"""Supabase's users, with the tokens that the official client gets them, and with those that are no good."""

import base64
import hashlib
import hmac
import socket
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import jwt
import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select
from supabase import Client as SupabaseClient
from supabase import ClientOptions

from admin.api import open_api
from admin.routes.access import Access
from admin.services.people.people import PeopleRules
from admin.services.people.supabase import SupabasePeople
from admin.services.people.supabase_auth import SupabaseAuth, SupabaseRules
from admin.services.people.supabase_tokens import SupabaseTokens
from admin.store import users
from admin.store.database import Database
from admin.store.schema import users as users_table
from tautline.store import wall_time
from tests.admin.api.conftest import CHEAP, MakeCaller, WallClock
from tests.admin.conftest import MakeClient
from tests.services.supabase_auth import API_KEY, SigningKey, SupabaseStandIn, open_supabase

EMAIL, PASSWORD = "luna@pizzeria.example", "quattro stagioni"
KEYS, USER = "/.well-known/jwks.json", "/user"


@pytest.fixture
async def supabase(wall: WallClock) -> AsyncIterator[SupabaseStandIn]:
    """A project whose tokens are signed with a private key."""
    async with open_supabase(SupabaseStandIn(now=wall)) as stand_in:
        stand_in.add(EMAIL, PASSWORD)
        yield stand_in


@pytest.fixture
async def older(wall: WallClock) -> AsyncIterator[SupabaseStandIn]:
    """A project whose tokens are signed with a secret."""
    async with open_supabase(SupabaseStandIn("HS256", now=wall)) as stand_in:
        stand_in.add(EMAIL, PASSWORD)
        yield stand_in


@pytest.fixture
def house(database: Database, wall: WallClock) -> UUID:
    """Somebody who runs the server: before them nobody is let in."""
    with database.engine.begin() as connection:
        return users.add(connection, role="owner", at=wall())


@pytest.fixture
def pauses() -> list[float]:
    """How long was waited between two tries."""
    return []


@pytest.fixture
def client_of(
    make_client: MakeClient, database: Database, wall: WallClock, pauses: list[float], house: UUID
) -> Callable[[str], Client]:
    """A client of a server that trusts the project at this address, and does not wait between two tries."""

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    def make(url: str) -> Client:
        rules = SupabaseRules(url=url, key=API_KEY)
        tokens = SupabaseTokens(rules, SupabaseAuth(rules, pause), wall)
        people = SupabasePeople(database, wall, tokens)
        api = open_api(database, wall, people=PeopleRules(password_cost=CHEAP))
        access = msgspec.structs.replace(api.access, by_jwt=people.principal)
        assert isinstance(access, Access)
        return make_client(api=msgspec.structs.replace(api, access=access))

    return make


async def me(client: Client, token: str) -> Response:
    return await client.get("/api/me", headers={"Authorization": f"Bearer {token}"})


async def status_of(client: Client, token: str) -> int:
    return (await me(client, token)).status_code


def by_hand(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token that no library would make."""
    parts = [base64.urlsafe_b64encode(msgspec.json.encode(each)).rstrip(b"=") for each in (header, claims)]
    signature = sign(b".".join(parts))
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


async def test_the_official_client_s_token_is_good_here(
    make_client: MakeClient, database: Database, house: UUID
) -> None:
    async with open_supabase(SupabaseStandIn()) as stand_in:
        supabase_id = stand_in.add(EMAIL, PASSWORD)
        rules = PeopleRules(supabase=SupabaseRules(url=stand_in.url, key=API_KEY))
        ours = make_client(api=open_api(database, wall_time, people=rules))

        def sign_in() -> tuple[str, str]:
            with httpx.Client() as http:
                options = ClientOptions(auto_refresh_token=False, httpx_client=http)
                client = SupabaseClient.create(stand_in.url, API_KEY, options)
                first = client.auth.sign_in_with_password({"email": EMAIL, "password": PASSWORD}).session
                assert first is not None
                user = client.auth.get_user()
                assert user is not None
                assert (user.user.id, user.user.email) == (supabase_id, EMAIL)
                second = client.auth.refresh_session().session
                assert second is not None
                client.auth.sign_out()
                return first.access_token, second.access_token

        first, second = await trio.to_thread.run_sync(sign_in)
        answers = [await (await me(ours, token)).get_json() for token in (first, second)]
    assert first != second
    assert answers[0] == answers[1]
    assert (answers[0]["via"], answers[0]["role"]) == ("supabase", "owner")
    assert answers[0]["user_id"] == answers[0]["account_id"]


async def test_the_official_client_is_refused_as_it_expects() -> None:
    async with open_supabase(SupabaseStandIn()) as stand_in:
        stand_in.add(EMAIL, PASSWORD)

        def sign_in() -> str:
            with httpx.Client() as http:
                options = ClientOptions(auto_refresh_token=False, httpx_client=http)
                client = SupabaseClient.create(stand_in.url, API_KEY, options)
                with pytest.raises(Exception, match="Invalid login credentials"):
                    client.auth.sign_in_with_password({"email": EMAIL, "password": "wrong"})
                session = client.auth.sign_up({"email": "sol@pizzeria.example", "password": PASSWORD}).session
                assert session is not None
                return session.user.email or ""

        assert await trio.to_thread.run_sync(sign_in) == "sol@pizzeria.example"


async def test_somebody_new_is_a_user_with_an_account_of_their_own(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client], database: Database
) -> None:
    client = client_of(supabase.url)
    body = await (await me(client, supabase.token(EMAIL))).get_json()
    people = await client.get("/api/people", headers={"Authorization": f"Bearer {supabase.token(EMAIL)}"})
    (person,) = (await people.get_json())["items"]
    assert (person["id"], person["email"], person["signs_in_with"]) == (body["user_id"], EMAIL, ["supabase"])


async def test_two_first_requests_at_once_make_one_user(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client], database: Database
) -> None:
    client, seen = client_of(supabase.url), set()

    async def come() -> None:
        seen.add((await (await me(client, supabase.token(EMAIL))).get_json())["user_id"])

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(come)
    assert len(seen) == 1
    counted = select(func.count()).select_from(users_table)
    assert await database.read(lambda connection: connection.execute(counted).scalar()) == 2  # with the house's
    assert supabase.asked[KEYS] == 1


async def test_an_email_that_somebody_here_has_gives_no_way_into_their_account(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client], database: Database, wall: WallClock
) -> None:
    luna = await database.write(lambda connection: users.add(connection, role="owner", at=wall(), email=EMAIL))
    body = await (await me(client_of(supabase.url), supabase.token(EMAIL))).get_json()
    assert body["account_id"] != str(luna)


async def test_who_is_disabled_here_is_not_let_in_by_supabase(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client], database: Database, wall: WallClock
) -> None:
    client = client_of(supabase.url)
    assert await status_of(client, supabase.token(EMAIL)) == 200
    found = select(users_table.c.id).where(users_table.c.supabase_id.is_not(None))
    user_id = await database.read(lambda connection: connection.execute(found).scalar_one())
    await database.write(lambda connection: users.change(connection, user_id, disabled_at=wall()))
    assert await status_of(client, supabase.token(EMAIL)) == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "anon"},
        {"aud": []},
        {"aud": None},
        {"iss": "https://elsewhere.supabase.co/auth/v1"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e300},
        {"nbf": 4e9},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\x00b"},
        {"is_anonymous": True},
    ],
    ids=str,
)
async def test_a_token_that_is_over_or_for_somebody_else_is_refused_unasked(
    supabase: SupabaseStandIn, older: SupabaseStandIn, client_of: Callable[[str], Client], changed: dict[str, Any]
) -> None:
    header = {"alg": "ES256", "kid": supabase.key.kid, "typ": "JWT"}
    sign = jwt.get_algorithm_by_name("ES256").sign
    for claims, status in ((supabase.claims(EMAIL), 200), (supabase.claims(EMAIL, **changed), 401)):
        token = by_hand(header, claims, lambda text: sign(text, supabase.key.private))
        assert await status_of(client_of(supabase.url), token) == status
    token = by_hand({"alg": "HS256", "typ": "JWT"}, older.claims(EMAIL, **changed), lambda _: b"x")
    assert await status_of(client_of(older.url), token) == 401
    assert older.asked[USER] == 0


async def test_a_token_is_good_until_its_last_second(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client], wall: WallClock
) -> None:
    client, token = client_of(supabase.url), supabase.token(EMAIL)
    wall.passes(minutes=59, seconds=59)
    assert await status_of(client, token) == 200
    wall.passes(seconds=1)
    assert await status_of(client, token) == 401


async def test_a_forged_token_is_refused(supabase: SupabaseStandIn, client_of: Callable[[str], Client]) -> None:
    client, claims, kid = client_of(supabase.url), supabase.claims(EMAIL), supabase.key.kid
    assert supabase.key.public_jwk is not None
    public = supabase.key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forger, rsa = SigningKey("ES256"), SigningKey("RS256")
    good = supabase.token(EMAIL)
    head, body, signature = good.split(".")
    others = by_hand({"alg": "ES256", "kid": kid}, claims | {"sub": "other"}, lambda _: b"x" * 64).split(".")[1]

    def with_public_key(text: bytes) -> bytes:
        return hmac.new(public, text, hashlib.sha256).digest()

    forged = {
        "another key": jwt.encode(claims, forger.private, "ES256", {"kid": kid}),
        "another algorithm": jwt.encode(claims, rsa.private, "RS256", {"kid": kid}),
        "no signature": by_hand({"alg": "none", "typ": "JWT"}, claims, lambda _: b""),
        "no signature, with a key id": by_hand({"alg": "none", "kid": kid}, claims, lambda _: b""),
        "the public key as a secret": by_hand({"alg": "HS256", "kid": kid}, claims, with_public_key),
        "a key of its own": by_hand(
            {"alg": "ES256", "kid": kid, "jwk": forger.public_jwk}, claims, lambda _: b"x" * 64
        ),
        "no key id": jwt.encode(claims, supabase.key.private, "ES256"),
        "other claims": f"{head}.{others}.{signature}",
        "half a signature": f"{head}.{body}.{signature[:40]}",
        "no token": "not-a-token",
        "dots": "...",
        "a deep token": f"{base64.urlsafe_b64encode(b'[' * 3000).decode()}.{body}.{signature}",
    }
    refused = {what: await status_of(client, token) for what, token in forged.items()}
    assert refused == dict.fromkeys(forged, 401)
    assert await status_of(client, good) == 200


async def test_an_rsa_key_is_as_good(wall: WallClock, client_of: Callable[[str], Client]) -> None:
    async with open_supabase(SupabaseStandIn("RS256", now=wall)) as stand_in:
        stand_in.add(EMAIL, PASSWORD)
        assert await status_of(client_of(stand_in.url), stand_in.token(EMAIL)) == 200


async def test_keys_are_kept_and_a_new_one_is_found_when_a_token_names_it(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client], wall: WallClock
) -> None:
    client = client_of(supabase.url)
    for _ in range(3):
        assert await status_of(client, supabase.token(EMAIL)) == 200
    assert supabase.asked[KEYS] == 1
    supabase.key = SigningKey("ES256")
    wall.passes(seconds=31)
    assert await status_of(client, supabase.token(EMAIL)) == 200
    assert supabase.asked[KEYS] == 2


async def test_made_up_key_ids_do_not_make_us_ask_again_and_again(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client], wall: WallClock
) -> None:
    client = client_of(supabase.url)
    for number in range(5):
        token = jwt.encode(supabase.claims(EMAIL), supabase.key.private, "ES256", {"kid": f"made-up-{number}"})
        assert await status_of(client, token) == 401
    assert supabase.asked[KEYS] == 1


async def test_a_key_that_was_taken_back_is_good_for_ten_minutes_at_most(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client], wall: WallClock
) -> None:
    client, token = client_of(supabase.url), supabase.token(EMAIL)
    assert await status_of(client, token) == 200
    supabase.key = SigningKey("ES256")
    wall.passes(minutes=10, seconds=1)
    assert await status_of(client, token) == 401


async def test_what_is_no_public_key_is_not_used_as_one(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client]
) -> None:
    secret, kid = "x" * 40, "shared"
    listed = base64.urlsafe_b64encode(secret.encode()).decode()
    supabase.raw_keys = {
        "keys": [
            {"kty": "oct", "kid": kid, "k": listed, "alg": "HS256"},
            {"kty": "EC", "kid": "broken", "crv": "P-256", "x": "?", "y": "?"},
            {"kty": "EC", "crv": "P-256"},
            {},
            supabase.key.public_jwk,
        ]
    }
    client = client_of(supabase.url)
    assert await status_of(client, jwt.encode(supabase.claims(EMAIL), secret, "HS256", {"kid": kid})) == 401
    assert await status_of(client, supabase.token(EMAIL)) == 200


async def test_an_older_project_is_asked_and_its_answer_kept_for_a_minute(
    older: SupabaseStandIn, client_of: Callable[[str], Client], wall: WallClock
) -> None:
    client, token = client_of(older.url), older.token(EMAIL)
    for _ in range(3):
        assert await status_of(client, token) == 200
    assert (older.asked[USER], older.asked[KEYS]) == (1, 0)
    older.forget(EMAIL)
    wall.passes(seconds=59)
    assert await status_of(client, token) == 200
    wall.passes(seconds=1)
    assert await status_of(client, token) == 401


async def test_a_kept_answer_is_not_good_beyond_the_token_s_own_end(
    older: SupabaseStandIn, client_of: Callable[[str], Client], wall: WallClock
) -> None:
    client = client_of(older.url)
    token = older.token(EMAIL, exp=int((wall() + timedelta(seconds=20)).timestamp()))
    assert await status_of(client, token) == 200
    wall.passes(seconds=20)
    assert await status_of(client, token) == 401


async def test_a_token_that_an_older_project_refuses_is_refused_and_not_asked_about_again_at_once(
    older: SupabaseStandIn, client_of: Callable[[str], Client], wall: WallClock
) -> None:
    client = client_of(older.url)
    forged = jwt.encode(older.claims(EMAIL), "y" * 40, "HS256")
    for _ in range(3):
        assert await status_of(client, forged) == 401
    assert older.asked[USER] == 1


async def unreachable(client: Client, token: str) -> bool:
    response = await me(client, token)
    code = (await response.get_json())["error"]["code"] if response.status_code != 200 else ""
    return (response.status_code, code, response.headers.get("Retry-After")) == (503, "auth_unreachable", "5")


async def test_a_project_that_stumbles_is_asked_again_after_a_pause(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client], pauses: list[float]
) -> None:
    supabase.failing = [502, 503]
    assert await status_of(client_of(supabase.url), supabase.token(EMAIL)) == 200
    assert len(pauses) == 2
    assert 0.2 <= pauses[0] <= 0.4 <= pauses[1] <= 0.8


async def test_a_project_that_cannot_be_reached_is_no_fault_of_the_token(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client], pauses: list[float]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        supabase.url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        client = client_of(supabase.url)
        assert await unreachable(client, supabase.token(EMAIL))
        assert len(pauses) == 2
        assert await unreachable(client, supabase.token(EMAIL))
        assert len(pauses) == 2  # not asked again at once


async def test_a_project_that_answers_nonsense_is_no_fault_of_the_token_either(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client]
) -> None:
    nonsense: list[Any] = [[], {"keys": "none"}, {"keys": [{"kid": "x" * 70_000}]}]
    for each in nonsense:
        supabase.raw_keys = each
        assert await unreachable(client_of(supabase.url), supabase.token(EMAIL))
    supabase.failing = [404]
    assert await unreachable(client_of(supabase.url), supabase.token(EMAIL))


async def test_known_keys_last_while_the_project_is_away_but_not_for_ever(
    supabase: SupabaseStandIn, client_of: Callable[[str], Client], wall: WallClock
) -> None:
    client = client_of(supabase.url)
    assert await status_of(client, supabase.token(EMAIL)) == 200
    supabase.failing = [500] * 100
    wall.passes(minutes=59)
    assert await status_of(client, supabase.token(EMAIL)) == 200
    wall.passes(minutes=2)
    assert await unreachable(client, supabase.token(EMAIL))
    supabase.failing = []
    wall.passes(seconds=5)
    assert await status_of(client, supabase.token(EMAIL)) == 200


async def test_our_own_keys_work_while_supabase_is_away(
    client_of: Callable[[str], Client], make_caller: MakeCaller
) -> None:
    caller = make_caller()
    assert await status_of(client_of("http://127.0.0.1:1"), caller.secret) == 200
