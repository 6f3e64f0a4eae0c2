"""The way to the database, and what to say when there is none. Nothing here connects before it is asked to."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from psycopg2.errors import UndefinedColumn, UndefinedTable
from sqlalchemy import create_engine
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError, TimeoutError
from sqlalchemy.orm import DeclarativeBase, Session

from settings import settings

logger = logging.getLogger("uvicorn.error")

# A database that is cut off is noticed within seconds; the defaults of TCP take a quarter of an hour, or two hours.
CONNECT_ARGS = {
    "application_name": "notes",
    "connect_timeout": 2,
    "tcp_user_timeout": 3000,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "options": "-c statement_timeout=5s",
}

# pool_pre_ping replaces connections that died with the server, so that nobody's request has to fail for it.
engine = create_engine(
    settings.url,
    connect_args=CONNECT_ARGS,
    pool_pre_ping=True,
    pool_size=settings.db_pool_size,
    max_overflow=settings.db_max_overflow,
    pool_timeout=settings.db_pool_timeout,
)

# Readiness has one connection of its own, made anew for each probe: neither a pool that is used up nor a server that
# accepts but does not answer can hold it up longer than connect_timeout.
probe = create_engine(
    settings.url, connect_args=CONNECT_ARGS, pool_size=1, max_overflow=0, pool_timeout=2, pool_recycle=0
)


class Base(DeclarativeBase):
    """The tables of this application."""


class UnavailableError(Exception):
    """The database cannot serve a request for now. The message is for people; it holds no detail of the server."""


@contextmanager
def transaction() -> Iterator[Session]:
    """A session that commits at the end. It opens and closes in the endpoint's own thread, and waits for no other."""
    with errors_for_people(), Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def errors_for_people() -> Iterator[None]:
    """Turn what passes by itself, or by a migration, into UnavailableError; the program's own faults stay."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", error)
        if isinstance(error, OperationalError | InterfaceError | TimeoutError):
            message = "The database is not available. Try again in a moment."
        elif isinstance(cause, UndefinedTable | UndefinedColumn):
            message = "The database is not migrated to this release. Run: alembic upgrade head"
        else:
            raise
        logger.warning("%s %s", message, " ".join(str(cause).split()))
        raise UnavailableError(message) from error


@cache
def revisions() -> tuple[set[str], set[str]]:
    """The migration revisions that this code is written for, and all that it knows of."""
    # Alembic costs 0.15 s to import: a worker pays it with its first probe, not with its start.
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(__file__).with_name("migrations")))
    return set(scripts.get_heads()), {script.revision for script in scripts.walk_revisions()}


def found_revisions() -> set[str]:
    """The migration revisions that the database is at: none before the first migration."""
    from alembic.runtime.migration import MigrationContext

    with errors_for_people(), probe.connect() as connection:
        return set(MigrationContext.configure(connection).get_current_heads())
