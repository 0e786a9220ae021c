"""The table of requests that must not be carried out twice: who sent what under which key, and what was answered."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.engine import RowMapping

from admin.store.schema import idempotency_keys


def find(connection: Connection, account_id: UUID, key: str) -> RowMapping | None:
    """What is known of this key."""
    return connection.execute(select(idempotency_keys).where(_is(account_id, key))).mappings().one_or_none()


def add(connection: Connection, account_id: UUID, key: str, request_hash: bytes, at: datetime) -> None:
    """A request begins under this key, which must be a new one."""
    connection.execute(
        insert(idempotency_keys).values(account_id=account_id, key=key, request_hash=request_hash, created_at=at)
    )


def answer(connection: Connection, account_id: UUID, key: str, status: int, body: Mapping[str, Any]) -> None:
    """The request was answered like this."""
    connection.execute(update(idempotency_keys).where(_is(account_id, key)).values(status=status, body=body))


def remove(connection: Connection, account_id: UUID, key: str) -> None:
    """Nothing was done: the key may be used again."""
    connection.execute(delete(idempotency_keys).where(_is(account_id, key)))


def sweep(connection: Connection, before: datetime) -> None:
    """Forget what is older."""
    connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at < before))


def _is(account_id: UUID, key: str) -> Any:
    return (idempotency_keys.c.account_id == account_id) & (idempotency_keys.c.key == key)
