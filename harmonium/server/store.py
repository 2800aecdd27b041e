"""What the server remembers: one SQLite file, or a PostgreSQL that several servers share.

`Database` runs plain SQL of SQLAlchemy in threads of its own, one transaction a call, so that the event loop never
waits for a disk. What a call has written is on the disk when it returns: SQLite with a write-ahead log, synced at every
commit. SQLite has one writer, so it gets one thread.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event, insert, inspect, select, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from harmonium.errors import BadRequest, CannotWrite, Unavailable
from harmonium.server.store_tables import LONGEST_ID, VERSION, metadata, store

N_CONNECTIONS = 8
BUSY_TIMEOUT_MS = 30_000
LOST_AFTER = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
"""Seconds and milliseconds after which a PostgreSQL that does not answer is taken for lost. Source: libpq's manual."""
N_TRIES, LONGEST_WAIT_S = 6, 0.05
"""Of a transaction that others stood in the way of, and how long it waits before it is tried again, at most, each time
for twice as long.
"""
IN_THE_WAY = ("40001", "40P01")
"""PostgreSQL's codes of what may succeed when it is repeated: a failed serialization, and a deadlock."""
TABLES_LOCK = 0x4841524D
"""Of PostgreSQL's advisory locks, the one that is held while tables are made."""
_ID = re.compile(rf"[A-Za-z0-9_.:-]{{1,{LONGEST_ID}}}", re.ASCII)

log = logging.getLogger(__name__)
Found = TypeVar("Found")


class Database:
    """Tables that are there, and a way to use them from asyncio."""

    def __init__(self, url: URL) -> None:
        """Makes what is missing. Raises CannotWrite where the database cannot be reached or written, and BadRequest for
        tables of another version.
        """
        self._is_sqlite = url.get_backend_name() == "sqlite"
        n_threads = 1 if self._is_sqlite else N_CONNECTIONS
        self._engine = create_engine(
            url,
            pool_size=n_threads,
            max_overflow=0,
            pool_pre_ping=not self._is_sqlite,
            connect_args={} if self._is_sqlite else LOST_AFTER,
        )
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="harmonium-store")
        if self._is_sqlite:
            event.listen(self._engine, "connect", _set_up_sqlite)
        shown = url.render_as_string(hide_password=True)
        try:
            self._make_tables(shown)
        except DBAPIError as error:
            self.close()
            raise CannotWrite(f"The store {shown} cannot be opened: {str(error.orig).strip()}.") from error
        except BadRequest:
            self.close()
            raise

    def _make_tables(self, shown: str) -> None:
        """One process after the other, so that servers may start in the same moment."""
        with self._engine.begin() as connection:
            connection.exec_driver_sql(
                "BEGIN IMMEDIATE" if self._is_sqlite else f"SELECT pg_advisory_xact_lock({TABLES_LOCK})"
            )
            if inspect(connection).has_table(store.name):
                version = connection.execute(select(store.c.version)).scalar_one()
                if version != VERSION:
                    raise BadRequest(
                        f"The store {shown} has tables of version {version}, and this Harmonium reads version "
                        f"{VERSION}; use the Harmonium that made it, or give another --store."
                    )
                return
            metadata.create_all(connection)
            connection.execute(insert(store).values(version=VERSION, checked_at=time.time()))

    async def check(self) -> None:
        """Writes something. Raises Unavailable where nothing can be."""
        await self.run(lambda connection: connection.execute(update(store).values(checked_at=time.time())))

    async def run(self, action: Callable[[Connection], Found]) -> Found:
        """What the action returns, in one transaction: all of it is kept, or, where it raises, nothing. Where other
        transactions stand in its way it is done again, so it does nothing but use its connection.

        Raises Unavailable where the database cannot be reached, or its disk is full.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._transact, action)

    def _transact(self, action: Callable[[Connection], Found], n_tried: int = 1) -> Found:
        try:
            with self._engine.begin() as connection:
                return action(connection)
        except (DataError, IntegrityError, ProgrammingError):
            raise  # a bug of ours
        except DBAPIError as error:
            if n_tried == N_TRIES or getattr(error.orig, "sqlstate", None) not in IN_THE_WAY:
                log.error("The store fails: %s", error.orig)
                raise Unavailable("The server's store cannot be used now. Its log says why.") from error
        time.sleep(random.uniform(0, LONGEST_WAIT_S * 2**n_tried))
        return self._transact(action, n_tried + 1)

    def close(self) -> None:
        """Waits for what is being written."""
        self._threads.shutdown()
        self._engine.dispose()


def open_database(place: str | Path) -> Database:
    """place: a file for SQLite, or a URL such as postgresql://user@host/name.

    Raises BadRequest for a URL that nothing can open, and CannotWrite as Database does.
    """
    try:
        return Database(_url(place))
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise BadRequest(
            f"The store is a file, or a URL such as postgresql://user@host/name, not {str(place)!r} ({error})."
        ) from None


def is_id(text: Any) -> bool:
    """Can this name something in the store?"""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def _url(place: str | Path) -> URL:
    if isinstance(place, Path) or "://" not in place:
        path = Path(place).absolute()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)  # what was said is its owner's; the files beside it are made like this one
        except OSError as error:
            raise CannotWrite(f"The file {path} cannot be made: {error.strerror}.") from error
        return URL.create("sqlite", database=str(path))
    url = make_url(place)
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    return url


def _set_up_sqlite(connection: Any, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
