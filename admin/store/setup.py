"""The token with which the first owner is made, in the table of settings: kept as a hash, and one at most."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from admin.store.schema import settings

_NAME: Final = "setup"


def put(connection: Connection, token_hash: bytes, *, at: datetime, expires_at: datetime) -> None:
    """The token from now on; an older one is void."""
    connection.execute(delete(settings).where(settings.c.name == _NAME))
    value = {"token_hash": token_hash.hex(), "expires_at": expires_at.isoformat()}
    connection.execute(insert(settings).values(name=_NAME, value=value, updated_at=at))


def token_hash(connection: Connection, at: datetime) -> bytes | None:
    """What the token hashes to; None if there is none, or it is over."""
    found = select(settings.c.value).where(settings.c.name == _NAME).with_for_update()
    value = connection.execute(found).scalar_one_or_none()
    if value is None or datetime.fromisoformat(value["expires_at"]) <= at:
        return None
    return bytes.fromhex(value["token_hash"])


def burn(connection: Connection) -> bool:
    """There is none any more. False if there was none: somebody else was first."""
    return connection.execute(delete(settings).where(settings.c.name == _NAME)).rowcount == 1
