# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The database of a stack, asked with the programs in its own container, over its socket."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.drydock.stack.plugins.module_utils import docker_cli, engine

# The command whose effect is known: it does nothing where the database is at the newest revision that it has.
ALEMBIC = ["alembic", "upgrade", "head"]
# Session-level advisory locks have a key of 64 bits; this one is the first of SHA-256 of the words below.
MIGRATION_LOCK = int.from_bytes(hashlib.sha256(b"drydock.stack migration").digest()[:8], "big", signed=True)
# The role and the database that the container was made with are the defaults of psql in it.
AS_OWNER = 'exec "$0" --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" "$@"'


class DatabaseError(Exception):
    """The database refuses or does not answer; the text is for the operator."""


def program(name: str, command: str, *arguments: str, stdin: bool = False) -> list[str]:
    """Return the command line that runs a program of PostgreSQL in the container of the stack ``name``."""
    docker = [engine.which("docker") or "docker", "exec", *(["--interactive"] if stdin else []), f"{name}-db-1"]
    return [*docker, "sh", "-c", AS_OWNER, command, *arguments]


def query(name: str, sql: str) -> list[str]:
    """Return what a statement gives, one line per row, columns separated by ``|``; raises DatabaseError."""
    quiet = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
    code, output, error = engine.run(program(name, "psql", *quiet, f"--command={sql}"), timeout=docker_cli.TIMEOUT)
    if code:
        raise DatabaseError(error.strip()[-500:] or f"psql ended with {code}")
    return output.splitlines()


def revision(name: str) -> str:
    """Return the revision of Alembic that the database is at, several joined by a space, "" where there is none."""
    try:
        if not any(query(name, "SELECT to_regclass('alembic_version')")):
            return ""
        return " ".join(sorted(query(name, "SELECT version_num FROM alembic_version")))
    except DatabaseError:
        return ""


@contextlib.contextmanager
def advisory_lock(name: str, seconds: float) -> Iterator[None]:
    """Hold the lock of migrations in a session of its own; raises DatabaseError where another holds it for ``seconds``."""
    session = subprocess.Popen(
        program(name, "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", stdin=True),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=engine.environment(),
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


def dump(name: str, file: Path) -> str:
    """Write the whole database to a file as ``pg_dump --format=custom`` does, with its checksum beside; return the checksum.

    The dump is complete and readable before it gets its name, and on the disk. Raises DatabaseError.
    """
    partial = file.with_name(f".{file.name}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
            done = subprocess.run(
                program(name, "pg_dump", "--format=custom", "--compress=6"),
                stdout=output, stderr=subprocess.PIPE, check=False, env=engine.environment(),
            )  # fmt: skip
            os.fsync(output.fileno())
        if done.returncode:
            raise DatabaseError(f"pg_dump: {done.stderr.decode(errors='replace').strip()[-500:]}")
        with partial.open("rb") as source:
            listed = subprocess.run(
                [engine.which("docker") or "docker", "exec", "--interactive", f"{name}-db-1", "pg_restore", "--list"],
                stdin=source, capture_output=True, check=False, env=engine.environment(),
            )  # fmt: skip
        if listed.returncode:
            raise DatabaseError(f"pg_restore cannot read the dump: {listed.stderr.decode(errors='replace').strip()[-500:]}")
        with partial.open("rb") as source:
            checksum = _sha256(source)
        partial.replace(file)
    except OSError as error:
        raise DatabaseError(f"the dump cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    sums = file.with_name(f"{file.name}.sha256")
    sums.write_text(f"{checksum}  {file.name}\n")
    folder = os.open(file.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    return checksum


def _sha256(file) -> str:
    """Return the hash of a file, block by block; `hashlib.file_digest` is not in every Python that a host has."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def stamp() -> str:
    """Return the time of now as it stands in the name of a dump: 20260131T235959Z."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
