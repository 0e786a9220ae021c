"""The database: an engine whose work is done in threads, one transaction for each piece of it.

SQLite and PostgreSQL differ here and nowhere else. SQLite runs in WAL mode, so readers never wait for a writer; a
writer takes its lock at once, instead of failing when it first writes. All waiting is bounded, because a thread that
waits for a database cannot be cancelled.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import trio
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from admin.errors import StoreUnavailableError

CONNECTIONS: Final = 5  # and as many threads; each process has its own
AGAIN_AT_MOST: Final = 3  # a transaction that lost to another
LETS_OTHERS_S: Final = 0.02  # go on before that, or we would be in their way again
WAIT_S: Final = 5  # for a connection, a lock, or the end of one statement

# SQLSTATEs of PostgreSQL's.
_LOST_TO_ANOTHER: Final = ("40001", "40P01")  # of transactions that wait for each other one is given up
_ONLY_READS: Final = "25006"  # a standby

Result = TypeVar("Result")
Work = Callable[[Connection], Result]


class Database:
    """Args: url, as DATABASE_URL has it: sqlite:///path or postgresql://…"""

    def __init__(self, url: str) -> None:
        self.engine = open_engine(url)
        self._limiter = trio.CapacityLimiter(CONNECTIONS)

    async def read(self, work: Work[Result]) -> Result:
        """What this work finds, in a transaction of its own.

        It runs in a thread, must not wait for anything else, and begins anew if it lost to another transaction.

        Raises: StoreUnavailableError when the database cannot be had; what the work raises.
        """
        return await trio.to_thread.run_sync(self._run, work, False, limiter=self._limiter)

    async def write(self, work: Work[Result]) -> Result:
        """The same for work that changes something: all of it is kept, or, when it raises, nothing."""
        return await trio.to_thread.run_sync(self._run, work, True, limiter=self._limiter)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def _run(self, work: Work[Result], writes: bool) -> Result:
        try:
            return self._transact_in_turn(work, writes)
        except (OperationalError, InterfaceError, PoolTimeoutError) as error:
            raise StoreUnavailableError from error
        except DBAPIError as error:
            # The plain class is SQLite's for a file that is damaged, or no database at all.
            is_away = error.connection_invalidated or type(error) is DatabaseError
            if is_away or _state_of(error) == _ONLY_READS:
                raise StoreUnavailableError from error
            raise

    def _transact_in_turn(self, work: Work[Result], writes: bool) -> Result:
        for _ in range(AGAIN_AT_MOST):
            try:
                return self._transact(work, writes)
            except OperationalError as error:
                if _state_of(error) not in _LOST_TO_ANOTHER:
                    raise
                time.sleep(LETS_OTHERS_S)
        return self._transact(work, writes)

    def _transact(self, work: Work[Result], writes: bool) -> Result:
        with self.engine.connect().execution_options(writes=writes) as connection, connection.begin():
            return work(connection)


def _state_of(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def breaks_reference(error: IntegrityError) -> bool:
    """Whether a row was to belong to one that is not there, as opposed to being there twice."""
    code = getattr(error.orig, "sqlite_errorname", None) or _state_of(error)
    return code in ("SQLITE_CONSTRAINT_FOREIGNKEY", "23503")


def open_engine(url: str) -> Engine:
    """An engine with bounded waiting, whose errors tell no values: they are in logs. It connects when it is first used.

    Makes the folder of an SQLite file.
    """
    address = _with_driver(make_url(url))
    if address.get_backend_name() == "sqlite":
        return _sqlite_engine(address)
    return create_engine(
        address,
        hide_parameters=True,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=WAIT_S,
        pool_pre_ping=True,  # a database that was restarted is met by the next request, not by an error
        connect_args={
            "connect_timeout": WAIT_S,
            "options": f"-c statement_timeout={WAIT_S * 1000} -c lock_timeout={WAIT_S * 1000} -c timezone=UTC",
        },
    )


def _with_driver(address: URL) -> URL:
    # `postgres` is what several hosting companies hand out; psycopg is the driver that we ship.
    if address.get_backend_name() in ("postgres", "postgresql"):
        return address.set(drivername="postgresql+psycopg")
    return address


def _sqlite_engine(address: URL) -> Engine:
    if address.database:
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        address,
        hide_parameters=True,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_use_lifo=True,  # each connection that is used fills a cache of its own
        pool_timeout=WAIT_S,
        connect_args={"timeout": WAIT_S},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # or Python would begin transactions when it sees fit
    cursor = connection.cursor()
    # The cache is -KiB. What it does not hold is in the system's, which all processes share.
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "cache_size = -256"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
