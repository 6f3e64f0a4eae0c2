#!/usr/bin/env python3
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The backups of a stack's database: made, kept, copied off the host, and proven by restoring them.

This is a part of the collection's modules, and, as <root>/bin/data on a host, a program of its own that a timer runs without
Ansible. So it needs the standard library alone, of Python 3.9 and later, and imports nothing of the collection.

A backup is three files in <root>/backups that share the time of their making: the dump, what the cluster knows beside it
(roles, with the hashes of their passwords), and a manifest with the dump's checksum and what was counted in the same snapshot.
The dump gets its name last: where a file has the name of a dump, the backup is whole.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SETTINGS = "backup.json"
STATE = "state.json"
COPIED = "copied"
OWNER = ".owner"
FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL
GIGABYTE = 10**9
# What a backup leaves free of a disk that it shares with the database, as a restore does.
SPARE = GIGABYTE // 2
DAY = 86400
UTC = datetime.timezone.utc
TIME = "%Y-%m-%dT%H:%M:%SZ"
BLOCK = 1 << 20
# How the sessions of backups are known in the database.
APPLICATION = "drydock-backup"
STAMP = "%Y%m%dT%H%M%SZ"
BACKUP = re.compile(r"(?P<stamp>[0-9]{8}T[0-9]{6}Z)(?P<before>-before-[0-9a-f]{12})?\.dump")
PERIODS = {"daily": "%Y-%m-%d", "weekly": "%G-%V", "monthly": "%Y-%m"}
# Seconds that a run waits for another one, and that a database which is being made may take to answer.
WAIT = 3600
START_TIMEOUT = 180
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
# Above what is set for the role or the database, whose requests are short.
PATIENT = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
# The role that a new cluster is made with: its superuser, which has no password and comes in over the socket alone. Clusters of
# before were made with the application's role.
SUPERUSER = "postgres"
# Which one it is stands in the data, as that goes from one container to another; else it is the one that the container names.
AS_SUPERUSER = (
    'user=$POSTGRES_USER; [ ! -f "$PGDATA/drydock.superuser" ] || read -r user < "$PGDATA/drydock.superuser"; '
    'PGUSER="$user" PGBACKREST_PG1_USER="$user" PGDATABASE="${PGDATABASE:-$POSTGRES_DB}" exec "$0" "$@"'
)
# 10 is the role that initdb made, and anybody may ask for its name. The application's own database may be the one that is asked.
SETTLE = """
for role in postgres "$1"; do
  if user=$(PGOPTIONS="-c search_path=pg_catalog" \\
    psql -XqAt --username="$role" --dbname=postgres --command="SELECT rolname FROM pg_roles WHERE oid = 10"); then
    cd "$PGDATA" || exit
    [ "$(cat drydock.superuser 2> /dev/null)" != "$user" ] || exit 0
    printf '%s\\n' "$user" > drydock.superuser.next && sync drydock.superuser.next \\
      && mv drydock.superuser.next drydock.superuser && echo written
    exit
  fi
done
exit 1
"""
# What is made of a cluster that is new: the superuser's password, with which it was made, becomes the application's. All of it is
# done or nothing, so that a cluster whose first start was cut off is still a new one. Where the superuser has no password it is
# none, and a role that is missing is a wrong name. Until 14 the schema public belongs to the superuser, and everybody may make
# tables in it.
OWN = r"""
SET search_path = pg_catalog;
\set database `printf %s "$POSTGRES_DB"`
SELECT session_user <> :'owner' AS apart, session_user <> :'owner' AND NOT EXISTS (
  SELECT FROM pg_authid WHERE rolname = :'owner' AND rolpassword IS NOT NULL) AND EXISTS (
  SELECT FROM pg_authid WHERE rolname = session_user AND rolpassword IS NOT NULL) AS new \gset
\if :new
SELECT format('CREATE DATABASE %I', :'database')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
BEGIN;
SELECT format('CREATE ROLE %I LOGIN', :'owner') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
SELECT format('ALTER ROLE %I PASSWORD %L', :'owner', rolpassword), format('ALTER ROLE %I PASSWORD NULL', rolname)
FROM pg_authid WHERE rolname = session_user AND rolpassword IS NOT NULL \gexec
ALTER DATABASE :"database" OWNER TO :"owner";
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname)
FROM pg_database WHERE datname IN ('postgres', 'template1') AND datname <> :'database' \gexec
COMMIT;
\echo new
\endif
\if :apart
\connect :database
SET search_path = pg_catalog;
SELECT format('ALTER SCHEMA public OWNER TO %I', :'owner'), 'REVOKE CREATE ON SCHEMA public FROM PUBLIC'
FROM pg_namespace WHERE nspname = 'public' AND nspowner = 10 \gexec
\endif
"""
# For whoever makes a database. Text is in the order of its code points, which no update of an image's libraries changes: another
# order would put the indexes of before out of order. From 17 on PostgreSQL does so by itself.
INITDB = "--data-checksums --encoding=UTF8 --auth-host=scram-sha-256 --locale=C.UTF-8"

# A statement for each of the tables whose rows a dump holds: those of extensions, temporary ones and what foreign servers hold
# are none.
EACH = r"""
SELECT format(STATEMENT, n.nspname, c.relname, format('%I.%I', n.nspname, c.relname))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1 \gexec
"""
COUNT = EACH.replace("STATEMENT", "'SELECT json_build_array(%3$L, count(*)) FROM ONLY %1$I.%2$I'")
# A table that is emptied by TRUNCATE meanwhile would be so in the snapshot of before, too.
HOLD = EACH.replace("STATEMENT", "'LOCK TABLE ONLY %1$I.%2$I IN ACCESS SHARE MODE'")
# How values are written, so that they are the same for two servers.
AS_TEXT = """
SET extra_float_digits = 1; SET bytea_output = hex; SET DateStyle = ISO; SET TimeZone = UTC;
SET IntervalStyle = postgres; SET xmlbinary = base64; SET statement_timeout = 0;
"""
# A sum takes no heed of the order of the rows; 60 bits of MD5 each, which has no enemy here. A cast to text might be one of
# the owner's own.
CHECKSUMS = r"""
SELECT format('SELECT json_build_array(%L, count(*) || '' rows, '' ||
  coalesce(sum((''x'' || substr(md5(format(''%%s'', drydock_row)), 1, 15))::bit(60)::bigint), 0))
  FROM ONLY %I.%I drydock_row',
  format('%I.%I', n.nspname, c.relname), n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1 \gexec
SELECT json_build_array(format('the sequence %I.%I', schemaname, sequencename), coalesce(last_value::text, 'unused'))
FROM pg_sequences;
SELECT json_build_array('the large objects', count(*) || ' pages, ' ||
  coalesce(sum(('x' || substr(md5(loid || ' ' || pageno || ' ' || encode(data, 'hex')), 1, 15))::bit(60)::bigint), 0))
FROM pg_largeobject;
SELECT json_build_array(format('the role %I', rolname), concat_ws(' ', rolsuper, rolinherit, rolcreaterole, rolcreatedb,
  rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil,
  CASE WHEN rolname <> session_user AND a.oid <> d.datdba THEN md5(rolpassword) END,
  (SELECT string_agg(m.roleid::regrole::text, ',' ORDER BY m.roleid::regrole::text)
    FROM pg_auth_members m WHERE m.member = a.oid)))
FROM pg_authid a, pg_database d WHERE rolname !~ '^pg_' AND datname = current_database();
"""
# Sessions of a run that was killed hold locks which a migration would wait for. On a server elsewhere there are those of other
# stacks, and of other hosts, which are none of ours.
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid()
  AND datname = current_database() AND usename = session_user;
"""
# Those of this version that end a long transaction, whatever is set for the role or the database.
NO_LIMITS = """
SELECT set_config(name, '0', false) FROM pg_settings
WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout');
"""
DESCRIBE = """
SELECT json_build_object(
  'server', current_setting('server_version_num')::int / 10000, 'database', current_database(), 'user', session_user,
  'superuser', (SELECT rolname FROM pg_roles WHERE oid = 10),
  'size', pg_database_size(current_database()), 'encoding', current_setting('server_encoding'),
  'large_objects', (SELECT count(*) FROM pg_largeobject_metadata),
  'extensions', (SELECT coalesce(json_object_agg(extname, extversion), '{}') FROM pg_extension));
"""
# Where the application finds it by itself: in a schema of its role's name, in public, or in the only one that has it.
REVISION = r"""
SELECT format('SELECT version_num FROM ONLY %I.alembic_version', nspname) FROM (
  SELECT nspname, count(*) OVER () AS tables, pg_get_userbyid(datdba) AS owner
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_database
  WHERE relname = 'alembic_version' AND relkind = 'r' AND nspname !~ '^pg_' AND datname = current_database()) found
WHERE nspname IN (owner, 'public') OR tables = 1 ORDER BY nspname = owner DESC, nspname LIMIT 1 \gexec
"""


class DataError(Exception):
    """What was asked for cannot be done; the text is for the operator."""


# --- Asking the engine and the database ---


def environment(**more: str) -> dict[str, str]:
    path = [*os.environ.get("PATH", "").split(os.pathsep), *FOLDERS]
    return {**os.environ, "LC_ALL": "C.UTF-8", "PATH": os.pathsep.join(dict.fromkeys(filter(None, path))), **more}


def which(program: str) -> str:
    found = shutil.which(program, path=environment()["PATH"])
    if not found:
        raise DataError(f"The program {program} is not on this host; install its package.")
    return found


def run(arguments: Sequence[str], what: str, check: bool = True, **options: Any) -> str:
    """Run a command and return what it prints; raise DataError with the end of what it complains of, or return ""."""
    done = subprocess.run(
        [which(arguments[0]), *arguments[1:]],
        # What others write for this program, copies among it, is for root alone.
        check=False, stderr=subprocess.PIPE, umask=0o077,
        **{"env": environment(), "stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options},
    )  # fmt: skip
    if done.returncode and check:
        raise DataError(f"{what}: {last_words(done.stderr) or f'{arguments[0]} ended with {done.returncode}'}")
    return (done.stdout or b"").decode(errors="replace") if done.returncode == 0 else ""


def last_words(said: bytes) -> str:
    return " ".join(said.decode(errors="replace").split())[-500:]


def password(root: Path) -> str:
    """Return the database's password, which a deploy may be taking over from where the database is."""
    kept, new = root / "secrets" / "database_password", root / "secrets" / "database_password.new"
    return (new if new.is_file() else kept).read_text()


class Place:
    """Where the live database is: in the stack's container, or elsewhere, asked from a container with PostgreSQL's programs."""

    def __init__(self, settings: Mapping[str, Any], root: Path, image: str = "", login: tuple[str, str] | None = None) -> None:
        """With an ``image`` the live database is asked by the programs in that, as PostgreSQL advises for another version.

        They come in over TCP, with the name and the password of ``login``.
        """
        self.container = f"{settings['name']}-db-1"
        own = {
            "host": "127.0.0.1",
            "port": 5432,
            "sslmode": "disable",
            "name": settings.get("database"),
            "user": login[0] if login else settings.get("user"),
        }
        self.elsewhere = settings.get("elsewhere") or ({**own, "image": image} if image else {})
        self.network = ["--network", f"container:{self.container}"] if image else []
        # Hosts that share a database do not know of each other's runs.
        self.application = f"{APPLICATION}-{socket.gethostname()}" if settings.get("elsewhere") else APPLICATION
        # Those of a provider's database nobody but the provider may read.
        self.tells_passwords = bool(image) or not self.elsewhere
        self.secret = {"PGPASSWORD": login[1] if login else password(root)} if self.elsewhere else {}

    def program(self, program: str, *arguments: str, database: str = "") -> list[str]:
        """Return the command that runs a program of PostgreSQL as who may read all; the secret is in no command line."""
        if not self.elsewhere:
            return inside(self.container, program, *arguments, database=database)
        known = {"PGHOST": "host", "PGPORT": "port", "PGSSLMODE": "sslmode", "PGDATABASE": "name", "PGUSER": "user"}
        options = [f"{variable}={self.elsewhere[part]}" for variable, part in known.items()]
        options += [
            f"PGAPPNAME={self.application}",
            "PGCONNECT_TIMEOUT=10",
            "PGPASSWORD",
            *([f"PGDATABASE={database}"] if database else []),
        ]
        head = [
            "docker",
            "run",
            "--rm",
            "--interactive",
            *self.network,
            *(word for option in options for word in ("--env", option)),
        ]
        return [*head, self.elsewhere["image"], program, *arguments]


def inside(container: str, program: str, *arguments: str, database: str = "") -> list[str]:
    """Return the command that runs a program of PostgreSQL in a container, as the superuser."""
    more = ["--env", f"PGDATABASE={database}"] if database else []
    options = ["--env", f"PGAPPNAME={APPLICATION}", "--env", f"PGOPTIONS={PATIENT}"]
    head = ["docker", "exec", "--interactive", *options, *more, container]
    return [*head, "sh", "-c", AS_SUPERUSER, program, *arguments]


class Session:
    """A session of psql in a container: statements go in, rows come out, and it ends with whoever opened it."""

    PSQL = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
    END = "drydock-end-of-rows"

    def __init__(self, place: str | Place) -> None:
        command = (inside(place, "psql", *self.PSQL)) if isinstance(place, str) else place.program("psql", *self.PSQL)
        self.process = subprocess.Popen(
            [which(command[0]), *command[1:]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment(**getattr(place, "secret", {})),
        )  # fmt: skip

    def __enter__(self) -> Session:
        try:
            # What the server says at a login, such as that a collation has changed, is no row. And nothing of what the database's
            # owner has put there is called in place of PostgreSQL's own.
            self.rows("SET search_path = pg_catalog;")
        except DataError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def rows(self, sql: str) -> list[str]:
        """Return the rows that the statements give, one line each; raises DataError."""
        with contextlib.suppress(OSError):
            self.process.stdin.write(f"{sql}\n\\echo {self.END}\n")
            self.process.stdin.flush()
        said = []
        for line in self.process.stdout:
            if line.rstrip("\n") == self.END:
                return said
            said.append(line.rstrip("\n"))
        raise DataError(f"The database refuses or does not answer: {' '.join(' '.join(said).split())[-500:]}")

    def checksums(self) -> dict[str, str]:
        """Return a checksum of each table, and of all else that a dump holds beside tables: it is the same in each version.

        The session is of no other use afterwards.
        """
        self.rows(AS_TEXT)
        return dict(json.loads(row) for row in self.rows(CHECKSUMS))

    def contents(self) -> dict[str, Any]:
        """Return what there is in the database, as a manifest has it: rows of each table, large objects, extensions, revision."""
        counted = dict(json.loads(row) for row in self.rows(COUNT))
        return {**json.loads(self.rows(DESCRIBE)[0]), "revision": " ".join(sorted(self.rows(REVISION))), "rows": counted}


# --- Files ---


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put a file in its place as a whole, so that a crash leaves the old one or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, FRESH, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Return what a file says, {} where it is missing or broken."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def stamp_of(name: str) -> datetime.datetime:
    return datetime.datetime.strptime(name[:16], STAMP).replace(tzinfo=UTC)


def now() -> datetime.datetime:
    return datetime.datetime.now(UTC)


def companions(dump: Path) -> tuple[Path, Path]:
    """Return the files of a backup beside its dump: what the cluster knows, and the manifest."""
    stem = dump.name.removesuffix(".dump")
    return dump.with_name(f"{stem}.globals.sql"), dump.with_name(f"{stem}.json")


def dumps(folder: Path) -> list[Path]:
    """Return the dumps in a folder, the newest first."""
    found = [file for file in folder.iterdir() if BACKUP.fullmatch(file.name)] if folder.is_dir() else []
    return sorted(found, reverse=True)


@contextlib.contextmanager
def alone(root: Path, what: str, wait: float = WAIT) -> Iterator[None]:
    """Keep other backups, drills, restores and migrations of the stack from running meanwhile.

    Waits for another one for so many seconds, and then raises DataError. It ends with the process at the latest.
    """
    folder = root / "backups"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    end = time.monotonic() + wait
    with (folder / ".lock").open("a+") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= end:
                    held.seek(0)
                    raise DataError(
                        f"{held.read().strip() or 'Another backup'} is at work in {folder}, and has not ended after {wait:g} s; "
                        "wait for it and run the same again."
                    ) from None
            time.sleep(0.5)
        held.seek(0)
        held.truncate()
        held.write(f"{what} (process {os.getpid()}, since {now():%Y-%m-%d %H:%M:%S} UTC)\n")
        held.flush()
        yield


def change_state(root: Path, **changes: Any) -> None:
    """Note what a run came to; who calls it is alone."""
    file = root / "backups" / STATE
    write_durably(file, json.dumps({**read_json(file), **changes}, indent=2).encode() + b"\n")


# --- Making a backup ---


def make(
    settings: Mapping[str, Any], root: Path, before: str = "", image: str = "", login: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Dump the database and return the manifest, with C(name); ``before`` is the release whose migration it goes before.

    With an ``image`` of another version it is dumped by the programs in that, which alone can restore it, and has checksums.
    They log in as the superuser, with the name and the password of ``login``.

    Who calls it is alone. Raises DataError, and then leaves nothing behind that has the name of a backup.
    """
    began = time.monotonic()
    folder, place = root / "backups", Place(settings, root, image, login)
    dump = unused(folder, f"-before-{before}" if before else "")
    tidy(folder)
    try:
        with Session(place) as session:
            session.rows(END_OTHERS)
            # Read only, and the same for the dump and what is counted.
            session.rows(NO_LIMITS)
            session.rows("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;")
            snapshot = session.rows("SELECT pg_export_snapshot();")[0]
            session.rows(HOLD)
            partial, checksum = written(
                dump,
                place.program("pg_dump", "--format=custom", "--compress=6", f"--snapshot={snapshot}"),
                "pg_dump",
                place.secret,
                spare=spare(root),
                meanwhile=lambda: {**session.contents(), **({"checksums": session.checksums()} if image else {})},
            )
            contents = checksum.pop("meanwhile")
        with partial.open("rb") as file:
            listed = place.program("pg_restore", "--list")
            run(listed, "pg_restore cannot read the dump", stdin=file, stdout=subprocess.DEVNULL, env=environment(**place.secret))
        globals_file, manifest_file = companions(dump)
        # Elsewhere nobody but its provider may read the hashes of the passwords.
        options = ["--globals-only", *([] if place.tells_passwords else ["--no-role-passwords"])]
        command = place.program("pg_dumpall", *options, database="postgres" if place.tells_passwords else "")
        roles, _ = written(globals_file, command, "pg_dumpall", place.secret)
        manifest = {
            "stack": settings["name"], "made": dump.name[:16], "before": before, **checksum,
            "globals_sha256": sha256(roles), "seconds": round(time.monotonic() - began, 1), **contents,
            "user": settings.get("user") or contents["user"],
            **({"programs": major(image)} if image else {}),
        }  # fmt: skip
        roles.replace(globals_file)
        write_durably(manifest_file, json.dumps(manifest, indent=2).encode() + b"\n")
        partial.replace(dump)
        sync_folder(folder)
        status = dump.stat()
        known = read_json(folder / STATE).get("checks", {})
        change_state(root, checks={**known, dump.name: {"state": "sound", "seen": [status.st_size, status.st_mtime_ns]}})
    except OSError as error:
        raise DataError(f"The backup cannot be written to {folder}: {error.strerror or error}.") from error
    finally:
        tidy(folder)
    return {"name": dump.name, **manifest}


def tidy(folder: Path) -> None:
    """Remove what a run that was cut off left behind: files without a name, and companions without their dump."""
    for file in folder.iterdir():
        companion = re.fullmatch(r"(.*)\.(globals\.sql|json)", file.name)
        alone = companion and BACKUP.fullmatch(f"{companion[1]}.dump") and not (folder / f"{companion[1]}.dump").exists()
        if alone or (file.name.startswith(".") and file.name.endswith(".partial")):
            file.unlink()


def unused(folder: Path, label: str) -> Path:
    """Return the name for a dump of now; two of them in one second are told apart by waiting."""
    while (dump := folder / f"{now():{STAMP}}{label}.dump").exists():
        time.sleep(0.2)
    return dump


def written(
    path: Path, command: Sequence[str], what: str, secret: Mapping[str, str], meanwhile: Any = None, spare: int = 0
) -> tuple[Path, dict[str, Any]]:
    """Have a command write a file that has no name yet; return it, on the disk, and its size and checksum.

    ``meanwhile`` is called while the command runs, and ``spare`` are the bytes that stay free. Raises DataError where the command
    fails or they do not, OSError where the disk fails.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    digest, told = hashlib.sha256(), {"bytes": 0}
    with contextlib.ExitStack() as stack:
        complaint = stack.enter_context(tempfile.TemporaryFile())
        file = stack.enter_context(os.fdopen(os.open(partial, FRESH, 0o600), "wb"))
        process = subprocess.Popen(
            [which(command[0]), *command[1:]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaint, env=environment(**secret),
        )  # fmt: skip
        stack.callback(process.stdout.close)
        stack.callback(process.wait)
        stack.callback(process.kill)
        # The first bytes come once pg_dump has the snapshot.
        block = process.stdout.read(BLOCK)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        found = pool.submit(meanwhile) if meanwhile and block else None
        while block:
            stays_free(path.parent, len(block), spare)
            file.write(block)
            digest.update(block)
            told["bytes"] += len(block)
            block = process.stdout.read(BLOCK)
        file.flush()
        os.fsync(file.fileno())
        if process.wait():
            complaint.seek(0)
            raise DataError(f"{what}: {last_words(complaint.read()) or f'it ended with {process.returncode}'}")
        told["meanwhile"] = found.result() if found else None
    return partial, {**told, "sha256": digest.hexdigest()}


def spare(root: Path) -> int:
    """Return the bytes that a backup leaves free: a database that finds no room for its log on the same disk ends."""
    return SPARE if engine_folder(root).stat().st_dev == (root / "backups").stat().st_dev else 0


def stays_free(folder: Path, size: int, spare: int) -> None:
    """Raise DataError where so many bytes more in a folder leave less than ``spare`` of its disk."""
    free = shutil.disk_usage(folder).free
    if spare and free - size < spare:
        raise DataError(
            f"The disk of {folder} has {free / GIGABYTE:.1f} GB free, and {spare / GIGABYTE:.1f} GB of it are left to the "
            "database, which is on the same; make room: `docker system df` says what the engine holds."
        )


# --- Keeping backups ---


def staying(names: Iterable[str], keep: Mapping[str, int], when: datetime.datetime) -> set[str]:
    """Return which of the dumps stay: the newest C(last), the newest of so many days, weeks and months, all of C(within) days.

    The newest one stays in any case.
    """
    ordered = sorted(names, reverse=True)
    stay = set(ordered[: max(int(keep.get("last", 0)), 1)])
    for part, period in PERIODS.items():
        newest: dict[str, str] = {}
        for name in ordered:
            newest.setdefault(stamp_of(name).strftime(period), name)
        stay.update(list(newest.values())[: int(keep.get(part, 0))])
    youngest = when - datetime.timedelta(days=int(keep.get("within", 0)))
    return stay | {name for name in ordered if stamp_of(name) > youngest}


def judge(dump: Path, known: Mapping[str, Any], thorough: bool = False) -> dict[str, Any]:
    """Return what is known of a dump: C(state) is sound, changed or unknown; C(seen) says of which file that was found.

    A file that has neither another size nor another time than the one that was read before is read again only if ``thorough``.
    """
    manifest = read_json(companions(dump)[1])
    try:
        status = dump.stat()
    except FileNotFoundError:
        return {"state": "missing", "seen": []}
    seen = [status.st_size, status.st_mtime_ns]
    before = known.get(dump.name, {})
    if not manifest.get("sha256"):
        return {"state": "unknown", "seen": seen}
    if before.get("seen") == seen and before.get("state") in ("sound", "changed") and not thorough:
        return dict(before)
    with contextlib.suppress(DataError):
        sound(dump)
        return {"state": "sound", "seen": seen}
    return {"state": "changed", "seen": seen}


def prune(settings: Mapping[str, Any], root: Path, states: Mapping[str, Any]) -> list[str]:
    """Remove the dumps that need not stay and return their names; one that is not sound is neither counted nor removed.

    Where ``settings`` have no ``keep``, only those that were made before migrations go.
    """
    found = {dump.name: dump for dump in dumps(root / "backups") if states.get(dump.name, {}).get("state") == "sound"}
    before = sorted((name for name in found if BACKUP.fullmatch(name)["before"]), reverse=True)
    others = [name for name in found if name not in before]
    stay = (staying(others, settings["keep"], now()) if settings.get("keep") else set(others)) | set(
        before[: int(settings["keep_before"])]
    )
    gone = [name for name in found if name not in stay]
    for name in gone:
        for file in (found[name], *companions(found[name])):
            file.unlink(missing_ok=True)
    return gone


def listing(settings: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return the backups, the newest first, and what their last runs came to, as the status shows it."""
    folder = root / "backups"
    state, when = read_json(folder / STATE), now()
    checks, proof = state.get("checks", {}), state.get("proof", {})
    found = []
    for dump in dumps(folder):
        manifest = read_json(companions(dump)[1])
        # A backup that runs meanwhile may have removed it.
        with contextlib.suppress(FileNotFoundError):
            found.append(
                {
                    "name": dump.name,
                    "made": f"{stamp_of(dump.name):{TIME}}",
                    "age_hours": round((when - stamp_of(dump.name)).total_seconds() / 3600, 1),
                    "mb": round(dump.stat().st_size / 10**6, 1),
                    "seconds": manifest.get("seconds", 0),
                    "revision": manifest.get("revision", ""),
                    "checksum": judge(dump, checks)["state"],
                    "copied": dump.name in state.get("copies", []),
                    "proven": proof.get("at", "") if proof.get("ok") and proof.get("name") == dump.name else "",
                }
            )
    return {"backups": found, "last": state.get("last", {}), "proof": proof, "problems": problems(settings, state, found, when)}


def problems(
    settings: Mapping[str, Any], state: Mapping[str, Any], found: Sequence[Mapping[str, Any]], when: datetime.datetime
) -> list[str]:
    """Return what an operator has to look into, one line each."""
    told = []
    last, proof = state.get("last", {}), state.get("proof", {})
    if last and not last["ok"]:
        told.append(f"The last backup failed at {last['at']}: {last['message']}")
    limit = float(settings.get("max_age", 0))
    sound = [dump for dump in found if dump["checksum"] == "sound"]
    if settings.get("schedule") and limit:
        if not sound:
            told.append("There is no sound backup yet.")
        elif sound[0]["age_hours"] > limit:
            age = sound[0]["age_hours"]
            told.append(f"The newest sound backup is {age} hours old, and {limit:g} are allowed: it is overdue.")
    told += [f"{dump['name']} is not what was written: its checksum differs." for dump in found if dump["checksum"] == "changed"]
    told += [
        f"{dump['name']} has no manifest, so that nobody knows what it was." for dump in found if dump["checksum"] == "unknown"
    ]
    if proof and not proof["ok"]:
        told.append(f"The last drill failed at {proof['at']}: {proof['message']}")
    return told


def proven_days(state: Mapping[str, Any], when: datetime.datetime) -> float | None:
    """Return how many days ago a backup was last restored with success, None for never."""
    at = state.get("proven", "")
    if not at:
        return None
    return (when - datetime.datetime.strptime(at, TIME).replace(tzinfo=UTC)).total_seconds() / DAY


# --- Copies off the host ---


def rclone(root: Path, *arguments: str, what: str, check: bool = True) -> str:
    configuration = root / "secrets" / "rclone.conf"
    return run(
        [
            "rclone", "--config", str(configuration if configuration.exists() else "/dev/null"), "--contimeout=15s",
            "--timeout=60s", "--retries=2", "--low-level-retries=3", *arguments,
        ],
        what, check,
    )  # fmt: skip


def place(settings: Mapping[str, Any], name: str) -> str:
    target = settings["copy_to"]
    return f"{target}{name}" if target.endswith((":", "/")) else f"{target}/{name}"


def owner(settings: Mapping[str, Any]) -> str:
    """Return the name of the file that says whose the copies beside it are: of a stack, on the host of that name.

    It is "" with settings of an earlier version, which do not say the host; the next deploy has them do so.
    """
    if "host" not in settings:
        return ""
    host = re.sub(r"[^\w.-]", "_", settings["host"])
    if host != settings["host"]:
        # Another host's name may become the same.
        host += "-" + hashlib.sha256(settings["host"].encode()).hexdigest()[:8]
    return f"{settings['name']}@{host}{OWNER}"


def copied_names(settings: Mapping[str, Any], root: Path) -> list[str]:
    """Return the files at the destination; raises DataError, also where they are another's, or the last one is not there.

    Copies are told apart by their time alone: of two that share a destination, each would remove the other's.
    """
    target = settings["copy_to"]
    if target.startswith("/") and not Path(target).is_dir():
        raise DataError(f"fastapi_backup_copy_to is {target}, and there is no such folder on the host; make it, or mount it.")
    if target.startswith("/") and Path(target).resolve().is_relative_to((root / "backups").resolve()):
        raise DataError(f"fastapi_backup_copy_to is {target}, which is where the backups are; give another folder.")
    what = f"fastapi_backup_copy_to is {target}, and it cannot be read"
    names = rclone(root, "lsf", "--files-only", target, what=what).splitlines()
    others = [name for name in names if name.endswith(OWNER) and name != owner(settings)]
    if others:
        raise DataError(
            f"fastapi_backup_copy_to is {target}, and the copies there are those of {others[0].removesuffix(OWNER)}; give each "
            "stack on each host a place of its own. Where that one is no more, and this one takes its place: "
            f"remove {place(settings, others[0])}"
        )
    record = root / "backups" / COPIED
    # The destination may have spaces in it, and no name of a copy has.
    destination, _, last = (record.read_text().strip() if record.exists() else "").rpartition(" ")
    # A folder whose mount is gone, or another bucket under the same name, looks like an empty one.
    if destination == target and last not in names:
        raise DataError(
            f"fastapi_backup_copy_to is {target}, and {last}, which was copied there, is gone: is it mounted? "
            f"Where all is as it should be: rm {record}"
        )
    return names


def copy_out(settings: Mapping[str, Any], root: Path) -> list[str]:
    """Copy what the destination lacks, and remove there what need not stay; return the dumps that are there now."""
    folder, suffix = root / "backups", ".age" if settings["encrypt_to"] else ""
    names = copied_names(settings, root)
    # The manifest is copied last: a dump without one was not copied as a whole.
    there = {
        dump for name in names for dump in [re.sub(r"\.json(\.age)?$", ".dump", name)] if name != dump and BACKUP.fullmatch(dump)
    }
    here = {dump.name: dump for dump in dumps(folder) if not BACKUP.fullmatch(dump.name)["before"]}
    checks = read_json(folder / STATE).get("checks", {})
    sound = {name for name in here if checks.get(name, {}).get("state") == "sound"}
    stay = staying(there | sound, settings["keep"], now())
    if stay and owner(settings) and owner(settings) not in names:
        mark = folder / f".{owner(settings)}.partial"
        write_durably(mark, b"Whose copies these are.\n")
        what = f"fastapi_backup_copy_to is {settings['copy_to']}, and it cannot be written to"
        rclone(root, "copyto", str(mark), place(settings, owner(settings)), what=what)
        mark.unlink()
    for name in sorted((stay & sound) - there):
        globals_file, manifest = companions(here[name])
        for file in (globals_file, here[name], manifest):
            send(settings, root, file, suffix)
        write_durably(folder / COPIED, f"{settings['copy_to']} {manifest.name}{suffix}\n".encode())
        there.add(name)
    for name in sorted(there - stay):
        for file in (companions(folder / name)[1], folder / name, companions(folder / name)[0]):
            for found in {file.name, f"{file.name}.age"} & set(names):
                rclone(root, "deletefile", place(settings, found), what=f"{place(settings, found)} cannot be removed")
    return sorted(there & stay, reverse=True)


def send(settings: Mapping[str, Any], root: Path, file: Path, suffix: str) -> None:
    source = file
    if suffix:
        stays_free(file.parent, file.stat().st_size, spare(root))
        source = file.with_name(f".{file.name}.age.partial")
        converted(["age", "--recipient", settings["encrypt_to"]], "The copy cannot be encrypted", file, source)
    try:
        target = place(settings, f"{file.name}{suffix}")
        rclone(root, "copyto", str(source), target, what=f"{file.name} cannot be copied to {settings['copy_to']}")
    finally:
        if suffix:
            source.unlink(missing_ok=True)


def converted(command: Sequence[str], what: str, source: Path, target: Path) -> None:
    """Have a command make a file of another, readable for root alone."""
    target.unlink(missing_ok=True)
    with source.open("rb") as file, os.fdopen(os.open(target, FRESH, 0o600), "wb") as output:
        run(command, what, stdin=file, stdout=output)


def fetch(settings: Mapping[str, Any], root: Path, wanted: str = "", identity: str = "") -> Path:
    """Bring a dump, the newest by default, from the destination of the copies into the host's backups, and return it.

    ``identity`` is a file with the key that encrypted copies are read with. Raises DataError, and then leaves nothing behind.
    """
    folder = root / "backups"
    rows = rclone(root, "lsf", "--files-only", settings["copy_to"], what=f"{settings['copy_to']} cannot be read").splitlines()
    manifests = {f"{name.partition('.json')[0]}.dump": name for name in rows if re.search(r"\.json(\.age)?$", name)}
    manifests = {dump: name for dump, name in manifests.items() if BACKUP.fullmatch(dump)}
    name = wanted or max(manifests, default="")
    if name not in manifests:
        there = ", ".join(sorted(manifests, reverse=True)[:5]) or "none"
        raise DataError(f"There is no copy {name or 'of a backup'} at {settings['copy_to']}; there are: {there}.")
    dump, suffix = folder / name, ".age" if manifests[name].endswith(".age") else ""
    if suffix and not identity:
        raise DataError(f"{manifests[name]} is encrypted; give the file with its key as fastapi_restore_identity.")
    parts = {file: folder / f".{file.name}.partial" for file in (*companions(dump), dump)}
    try:
        for file, partial in parts.items():
            source = folder / f".{file.name}{suffix}.fetched.partial"
            rclone(root, "copyto", place(settings, f"{file.name}{suffix}"), str(source), what=f"{file.name} cannot be fetched")
            if suffix:
                what = f"{file.name}{suffix} cannot be decrypted with the key of fastapi_restore_identity"
                converted(["age", "--decrypt", "--identity", identity], what, source, partial)
                source.unlink()
            else:
                source.replace(partial)
                partial.chmod(0o600)
        manifest = read_json(parts[companions(dump)[1]])
        if sha256(parts[dump]) != manifest.get("sha256"):
            raise DataError(f"The copy {name} at {settings['copy_to']} is not what was written: its checksum differs.")
        if sha256(parts[companions(dump)[0]]) != manifest.get("globals_sha256"):
            raise DataError(f"The roles of {name} at {settings['copy_to']} are not what was written: their checksum differs.")
        for file, partial in parts.items():
            with partial.open("rb") as written_file:
                os.fsync(written_file.fileno())
            partial.replace(file)
        sync_folder(folder)
    except OSError as error:
        raise DataError(f"The copy cannot be written to {folder}: {error.strerror or error}.") from error
    finally:
        tidy(folder)
    return dump


# --- Restoring ---


def sound(dump: Path) -> dict[str, Any]:
    """Return the manifest of a dump that is what was written; raises DataError. A dump without one has {}."""
    globals_file, manifest_file = companions(dump)
    manifest = read_json(manifest_file)
    if not dump.is_file():
        raise DataError(f"There is no dump {dump}.")
    if not manifest_file.exists():
        return {}
    if not manifest:
        raise DataError(
            f"{manifest_file.name} cannot be read; use another backup, or remove it and restore without a comparison."
        )
    if dump.stat().st_size != manifest.get("bytes") or sha256(dump) != manifest.get("sha256"):
        raise DataError(f"{dump.name} is not what was written: its checksum differs; use another backup.")
    if globals_file.exists() and sha256(globals_file) != manifest.get("globals_sha256"):
        raise DataError(f"{globals_file.name} is not what was written: its checksum differs; use another backup.")
    return manifest


def engine_folder(root: Path) -> Path:
    """Return where the engine keeps its volumes, the stack's folder where that is not of this host."""
    folder = Path(run(["docker", "info", "--format", "{{ .DockerRootDir }}"], "The engine cannot be asked").strip())
    return folder if folder.is_dir() else root


def free_space(root: Path) -> int:
    """Return the free bytes where the engine keeps its volumes."""
    return shutil.disk_usage(engine_folder(root)).free


def room_for(manifest: Mapping[str, Any], dump: Path, root: Path) -> None:
    """Raise DataError where the engine's disk has no room for the restored data and the WAL that making it takes."""
    size = int(manifest.get("size") or dump.stat().st_size * 5)
    needed, free = size * 1.2 + 0.5 * GIGABYTE, free_space(root)
    if free < needed:
        raise DataError(
            f"{needed / GIGABYTE:.1f} GB are needed to restore {dump.name}, and the engine's disk has {free / GIGABYTE:.1f} GB "
            "free; make room: `docker system df` says what the engine holds."
        )


def initdb_arguments(version: int) -> str:
    """Return what makes a new database of a major version, as POSTGRES_INITDB_ARGS."""
    if version >= 17:
        return f"{INITDB} --locale-provider=builtin --builtin-locale=C.UTF-8"
    return f"{INITDB} --locale-provider=libc" if version >= 15 else INITDB


def made_for(settings: Mapping[str, Any], manifest: Mapping[str, Any]) -> int:
    """Return the major version whose arguments suit a dump: one from before 15 names no locale provider, and means libc."""
    return min(major(settings["image"]), int(manifest.get("programs", manifest.get("server", 0))))


def made_with(manifest: Mapping[str, Any]) -> str:
    """Return the superuser of the cluster that a dump is restored into: the owner where it was that, as in all of before."""
    owner = manifest.get("user", "")
    return owner if owner and manifest.get("superuser", owner) == owner else SUPERUSER


def database_starts(
    settings: Mapping[str, Any], root: Path, container: str, volume: str, manifest: Mapping[str, Any], durable: bool,
    more: Sequence[str] = (), server: Sequence[str] = (), timeout: float = START_TIMEOUT,
) -> None:  # fmt: skip
    """Start a database container that nobody reaches, on a volume of its own, and wait until it answers; raises DataError.

    A new volume is made for the dump of the ``manifest``. ``more`` are options of the container, ``server`` settings of its
    server.
    """
    arguments = initdb_arguments(made_for(settings, manifest))
    options = [
        "--detach", "--name", container, "--label", f"drydock.scratch={settings['name']}", "--network", "none",
        "--user", "999:999", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--init",
        "--pids-limit", "512", "--shm-size", "256m", "--tmpfs", "/tmp",  # noqa: S108
        "--tmpfs", "/run/postgresql:uid=999,gid=999,mode=3775", "--log-driver", "local", "--stop-timeout", "90",
        "--env", f"POSTGRES_DB={settings['database']}", "--env", f"POSTGRES_USER={made_with(manifest)}",
        "--env", "POSTGRES_PASSWORD_FILE=/run/secrets/database_password", "--env", f"POSTGRES_INITDB_ARGS={arguments}",
        "--mount", f"type=bind,source={root}/secrets/database_password,target=/run/secrets/database_password,readonly",
        "--mount", f"type=volume,source={volume},target={settings['mount']}", *more,
    ]  # fmt: skip
    command = ["postgres", "-c", "synchronous_commit=off", "-c", "max_wal_size=4GB", "-c", "autovacuum=off", *server]
    # There are extensions that cannot be made without.
    command += ["-c", f"shared_preload_libraries={settings['preload']}"] if settings.get("preload") else []
    command += [] if durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
    run(["docker", "run", *options, settings["image"], *command], "The database to restore into does not start")
    end = time.monotonic() + timeout
    # Over TCP: the socket answers while the database is still being made.
    while not run(inside(container, "pg_isready", "--host=127.0.0.1"), "", check=False):
        running = run(["docker", "inspect", "--format", "{{ .State.Running }}", container], "", check=False).strip()
        if running != "true" or time.monotonic() > end:
            said = subprocess.run(
                [which("docker"), "logs", "--tail", "5", container],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, env=environment(),
            )  # fmt: skip
            raise DataError(f"The database to restore into does not answer; its log ends with: {last_words(said.stdout)}")
        time.sleep(0.5)


def owned(container: str, owner: str) -> bool:
    """See that the application's role owns its database, and has no other rights; tell whether it did not. Raises DataError.

    Where that role is the superuser, as in clusters of before, it stays so. Which one the superuser is, is written down.
    """
    settle = ["docker", "exec", container, "sh", "-c", SETTLE, "sh", owner]
    told = run(settle, "Nobody knows who the database's superuser is")
    psql = inside(container, "psql", *Session.PSQL, f"--set=owner={owner}", database="postgres")
    told += run(psql, f"The role {owner} cannot be given its database", input=OWN.encode(), stdin=None)
    return bool(told.strip())


def written_as(role: str) -> list[str]:
    """Return how pg_dumpall may write a role's name: one that is a word of SQL's is in quotes, whatever its letters."""
    plain = [role] if re.fullmatch(r"[a-z_][a-z0-9_]*", role) else []
    return [*plain, '"{}"'.format(role.replace('"', '""'))]


def restorable(known: str, superuser: str, owner: str) -> str:
    """Return what the cluster knew for a new one, which has its superuser already, and the owner's password from this host.

    An owner that was the superuser of before, and is not that of now, has what a new one has; and who granted what is left out.
    """
    names = written_as(owner)
    was_superuser = any(f"\nALTER ROLE {name} WITH SUPERUSER " in f"\n{known}" for name in names)
    left_out = tuple(start for name in written_as(superuser) for start in (f"CREATE ROLE {name};", f"ALTER ROLE {name} WITH "))
    owners = tuple(f"ALTER ROLE {name} WITH " for name in names)
    grantors = re.compile(f" GRANTED BY ({'|'.join(map(re.escape, names))});")
    lines = [line for line in known.splitlines(keepends=True) if not line.startswith(left_out)]
    lines = [re.sub(r" PASSWORD '[^']*'", "", line) if line.startswith(owners) else line for line in lines]
    if was_superuser and superuser != owner:
        # It has to be there for what else is said of it, such as its settings and memberships.
        lines = [next((f"{start}LOGIN;\n" for start in owners if line.startswith(start)), line) for line in lines]
        lines = [grantors.sub(";", line) for line in lines]
    return "".join(lines)


def restore_into(settings: Mapping[str, Any], container: str, dump: Path, manifest: Mapping[str, Any]) -> None:
    """Restore a dump, and the roles beside it, into the new database of a container; raises DataError."""
    globals_file, _ = companions(dump)
    if globals_file.exists():
        known = restorable(globals_file.read_text(), made_with(manifest), settings["user"]).encode()
        psql = inside(container, "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", database="postgres")
        run(psql, f"{globals_file.name} cannot be restored", input=known, stdin=None, stdout=subprocess.DEVNULL)
    owned(container, settings["user"])
    if not manifest:
        of_this_database(settings, container, dump)
    # None can be made anew by who is connected to it.
    beside = "template1" if settings["database"] == "postgres" else "postgres"
    with dump.open("rb") as file:
        run(
            inside(container, "pg_restore", "--clean", "--if-exists", "--create", "--exit-on-error", f"--dbname={beside}"),
            f"{dump.name} cannot be restored", stdin=file,
        )  # fmt: skip
    # The database is another one now.
    owned(container, settings["user"])


def of_this_database(settings: Mapping[str, Any], container: str, dump: Path) -> None:
    """Raise DataError where a dump without a manifest is of another database, beside which it would be restored."""
    with dump.open("rb") as file:
        listed = run(inside(container, "pg_restore", "--list"), f"pg_restore cannot read {dump.name}", stdin=file)
    name = re.search(r"^; +dbname: (.*)$", listed, re.MULTILINE)
    if name and name[1] != settings["database"]:
        raise DataError(f"fastapi_database_name is {settings['database']} and {dump.name} was made of {name[1]}; use that one.")


def differences(container: str, manifest: Mapping[str, Any]) -> list[str]:
    """Return how the database of a container differs from what the manifest says was dumped, one line each."""
    with Session(container) as session:
        found = session.contents()
        if "checksums" in manifest:
            found["checksums"] = session.checksums()
    told = []
    for table in sorted({*manifest.get("rows", {}), *(found["rows"] if manifest else ())}):
        was, is_now = manifest["rows"].get(table), found["rows"].get(table)
        if was != is_now:
            told.append(f"{table} had {'no' if was is None else was} rows, and has {'none' if is_now is None else is_now}")
    # An earlier version looked for the revision along the search path alone, and said nothing of the superuser.
    found_alike = ["revision"] if "superuser" in manifest else []
    for part in ("database", *found_alike, "large_objects", "encoding"):
        if part in manifest and manifest[part] != found[part]:
            told.append(f"{part} was {manifest[part]}, and is {found[part]}")
    sums = manifest.get("checksums", {})
    for what in sorted({*sums, *found.get("checksums", {})}):
        was, is_now = sums.get(what, "missing"), found["checksums"].get(what, "missing")
        if was != is_now:
            told.append(f"{what}: it was {was}, and is {is_now}")
    missing = sorted(set(manifest.get("extensions", {})) - set(found["extensions"]))
    return [*told, *(f"the extension {extension} is missing" for extension in missing)]


def major(image: str) -> int:
    """Return the major version that the tag of an image says, 0 where it says none."""
    tag = re.search(r":([0-9]+)", image.rpartition("/")[2])
    return int(tag[1]) if tag else 0


def belongs(settings: Mapping[str, Any], manifest: Mapping[str, Any], dump: Path) -> None:
    """Raise DataError where a dump is of another database, of another owner's or of a newer major version."""
    for part, variable in (("database", "fastapi_database_name"), ("user", "fastapi_database_user")):
        if manifest and manifest[part] != settings[part]:
            raise DataError(f"{variable} is {settings[part]} and {dump.name} was made of {manifest[part]}; use that one.")
    version, needed = major(settings["image"]), manifest.get("programs", manifest.get("server", 0))
    if version and needed > version:
        raise DataError(
            f"fastapi_postgres_image is {settings['image']} and {dump.name} is of PostgreSQL {needed}; "
            "use an image of that version."
        )


def removed(container: str, volume: str = "") -> None:
    """See that a container and a volume are gone."""
    run(["docker", "rm", "--force", "--volumes", container], "", check=False)
    if volume:
        run(["docker", "volume", "rm", "--force", volume], f"The volume {volume} cannot be removed")


def amcheck(container: str) -> str:
    """Check tables and indexes with pg_amcheck where the image has it; return what it found; raises DataError."""
    if not run(["docker", "exec", container, "sh", "-c", "command -v pg_amcheck"], "", check=False):
        return "not in the image"
    run(inside(container, "pg_amcheck", "--install-missing", "--parent-check", "--heapallindexed"), "pg_amcheck found damage")
    return "no damage"


def drill(settings: Mapping[str, Any], root: Path, wait: float = WAIT) -> dict[str, Any]:
    """Restore the newest backup beside the live database, check it, remove it; note and return what it came to.

    Raises DataError where the backup is not proven.
    """
    with alone(root, "A drill", wait):
        began, found = time.monotonic(), dumps(root / "backups")
        container, volume = f"{settings['name']}-drill", f"{settings['name']}_drill"
        name = found[0].name if found else ""
        told: dict[str, Any] = {"name": name, "at": f"{now():{TIME}}", "ok": False, "message": ""}
        try:
            if not found:
                raise DataError("There is no backup to restore; make one.")
            manifest = sound(found[0])
            room_for(manifest, found[0], root)
            removed(container, volume)
            run(["docker", "volume", "create", "--label", f"drydock.scratch={settings['name']}", volume], "No volume can be made")
            database_starts(settings, root, container, volume, manifest, durable=False)
            restore_into(settings, container, found[0], manifest)
            told["seconds_restore"] = round(time.monotonic() - began, 1)
            if told_apart := differences(container, manifest):
                raise DataError(f"{name} was restored, and differs from what was dumped: {'; '.join(told_apart[:5])}")
            told["rows"] = sum(manifest.get("rows", {}).values())
            told["amcheck"] = amcheck(container)
            if settings["drill_query"]:
                query = inside(container, "psql", *Session.PSQL)
                told["query"] = run(
                    query, "fastapi_drill_query failed on the restored data", input=settings["drill_query"].encode(), stdin=None
                ).strip()[-500:]
                if told["query"].splitlines()[-1:] in (["f"], ["0"], []):
                    raise DataError(f"fastapi_drill_query gave {told['query'] or 'nothing'!s} on the restored data of {name}.")
            told["ok"] = True
        except (DataError, OSError) as error:
            told["message"] = str(error)
            raise
        finally:
            with contextlib.suppress(DataError):
                removed(container, volume)
            told["seconds"] = round(time.monotonic() - began, 1)
            change_state(root, proof=told, **({"proven": told["at"]} if told["ok"] else {}))
        return told


# --- The program ---


def backup(settings: Mapping[str, Any], root: Path, wait: float = WAIT) -> dict[str, Any]:
    """Make a backup, read all of them again, remove what need not stay and copy what has to be copied; return the manifest.

    What it came to is noted. Raises DataError where any of it fails; a backup that was made stays.
    """
    with alone(root, "A backup", wait):
        folder, at = root / "backups", f"{now():{TIME}}"
        try:
            manifest = make(settings, root)
            checks = {dump.name: judge(dump, {}, thorough=True) for dump in dumps(folder)}
            gone = prune(settings, root, checks)
            change_state(root, checks={name: found for name, found in checks.items() if name not in gone})
            if settings["copy_to"]:
                change_state(root, copies=copy_out(settings, root))
            changed = [name for name, found in checks.items() if found["state"] == "changed"]
            if changed:
                raise DataError(f"{manifest['name']} was made, and of those before {', '.join(changed)} is not what was written.")
        except Exception as error:  # Whatever it is, the status says so.
            with contextlib.suppress(OSError):
                change_state(root, last={"at": at, "ok": False, "message": str(error)})
            raise
        change_state(root, last={"at": at, "ok": True, "message": "", "name": manifest["name"], "seconds": manifest["seconds"]})
        return {**manifest, "removed": gone}


def alert(settings: Mapping[str, Any], message: str) -> None:
    """Call the operator's command, with the message as its input and in DRYDOCK_MESSAGE."""
    if settings.get("alert"):
        try:
            subprocess.run(
                settings["alert"], input=f"{message}\n".encode(), check=True, timeout=60,
                env=environment(DRYDOCK_STACK=settings["name"], DRYDOCK_MESSAGE=message),
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            sys.stderr.write(f"{settings['name']}: fastapi_alert_command told nobody: {error}\n")


def main(arguments: Sequence[str]) -> int:
    root = Path(__file__).resolve().parents[1]
    settings = read_json(root / SETTINGS)
    command = arguments[0] if len(arguments) == 1 else ""
    if command not in ("backup", "drill", "list", "alert") or not settings:
        sys.stderr.write(f"usage: {sys.argv[0]} backup | drill | list    (with {root / SETTINGS}, which a deploy writes)\n")
        return 2
    if command == "alert":
        # After a unit that did not get to say so itself.
        if os.environ.get("SERVICE_RESULT", "success") not in ("success", "exit-code"):
            alert(settings, f"{settings['name']}: a backup or a drill was ended by force ({os.environ['SERVICE_RESULT']}).")
        return 0
    if command == "list":
        sys.stdout.write(json.dumps(listing(settings, root), indent=2) + "\n")
        return 0
    code = ran(command, settings, root)
    if command == "backup" and settings.get("pitr"):
        # It is made whatever became of the dump.
        beside = Path(__file__).resolve().with_name("archive")
        code = subprocess.run([sys.executable, "-I", str(beside), "backup"], check=False).returncode or code
    return code


def ran(command: str, settings: Mapping[str, Any], root: Path) -> int:
    """Make a backup or a drill, say what it came to, and return the code to end with."""
    try:
        told = (backup if command == "backup" else drill)(settings, root)
    except Exception as error:  # Whatever it is, an operator is told.
        why = str(error) if isinstance(error, (DataError, OSError)) else f"{type(error).__name__}: {error}"
        sys.stderr.write(f"{settings['name']}: the {command} failed: {why}\n")
        alert(settings, f"{settings['name']}: the {command} failed: {why}")
        return 1
    size = f", {told['bytes'] / 10**6:.1f} MB" if "bytes" in told else ""
    sys.stdout.write(f"{settings['name']}: {command} of {told['name']}{size} in {told['seconds']} s\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
