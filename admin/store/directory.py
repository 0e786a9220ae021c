"""One small value that changes with every change of what the directory shows, so that each process sees that it must
read again.

It is a random word, not a number: nobody compares it for more than being another one.
"""

from typing import Final

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from admin.store.column_types import new_id
from admin.store.schema import settings

NAME: Final = "directory_version"


def bump(connection: Connection) -> None:
    """Have all processes read phone numbers and personas again; in the transaction that changes any of them."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {"value": new_id().hex, "updated_at": func.current_timestamp()}
    connection.execute(
        insert(settings).values(name=NAME, **values).on_conflict_do_update(index_elements=["name"], set_=values)
    )


def version(connection: Connection) -> str:
    """The value as it is, "" when nothing was ever changed."""
    return str(connection.execute(select(settings.c.value).where(settings.c.name == NAME)).scalar() or "")
