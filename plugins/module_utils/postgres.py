# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The database of a stack, asked with PostgreSQL's own programs, in its container or in one of their own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils import docker_cli, dumps, engine
from ansible_collections.drydock.stack.plugins.module_utils.release import password

# The command whose effect is known: it does nothing where the database is at the newest revision that it has.
ALEMBIC = ["alembic", "upgrade", "head"]
# Session-level advisory locks have a key of 64 bits; this one is the first of SHA-256 of the words below.
MIGRATION_LOCK = int.from_bytes(hashlib.sha256(b"drydock.stack migration").digest()[:8], "big", signed=True)
# Seconds for a database elsewhere to take a connection.
CONNECT_TIMEOUT = 10
QUIET = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
# The name that the application finds the stack's own database by: from there everybody is asked for the password.
OWN_HOST = "db"
# What a server says that answers, and does not take who logs in.
NOT_TAKEN = re.compile(r'password authentication failed|(role|database) ".*" does not exist|is not permitted to log in')
# Of a session of the superuser: nothing of what the database's owner has put there is called in place of PostgreSQL's own.
OWN_NAMES = "SET search_path = pg_catalog;\n"
# As the application finds it.
REVISION = r"""
BEGIN READ ONLY;
SET LOCAL statement_timeout = '10s';
SELECT CASE WHEN to_regclass('alembic_version') IS NULL THEN 'NULL' ELSE
  $$(SELECT string_agg(version_num, ' ' ORDER BY version_num COLLATE "C") FROM alembic_version)$$ END AS revision \gset
SELECT coalesce(:revision, '') AS revision \gset
COMMIT;
"""
# From the superuser of a database of the stack's own to the application's role, to which it belongs.
TO_OWNER = r"""
SELECT coalesce((SELECT rolname FROM pg_database JOIN pg_roles r ON r.oid = datdba
  WHERE datname = current_database() AND rolcanlogin), session_user) AS owner \gset
\connect - :owner
"""
# And from the application's role to the superuser, who is asked for no password over the socket.
TO_SUPERUSER = r"""
\set superuser `printf %s "$PGUSER"`
\connect - :superuser /var/run/postgresql
"""
# First which questions this server, and this role in it, have an answer to; then all of them as one.
FACTS = r"""
BEGIN READ ONLY;
SET LOCAL statement_timeout = '10s';
SELECT
  CASE WHEN current_setting('server_version_num')::int < 150000 THEN 'NULL' ELSE
    $$(SELECT json_build_object('made', datcollversion, 'now', pg_database_collation_actual_version(oid))
      FROM pg_database WHERE datname = current_database())$$ END AS collation,
  CASE WHEN NOT has_function_privilege('pg_ls_waldir()', 'EXECUTE') THEN 'NULL' ELSE
    $$(SELECT json_build_object('bytes', coalesce(sum(size), 0), 'limit',
      pg_size_bytes(current_setting('max_wal_size')) + pg_size_bytes(current_setting('wal_keep_size')))
      FROM pg_ls_waldir())$$ END AS wal
\gset
SELECT json_build_object(
  'revision', :'revision', 'database', quote_ident(current_database()), 'collation', :collation, 'wal', :wal,
  'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = :'role'),
  'checksums', current_setting('data_checksums'), 'max_connections', current_setting('max_connections')::int,
  'connections', (SELECT count(*) FROM pg_stat_activity
    WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend' AND pid <> pg_backend_pid()),
  'archiver', (SELECT json_build_object(
    'wal', last_failed_wal, 'failed', failed_count, 'last', last_archived_time::timestamptz(0), 'failing',
    current_setting('archive_mode') <> 'off' AND last_failed_time > coalesce(last_archived_time, '-infinity'))
    FROM pg_stat_archiver),
  'slots', (SELECT coalesce(json_agg(json_build_object('name', slot_name, 'active', active, 'status', wal_status, 'bytes',
    pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn))
    ORDER BY slot_name), '[]') FROM pg_replication_slots WHERE NOT temporary));
COMMIT;
"""


class DatabaseError(Exception):
    """The database refuses or does not answer; the text is for the operator."""


class LoginError(DatabaseError):
    """The database answers, and does not take the role, its password or the database's name."""


@dataclass(frozen=True)
class Database:
    """The database of the stack ``stack``, whose folder is ``root``, and which the application uses as ``user``.

    ``external`` says where it is, if it is not the stack's own: C(host), C(port), C(sslmode), C(name), C(user), and the
    C(image) with PostgreSQL's programs. ``secret`` is the password there of a role that is not the application's.
    """

    stack: str
    root: Path
    external: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    secret: str = ""

    def program(
        self, command: str, *arguments: str, stdin: bool = False, connects: bool = True, more: Iterable[str] = ()
    ) -> list[str]:
        """Return the command line that runs a program of PostgreSQL, as the superuser of the stack's own where it ``connects``.

        ``more`` are names of variables that it gets from the environment, beside the settings.
        """
        docker, interactive = engine.which("docker") or "docker", ["--interactive"] if stdin else []
        variables = [word for name in (*self.settings(), *more) for word in ("--env", name)]
        if not self.external:
            superuser = ["sh", "-c", dumps.AS_SUPERUSER] if connects else []
            return [docker, "exec", *interactive, *variables, f"{self.stack}-db-1", *superuser, command, *arguments]
        return [docker, "run", "--rm", *interactive, *variables, self.external["image"], command, *arguments]

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
            "PGPASSWORD": self.secret or password(self.root),
            "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT),
        }

    def environment(self) -> dict[str, str]:
        """Return the environment to run a ``program`` in, from which the password reaches it and no command line."""
        return {**engine.environment(), **self.settings()}


def query(database: Database, sql: str) -> list[str]:
    """Return what a statement gives, one line per row, columns separated by ``|``; raises DatabaseError."""
    names = [] if database.external else [f"--command={OWN_NAMES}"]
    command = database.program("psql", *QUIET, *names, f"--command={sql}")
    code, output, error = engine.run(command, timeout=docker_cli.TIMEOUT, more=database.settings())
    if code:
        raise DatabaseError(error.strip()[-500:] or f"psql ended with {code}")
    return output.splitlines()


def revision(database: Database) -> str:
    """Return the revision of Alembic that the database is at, several joined by a space, "" where there is none."""
    asked = f"{'' if database.external else OWN_NAMES + TO_OWNER}{REVISION}\\echo :revision\n"
    command = database.program("psql", *QUIET, stdin=True)
    code, output, _ = engine.run(command, timeout=docker_cli.TIMEOUT, more=database.settings(), text=asked)
    return "" if code else output.strip()


def facts(database: Database, secret: str) -> dict[str, Any]:
    """Return what a deploy has to know of the database, asked over TCP with the password, as the application will.

    C(revision) of Alembic, "" for none; the name as SQL has it; whether the application's role is the C(superuser); C(collation),
    C(wal), C(archiver), C(slots), C(checksums), the connections and how many there may be; None where the server or the role
    cannot tell. Of the stack's own the superuser is asked, once the application's role has got in. Raises LoginError and
    DatabaseError.
    """
    own = [] if database.external else [f"--host={OWN_HOST}", *([f"--username={database.user}"] if database.user else [])]
    role = "" if database.external else database.user
    login = {"PGPASSWORD": secret, "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT)}
    more = [name for name in login if name not in database.settings()]
    command = database.program("psql", *QUIET, "--no-password", *own, f"--set=role={role}", stdin=True, more=more)
    asked = f"{REVISION}{'' if database.external else TO_SUPERUSER + OWN_NAMES}{FACTS}"
    code, output, error = engine.run(command, timeout=docker_cli.TIMEOUT, more={**database.settings(), **login}, text=asked)
    if code:
        said = " ".join(error.split())[-500:] or f"psql ended with {code}"
        raise (LoginError if NOT_TAKEN.search(said) else DatabaseError)(said)
    return json.loads(output)


@contextlib.contextmanager
def advisory_lock(database: Database, seconds: float) -> Iterator[None]:
    """Hold the lock of migrations in a session of its own; raises DatabaseError where another holds it for ``seconds``."""
    session = subprocess.Popen(
        database.program("psql", *QUIET, stdin=True),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=database.environment(),
    )  # fmt: skip
    try:
        session.stdin.write(
            f"{OWN_NAMES}SET lock_timeout = '{int(seconds * 1000)}ms';\n"
            f"SELECT pg_advisory_lock({MIGRATION_LOCK});\nSELECT 'held';\n"
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
