"""The REST API as its users meet it: over a database, with keys, without a network."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import Connection

from admin.api import open_api
from admin.principal import SCOPES, Role, Scope
from admin.services.people.api_keys import make_key
from admin.services.people.passwords import PasswordCost
from admin.services.people.people import PeopleRules
from admin.store import api_keys, users
from admin.store.database import Database
from tests.admin.conftest import MakeClient

CHEAP = PasswordCost(memory_kib=8, rounds=1)  # a real one takes longer than a test


class WallClock:
    """Wall time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)  # a Monday

    def __call__(self) -> datetime:
        return self.at

    def passes(self, **duration: float) -> None:
        """Time passes, as `timedelta` takes it."""
        self.at += timedelta(**duration)


class Caller:
    """Somebody with an API key. Attributes: user_id, account_id, secret."""

    def __init__(self, client: Client, secret: str, user_id: UUID, account_id: UUID) -> None:
        self._client, self.secret, self.user_id, self.account_id = client, secret, user_id, account_id

    async def request(self, method: str, path: str, **given: Any) -> Response:
        """One request, with the key and with what Quart's test client takes: json, headers, query_string."""
        headers = {"Authorization": f"Bearer {self.secret}", **given.pop("headers", {})}
        return await self._client.open(path, method=method, headers=headers, **given)

    async def get(self, path: str, **given: Any) -> Response:
        """GET."""
        return await self.request("GET", path, **given)

    async def post(self, path: str, **given: Any) -> Response:
        """POST."""
        return await self.request("POST", path, **given)

    async def put(self, path: str, **given: Any) -> Response:
        """PUT."""
        return await self.request("PUT", path, **given)

    async def patch(self, path: str, **given: Any) -> Response:
        """PATCH."""
        return await self.request("PATCH", path, **given)

    async def delete(self, path: str, **given: Any) -> Response:
        """DELETE."""
        return await self.request("DELETE", path, **given)


MakeCaller = Callable[..., Caller]


@pytest.fixture
def wall() -> WallClock:
    return WallClock()


@pytest.fixture
def client(make_client: MakeClient, database: Database, wall: WallClock) -> Client:
    """Somebody without credentials."""
    return make_client(api=open_api(database, wall, people=PeopleRules(password_cost=CHEAP)))


@pytest.fixture
def make_caller(client: Client, database: Database, wall: WallClock) -> MakeCaller:
    """A new user with a key that has all scopes of the role, or those given; in an account of their own, or given."""

    def make(role: Role = "owner", *, account_id: UUID | None = None, scopes: Iterable[Scope] | None = None) -> Caller:
        key = make_key()

        def add(connection: Connection) -> tuple[UUID, UUID]:
            user_id = users.add(connection, role=role, at=wall(), account_id=account_id)
            account = account_id or user_id
            api_keys.add(
                connection,
                account_id=account,
                user_id=user_id,
                name="a test's",
                scopes=SCOPES[role] if scopes is None else scopes,
                shown_prefix=key.shown_prefix,
                secret_hash=key.secret_hash,
                at=wall(),
            )
            return user_id, account

        with database.engine.begin() as connection:
            return Caller(client, key.secret, *add(connection))

    return make


@pytest.fixture
def owner(make_caller: MakeCaller) -> Caller:
    """The owner of an account."""
    return make_caller()


@pytest.fixture
def stranger(make_caller: MakeCaller) -> Caller:
    """The owner of another account."""
    return make_caller()
