"""Requests that may be sent twice but carried out once, by a key that the client makes up (the Idempotency-Key header).

The first request claims its key in the transaction that begins its work. The same one again gets the first one's
answer; another one under the same key is a mistake of the client's.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from admin.errors import AdminError, ConflictError
from admin.store import idempotency_keys

KEPT_FOR: Final = timedelta(hours=24)
MAX_KEY_CHARACTERS: Final = 255

_encode = msgspec.json.Encoder(order="deterministic").encode


class KeyReusedError(AdminError):
    """The key came with another request before."""

    status = 422
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("that Idempotency-Key was used for another request; make a new one for each")


class Answered(msgspec.Struct, frozen=True):
    """What the first request was answered."""

    status: int
    body: Mapping[str, Any]


def fingerprint(request: msgspec.Struct) -> bytes:
    """What tells two requests apart, whatever order their fields were written in."""
    return hashlib.sha256(_encode(request)).digest()


def claim(connection: Connection, account_id: UUID, key: str, request_hash: bytes, now: datetime) -> Answered | None:
    """Begin a request under this key: None to go on, or the answer that was given before.

    Whoever calls this must let nobody else do so at the same time (see admin.store.outbound.serialise).
    Raises: KeyReusedError; ConflictError, code in_progress, while the first request is under way.
    """
    idempotency_keys.sweep(connection, now - KEPT_FOR)
    found = idempotency_keys.find(connection, account_id, key)
    if found is None:
        idempotency_keys.add(connection, account_id, key, request_hash, now)
        return None
    if found["request_hash"] != request_hash:
        raise KeyReusedError
    if found["status"] is None:
        raise ConflictError("the request with that Idempotency-Key is still under way", code="in_progress")
    return Answered(found["status"], found["body"])
