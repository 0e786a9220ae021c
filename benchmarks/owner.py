"""Somebody with an API key, put straight into the tables: signing in would only be a longer way to the same key."""

from datetime import datetime
from uuid import UUID

from admin.principal import SCOPES
from admin.services.people.api_keys import make_key
from admin.store import api_keys, users
from admin.store.database import Database


def add_owner(database: Database, at: datetime) -> tuple[str, UUID]:
    """The owner of a new account. Returns their key's secret, and the account."""
    key = make_key()
    with database.engine.begin() as connection:
        user_id = users.add(connection, role="owner", at=at)
        api_keys.add(
            connection,
            account_id=user_id,
            user_id=user_id,
            name="made by hand",
            scopes=SCOPES["owner"],
            shown_prefix=key.shown_prefix,
            secret_hash=key.secret_hash,
            at=at,
        )
    return key.secret, user_id
