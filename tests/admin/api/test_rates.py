"""Who asks too often is told to wait: by key where there is a good one, else by address."""

from ipaddress import ip_network

import pytest
from quart.typing import TestClientProtocol as Client

from admin.api import open_api
from admin.services.rate_limits import RateRules
from admin.store.database import Database
from tests.admin.api.conftest import Caller, MakeCaller, WallClock
from tests.admin.conftest import MakeClient

RULES = RateRules(per_principal=3, per_address=2)
PROXY = "10.0.0.9"


@pytest.fixture
def client(make_client: MakeClient, database: Database, wall: WallClock) -> Client:
    """Somebody without credentials, whom a proxy of ours stands in front of."""
    api = open_api(database, wall, rate_rules=RULES)
    return make_client(api=api, signature=None, trusted_proxies=(ip_network("10.0.0.0/8"),))


async def asks(client: Client, path: str, address: str = "192.0.2.1", key: str = "") -> int:
    headers = {"X-Forwarded-For": address} | ({"Authorization": f"Bearer {key}"} if key else {})
    response = await client.get(path, headers=headers, scope_base={"client": (PROXY, 1)})
    return response.status_code


async def test_a_key_that_asks_too_often_is_told_when_to_come_again(owner: Caller, wall: WallClock) -> None:
    for remaining in ("2", "1", "0"):
        response = await owner.get("/api/me")
        assert (response.status_code, response.headers["RateLimit-Remaining"]) == (200, remaining)
    refused = await owner.get("/api/me")
    assert refused.status_code == 429
    assert (await refused.get_json())["error"]["code"] == "too_many_requests"
    assert (refused.headers["Retry-After"], refused.headers["RateLimit-Limit"]) == ("60", "3")
    wall.passes(minutes=1)
    assert (await owner.get("/api/me")).status_code == 200


async def test_keys_do_not_use_up_each_other_s_requests(owner: Caller, stranger: Caller) -> None:
    for _ in range(4):
        await owner.get("/api/me")
    assert (await stranger.get("/api/me")).status_code == 200


async def test_who_has_no_good_key_is_counted_by_address(client: Client) -> None:
    assert [await asks(client, "/api/me", key=key) for key in ("", "tl_wrong", "tl_wrong")] == [401, 401, 429]
    assert await asks(client, "/openapi.json") == 429
    assert await asks(client, "/api/me", address="192.0.2.2") == 401


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/api/nowhere", "/api/setup"])
async def test_credentials_that_nobody_looks_at_are_none(path: str, client: Client, owner: Caller) -> None:
    answers = [await asks(client, path, key=owner.secret) for _ in range(3)]
    assert 429 not in answers[:2]
    assert answers[2] == 429


async def test_a_good_key_comes_through_where_many_bad_ones_did_not(client: Client, make_caller: MakeCaller) -> None:
    for _ in range(3):
        await asks(client, "/api/me", key="tl_wrong")
    assert await asks(client, "/api/me", key=make_caller().secret) == 200


async def test_the_addresses_of_one_ipv6_customer_are_one(client: Client) -> None:
    statuses = [await asks(client, "/openapi.json", address=f"2001:db8:1:2::{n}") for n in (1, 2, 3)]
    assert statuses == [200, 200, 429]
    assert await asks(client, "/openapi.json", address="2001:db8:1:3::1") == 200


async def test_an_address_is_believed_from_our_proxies_only(client: Client) -> None:
    for forged in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        response = await client.get(
            "/openapi.json", headers={"X-Forwarded-For": forged}, scope_base={"client": ("203.0.113.5", 1)}
        )
    assert response.status_code == 429


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/incoming-call", "/voice"])
async def test_probes_and_twilio_are_never_turned_away(path: str, client: Client) -> None:
    assert [await asks(client, path) for _ in range(5)] == [200] * 5
