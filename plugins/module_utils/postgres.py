# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The database of a stack, asked with PostgreSQL's own programs, in its container or in one of their own."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.drydock.stack.plugins.module_utils import docker_cli, engine
from ansible_collections.drydock.stack.plugins.module_utils.release import password

# The command whose effect is known: it does nothing where the database is at the newest revision that it has.
ALEMBIC = ["alembic", "upgrade", "head"]
# Session-level advisory locks have a key of 64 bits; this one is the first of SHA-256 of the words below.
MIGRATION_LOCK = int.from_bytes(hashlib.sha256(b"drydock.stack migration").digest()[:8], "big", signed=True)
# Seconds for a database elsewhere to take a connection.
CONNECT_TIMEOUT = 10
# The role and the database that the container was made with are the defaults of psql in it.
AS_OWNER = 'exec "$0" --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" "$@"'


class DatabaseError(Exception):
    """The database refuses or does not answer; the text is for the operator."""


@dataclass(frozen=True)
class Database:
    """The database of the stack ``stack``, whose folder is ``root``.

    ``external`` says where it is, if it is not the stack's own: C(host), C(port), C(sslmode), C(name), C(user), and the
    C(image) with PostgreSQL's programs.
    """

    stack: str
    root: Path
    external: Mapping[str, str] = field(default_factory=dict)

    def program(self, command: str, *arguments: str, stdin: bool = False, connects: bool = True) -> list[str]:
        """Return the command line that runs a program of PostgreSQL, as the database's owner where it ``connects``."""
        docker, interactive = engine.which("docker") or "docker", ["--interactive"] if stdin else []
        if not self.external:
            owner = ["sh", "-c", AS_OWNER] if connects else []
            return [docker, "exec", *interactive, f"{self.stack}-db-1", *owner, command, *arguments]
        settings = [word for name in self.settings() for word in ("--env", name)]
        return [docker, "run", "--rm", *interactive, *settings, self.external["image"], command, *arguments]

    def settings(self) -> dict[str, str]:
        """Return the variables that lead PostgreSQL's programs to a database elsewhere; for one of the stack's own, none."""
        if not self.external:
            return {}
        return {
            "PGHOST": self.external["host"],
            "PGPORT": str(self.external["port"]),
            "PGSSLMODE": self.external["sslmode"],
            "PGDATABASE": self.external["name"],
            "PGUSER": self.external["user"],
            "PGPASSWORD": password(self.root),
            "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT),
        }

    def environment(self) -> dict[str, str]:
        """Return the environment to run a ``program`` in, from which the password reaches it and no command line."""
        return {**engine.environment(), **self.settings()}


def query(database: Database, sql: str) -> list[str]:
    """Return what a statement gives, one line per row, columns separated by ``|``; raises DatabaseError."""
    quiet = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
    command = database.program("psql", *quiet, f"--command={sql}")
    code, output, error = engine.run(command, timeout=docker_cli.TIMEOUT, more=database.settings())
    if code:
        raise DatabaseError(error.strip()[-500:] or f"psql ended with {code}")
    return output.splitlines()


def revision(database: Database) -> str:
    """Return the revision of Alembic that the database is at, several joined by a space, "" where there is none."""
    try:
        if not any(query(database, "SELECT to_regclass('alembic_version')")):
            return ""
        return " ".join(sorted(query(database, "SELECT version_num FROM alembic_version")))
    except DatabaseError:
        return ""


@contextlib.contextmanager
def advisory_lock(database: Database, seconds: float) -> Iterator[None]:
    """Hold the lock of migrations in a session of its own; raises DatabaseError where another holds it for ``seconds``."""
    session = subprocess.Popen(
        database.program("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", stdin=True),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=database.environment(),
    )  # fmt: skip
    try:
        session.stdin.write(
            f"SET lock_timeout = '{int(seconds * 1000)}ms';\nSELECT pg_advisory_lock({MIGRATION_LOCK});\nSELECT 'held';\n"
        )
        session.stdin.flush()
        said = []
        for line in session.stdout:
            said.append(line.strip())
            if said[-1] == "held":
                break
        else:
            raise DatabaseError(" ".join(filter(None, said))[-500:] or "psql ended without a word")
        yield
    finally:
        with contextlib.suppress(OSError):
            session.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            session.wait(timeout=10)
        if session.poll() is None:
            session.kill()
