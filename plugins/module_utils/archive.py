#!/usr/bin/env python3
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The archive of a stack's database: all that it writes, by pgBackRest, so that it can be taken back to a moment.

This is a part of the collection's modules, and, as <root>/bin/archive on a host, a program of its own beside <root>/bin/data. So
it needs the standard library alone, of Python 3.9 and later, and of the collection nothing but that one.

pgBackRest runs in the database's container, which hands it each segment of the write-ahead log. What is particular to a stack
stands in its environment; what may change while it runs, and the passphrase, in a file that the host keeps.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

try:
    from ansible_collections.drydock.stack.plugins.module_utils import dumps
except ImportError:
    sys.dont_write_bytecode = True
    loader = SourceFileLoader("dumps", str(Path(__file__).resolve().with_name("data")))
    dumps = module_from_spec(spec_from_loader("dumps", loader))
    loader.exec_module(dumps)

# In the database's container.
CONFIGURATION = "/etc/pgbackrest"
REPOSITORY = "/var/lib/pgbackrest"
# The user that PostgreSQL runs as there.
POSTGRES_UID = 999
# Days after which the next backup of the archive is a full one.
FULL_AFTER = 6.5
# What segments may take of the engine's disk while the repository is away; then pgBackRest drops all that wait. A tenth of it, or
# a gigabyte, but no more than half of what is free, without which the database ends; and four segments in any case.
QUEUE_PART = 10
USUAL_QUEUE = 10**9
SMALLEST_QUEUE = 2**26
SEGMENT = re.compile(r"(?:.*/)?([0-9A-F]{24})-[0-9a-f]{40}(?:\.\w+)?")
MOMENT = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d)(?::(?P<second>\d\d(?:\.\d{1,6})?))?"
    r"(?P<zone>Z|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?)"
)
# An image that has pgBackRest already is taken as it is.
DOCKERFILE = """FROM {image}
RUN --mount=type=secret,id=ca-bundle \\
    command -v pgbackrest > /dev/null \\
    || {{ apt-get -o Acquire::https::CaInfo=/run/secrets/ca-bundle update \\
      && apt-get -o Acquire::https::CaInfo=/run/secrets/ca-bundle install --yes --no-install-recommends pgbackrest \\
      && rm -rf /var/lib/apt/lists/*; }}
RUN pgbackrest version
"""
# The passphrase may stand in it.
OWN_FILES = 0o400
SETTINGS = """[global]
repo1-path={repository}
repo1-retention-full={keep}
repo1-bundle=y
{cipher}archive-async=y
archive-push-queue-max={queue}
spool-path=/tmp/pgbackrest-spool
lock-path=/tmp/pgbackrest
compress-type=zst
process-max=2
start-fast=y
log-level-console=off
log-level-file=off
log-level-stderr=warn
log-timestamp=n
"""
ARCHIVER = """
SELECT json_build_object('system', (SELECT system_identifier::text FROM pg_control_system()),
  'timeline', (SELECT timeline_id FROM pg_control_checkpoint()),
  'last', coalesce(last_archived_wal, ''), 'at', to_char(last_archived_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
  'failing', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false),
  'waiting', (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
  'segment', pg_size_bytes(current_setting('wal_segment_size')))
FROM pg_stat_archiver;
"""
DataError = dumps.DataError


# --- What the stack is made with ---


def dockerfile(image: str) -> str:
    """Return what the database's image is built from: PostgreSQL's, with pgBackRest."""
    return DOCKERFILE.format(image=image)


def image_of(name: str, image: str) -> str:
    """Return the reference of a stack's database image; no stack's name holds an underscore."""
    return f"{name}_postgres:{hashlib.sha256(dockerfile(image).encode()).hexdigest()[:12]}"


def data_folder(mount: str, version: int) -> str:
    """Return where the data is in the container."""
    return mount if version < 18 else f"{mount}/{version}/docker"


def container_environment(name: str, user: str, mount: str, version: int) -> dict[str, str]:
    """Return what pgBackRest is told by the environment of a container."""
    return {
        "PGBACKREST_STANZA": name,
        "PGBACKREST_PG1_PATH": data_folder(mount, version),
        "PGBACKREST_PG1_USER": user,
    }


def server_settings(timeout: int) -> dict[str, str]:
    """Return the settings of PostgreSQL that have it hand over what it writes."""
    return {"archive_mode": "on", "archive_command": "pgbackrest archive-push %p", "archive_timeout": str(timeout)}


# In place of a time: all that the archive holds.
LATEST = "latest"


def moment(text: str) -> datetime.datetime:
    """Return the time that a text says; raises ValueError where it says none, or no zone."""
    match = MOMENT.fullmatch(text)
    if not match:
        raise ValueError("no time with a zone")
    found = datetime.datetime.fromisoformat(f"{match['day']}T{match['time']}:00")
    zone = datetime.timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
    second = datetime.timedelta(seconds=float(match["second"] or 0))
    if zone >= datetime.timedelta(days=1) or second >= datetime.timedelta(minutes=1):
        raise ValueError("no such time")
    return (found + second - (-zone if match["sign"] == "-" else zone)).replace(tzinfo=dumps.UTC)


# --- The host's part ---


def passphrase_file(root: Path) -> Path:
    return root / "secrets" / "pgbackrest_passphrase"


def configuration_folder(root: Path) -> Path:
    return root / "secrets" / "pgbackrest"


def queue_size(root: Path) -> int:
    """Return the bytes that may wait; of what is free counts the power of two below, as it is another one all the time."""
    disk = shutil.disk_usage(dumps.engine_folder(root))
    half = 2 ** ((disk.free // 2).bit_length() - 1) if disk.free > 1 else 0
    return max(min(max(disk.total // QUEUE_PART, USUAL_QUEUE), half), SMALLEST_QUEUE)


def configuration(keep: int, passphrase: str, queue: int) -> str:
    """Return the file that pgBackRest reads."""
    cipher = f"repo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass={passphrase}\n" if passphrase else ""
    return SETTINGS.format(repository=REPOSITORY, keep=keep, cipher=cipher, queue=queue)


def configured(settings: Mapping[str, Any], root: Path) -> bool:
    """See that pgBackRest has its file and the passphrase that it needs; tell whether it had not."""
    file, secret = passphrase_file(root), ""
    if why := unreadable(settings, root):
        raise DataError(why)
    if settings["pitr"]["encrypted"]:
        if not file.exists():
            owned(file, secrets.token_urlsafe(32))
        secret = file.read_text().strip()
    wanted = configuration(settings["pitr"]["keep"], secret, queue_size(root))
    folder = configuration_folder(root)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    path = folder / "pgbackrest.conf"
    if path.is_file() and path.read_text() == wanted:
        return False
    owned(path, wanted)
    return True


def owned(path: Path, text: str) -> None:
    """Put a file in its place that root and the database's user alone can read."""
    dumps.write_durably(path, text.encode(), OWN_FILES)
    os.chown(path, POSTGRES_UID, POSTGRES_UID)


def known(settings: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return what was noted of the archive in this repository, {} where nothing was."""
    noted = dumps.read_json(root / "backups" / dumps.STATE).get("archived", {})
    return noted if noted.get("repository") == settings["pitr"]["repository"] else {}


def unreadable(settings: Mapping[str, Any], root: Path) -> str:
    """Return why an archive that is there already cannot be read, "" where it can, or there is none."""
    place, encrypted, noted = Path(settings["pitr"]["repository"]), settings["pitr"]["encrypted"], known(settings, root)
    if noted and noted.get("encrypted", encrypted) != encrypted:
        return (
            f"fastapi_pitr_encrypted is {str(encrypted).lower()}, and the archive in {place} was begun otherwise and stays so; "
            "set it back, or give another, empty fastapi_pitr_repository."
        )
    if encrypted and not passphrase_file(root).exists() and (noted or (place / "archive" / settings["name"]).exists()):
        file = passphrase_file(root)
        return (
            f"fastapi_pitr_repository is {place}, which holds an archive of {settings['name']} already, and {file} is missing; "
            f"put the passphrase there that it was made with: `install -D -m 0400 -o {POSTGRES_UID} <file> {file}`."
        )
    return ""


def unusable(settings: Mapping[str, Any], root: Path) -> str:
    """Return why the archive cannot be begun or gone on with, "" where it can. One that is known may be away."""
    place = Path(settings["pitr"]["repository"])
    if known(settings, root) or (place == own(root) and not place.exists()):
        return unreadable(settings, root)
    if not place.is_dir():
        return f"fastapi_pitr_repository is {place}, and there is no such folder on the host; make it, or mount it."
    if place.stat().st_uid != POSTGRES_UID and any(place.iterdir()):
        return (
            f"fastapi_pitr_repository is {place}, which holds files and is not the database's; use an empty folder, or "
            f"`chown --recursive {POSTGRES_UID}:{POSTGRES_UID} {place}`."
        )
    return unreadable(settings, root)


def own(root: Path) -> Path:
    """Return the repository of a stack that is given none."""
    return root / "backups" / "pgbackrest"


def repository(settings: Mapping[str, Any], root: Path) -> bool:
    """See that the database's user can write to the repository; tell whether it could not."""
    if why := unusable(settings, root):
        raise DataError(why)
    folder = Path(settings["pitr"]["repository"])
    if folder == own(root):
        folder.mkdir(exist_ok=True)
    if folder.stat().st_uid == POSTGRES_UID:
        return False
    os.chown(folder, POSTGRES_UID, POSTGRES_UID)
    folder.chmod(0o750)
    return True


def built(settings: Mapping[str, Any], ca_bundle: str) -> bool:
    """See that the database's image is on the host; tell whether it was not."""
    reference = image_of(settings["name"], settings["image"])
    if dumps.run(["docker", "image", "ls", "--quiet", reference], "The engine cannot be asked").strip():
        return False
    secret = ["--secret", f"id=ca-bundle,src={ca_bundle}"] if ca_bundle else []
    dumps.run(
        ["docker", "buildx", "build", "--load", "--quiet", "--tag", reference, "--label",
         f"drydock.postgres={settings['name']}", *secret, "-"],
        f"The image {reference}, which is {settings['image']} with pgBackRest, cannot be built",
        input=dockerfile(settings["image"]).encode(), stdin=None,
    )  # fmt: skip
    return True


def prepared(settings: Mapping[str, Any], root: Path, ca_bundle: str) -> bool:
    """See that there is all that the database's container is made with; tell whether something was missing.

    A repository that has been used before may be away; the database starts without.
    """
    missing = built(settings, ca_bundle)
    if not known(settings, root):
        missing = repository(settings, root) or missing
    return configured(settings, root) or missing


# --- Asking pgBackRest ---


def inside(settings: Mapping[str, Any]) -> list[str]:
    """Return how a command is run in the database's container, for which the superuser is known."""
    return ["docker", "exec", f"{settings['name']}-db-1", "sh", "-c", dumps.AS_SUPERUSER]


def scratch(settings: Mapping[str, Any], root: Path) -> list[str]:
    """Return the options of a container that reads the repository, and does not write to it."""
    told = container_environment(settings["name"], settings["user"], settings["mount"], dumps.major(settings["image"]))
    return [
        *(word for name, value in told.items() for word in ("--env", f"{name}={value}")),
        "--mount", f"type=bind,source={configuration_folder(root)},target={CONFIGURATION},readonly",
        "--mount", f"type=bind,source={settings['pitr']['repository']},target={REPOSITORY},readonly",
    ]  # fmt: skip


def beside(settings: Mapping[str, Any], root: Path) -> list[str]:
    """Return how a command is run in a container of its own, where no database runs."""
    options = [
        "--rm", "--network", "none", "--user", f"{POSTGRES_UID}:{POSTGRES_UID}", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges:true", "--tmpfs", "/tmp", "--entrypoint", "", *scratch(settings, root),  # noqa: S108
    ]  # fmt: skip
    return ["docker", "run", *options, image_of(settings["name"], settings["image"])]


def asked(head: Sequence[str], what: str, *arguments: str) -> str:
    """Return what pgBackRest prints; raises DataError. With a wrong passphrase it complains of what is no text."""
    try:
        return dumps.run([*head, "pgbackrest", *arguments], what)
    except DataError as error:
        raise DataError(printable(str(error))) from None


def printable(text: str) -> str:
    return "".join(character if " " <= character <= "~" else "?" for character in " ".join(text.split()))


def read(settings: Mapping[str, Any], head: Sequence[str]) -> dict[str, Any]:
    """Return what pgBackRest says of the archive, with C(there) for whether there is one; raises DataError."""
    said = asked(head, "The repository cannot be read", "info", "--output=json")
    found = next((one for one in json.loads(said, strict=False) if one["name"] == settings["name"]), {})
    status = found.get("status", {"code": 1, "message": "missing stanza path"})
    if status["code"] not in (0, 1, 2, 3):
        told = [one["status"]["message"] for one in found.get("repo", []) if one["status"]["code"]]
        hint = "; is the passphrase the one that it was made with?" if settings["pitr"]["encrypted"] else ""
        raise DataError(f"The repository cannot be read: {printable(' '.join(told or [status['message']]))[:300]}{hint}")
    return {"there": bool(found.get("db")), **{part: found.get(part, []) for part in ("backup", "db", "archive")}}


def archiver(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the database says of its archiver; raises DataError."""
    with dumps.Session(f"{settings['name']}-db-1") as session:
        return json.loads(session.rows(ARCHIVER)[0])


def checked(settings: Mapping[str, Any]) -> None:
    """Have a segment be archived now, and find it in the repository; raises DataError."""
    asked(inside(settings), "What the database writes does not reach the archive", "check")


def flushed(settings: Mapping[str, Any]) -> None:
    """Have all that was written so far reach the archive, with a transaction of now after it; raises DataError."""
    with dumps.Session(f"{settings['name']}-db-1") as session:
        session.rows("SELECT pg_current_xact_id();")
    checked(settings)


# --- Keeping the archive ---


def wanted_steps(settings: Mapping[str, Any], noted: Mapping[str, Any], found: Mapping[str, Any], system: str) -> list[str]:
    """Return the commands that make the archive one of this database; raises DataError where it must not be."""
    place = settings["pitr"]["repository"]
    if not found["there"]:
        if noted:
            raise DataError(
                f"The archive of {settings['name']} is gone from {place}; is it mounted? A mount that came after the database's "
                f"start is seen by it after `docker restart {settings['name']}-db-1`."
            )
        return ["stanza-create"]
    if str(found["db"][-1]["system-id"]) == system:
        return []
    if not noted:
        raise DataError(
            f"{place} holds the archive of another database of the name {settings['name']}; restore that one with "
            "fastapi_restore_target_time, or use another fastapi_pitr_repository."
        )
    # After a restore of a dump, or an upgrade.
    return ["stanza-upgrade"]


def backups_of(found: Mapping[str, Any], system: str, damaged: bool = False) -> list[dict[str, Any]]:
    """Return the backups of the database that is live, the oldest first; with ``damaged`` those with damaged pages as well."""
    ids = {one["id"] for one in found["db"] if str(one["system-id"]) == system}
    return [backup for backup in found["backup"] if backup["database"]["id"] in ids and (damaged or not backup.get("error"))]


def sound(settings: Mapping[str, Any], root: Path) -> bool:
    """See that the database has an archive, with a backup to begin from; tell whether there was none; raises DataError."""
    changed = configured(settings, root)
    now, found = archiver(settings), read(settings, inside(settings))
    steps = wanted_steps(settings, known(settings, root), found, now["system"])
    if not steps and known(settings, root) and begun(now, backups_of(found, now["system"])):
        checked(settings)
        return changed
    with dumps.alone(root, "A backup of the archive"):
        back_up(settings, root)
    return True


def begun(now: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether there is a backup that what the database writes now follows on, and not one of before a restore to a time."""
    return bool(before) and int(before[-1]["archive"]["stop"][:8], 16) == now["timeline"]


def ensured(settings: Mapping[str, Any], root: Path) -> tuple[str, dict[str, Any]]:
    """See that the archive is one of this database; return its system's identifier, and what there is. Raises DataError."""
    system, found = archiver(settings)["system"], read(settings, inside(settings))
    steps = wanted_steps(settings, known(settings, root), found, system)
    for step in steps:
        asked(inside(settings), f"The archive cannot be made ({step})", step)
    noted = {"repository": settings["pitr"]["repository"], "encrypted": settings["pitr"]["encrypted"], "system": system}
    if known(settings, root) != noted:
        dumps.change_state(root, archived=noted)
    checked(settings)
    return system, read(settings, inside(settings)) if steps else found


def back_up(settings: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Back the database up into the archive, and note what it came to; who calls it is alone. Raises DataError."""
    began, at = time.monotonic(), f"{dumps.now():{dumps.TIME}}"
    try:
        system, found = ensured(settings, root)
        before = backups_of(found, system)
        lost = missing(settings, found, before, archiver(settings)["segment"])
        kind = kind_of(before, dumps.now().timestamp())
        asked(inside(settings), "The archive cannot be backed up", "backup", f"--type={kind}")
        newest = whole(backups_of(read(settings, inside(settings)), system, damaged=True))
        told = {"at": at, "ok": True, "message": "", "name": newest["label"], "seconds": round(time.monotonic() - began, 1)}
        dumps.change_state(root, archive=told)
        if lost:
            raise DataError(
                f"Segments are missing in the archive after {lost}, so that no time from then on can be restored until "
                f"{at_time(newest['timestamp']['stop'])}, when {newest['label']} was made."
            )
    except (DataError, OSError, ValueError) as error:
        dumps.change_state(root, archive={"at": at, "ok": False, "message": str(error)})
        raise DataError(str(error)) from error
    return told


def whole(backups: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the newest of the backups; raises DataError where there is none, or pages in it are damaged.

    pgBackRest warns of such pages, and ends as well as without.
    """
    if not backups:
        raise DataError("pgBackRest says that it has made a backup, and there is none in the repository.")
    newest = backups[-1]
    if newest.get("error"):
        raise DataError(
            f"{newest['label']} holds pages whose checksum is wrong: the live data is damaged. A restore to a time, "
            "or to latest, begins from the backup of before, and goes through all that was written since."
        )
    return newest


def kind_of(before: Sequence[Mapping[str, Any]], now: float) -> str:
    """Return whether the next backup is a full one, or what differs from the last full one."""
    full = [backup["timestamp"]["stop"] for backup in before if backup["type"] == "full"]
    return "diff" if full and now - full[-1] < FULL_AFTER * dumps.DAY else "full"


def missing(settings: Mapping[str, Any], found: Mapping[str, Any], before: Sequence[Mapping[str, Any]], size: int) -> str:
    """Return the time of the last segment before the first gap since the newest backup, "" where there is none."""
    if not before:
        return ""
    newest = before[-1]
    since = newest["archive"]["stop"]
    archive = archive_of(found, newest)
    # Those of one folder, of four gigabytes, are fewer to list.
    times = segments(settings, inside(settings), archive, since[:16] if archive.get("max", "")[:16] == since[:16] else "")
    gap = first_gap(times, since, size)
    return at_time(times.get(gap, newest["timestamp"]["stop"])) if gap else ""


def archive_of(found: Mapping[str, Any], backup: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what there is of the segments of a backup's database, {} for nothing."""
    database = backup["database"]["id"]
    return next((one for one in found["archive"] if one["database"]["id"] == database and one["max"]), {})


def segments(settings: Mapping[str, Any], head: Sequence[str], archive: Mapping[str, Any], folder: str) -> dict[str, float]:
    """Return when each segment there was archived, by its name, or those in one folder; raises DataError."""
    if not archive:
        return {}
    place = "/".join(part for part in ("archive", settings["name"], archive["id"], folder) if part)
    said = asked(head, "The repository cannot be read", "repo-ls", place, "--recurse", "--output=json")
    return {match[1]: entry.get("time", 0) for name, entry in json.loads(said).items() if (match := SEGMENT.fullmatch(name))}


def first_gap(segments: Iterable[str], since: str, size: int) -> str:
    """Return the segment that the first missing one follows, "" for none; those on the timeline of ``since`` count."""
    there = {name for name in segments if name[:8] == since[:8] and name >= since}
    number = since
    while number in there:
        number = following(number, size)
    later = [name for name in there if name > number]
    return preceding(number, size) if later else ""


def following(segment: str, size: int) -> str:
    return numbered(segment[:8], position(segment, size) + 1, size)


def preceding(segment: str, size: int) -> str:
    return numbered(segment[:8], position(segment, size) - 1, size)


def position(segment: str, size: int) -> int:
    """Return the number of a segment, whose name counts them within each four gigabytes."""
    return int(segment[8:16], 16) * (2**32 // size) + int(segment[16:], 16)


def numbered(timeline: str, number: int, size: int) -> str:
    high, low = divmod(number, 2**32 // size)
    return f"{timeline}{high:08X}{low:08X}"


def at_time(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, dumps.UTC):{dumps.TIME}}"


# --- Its health ---


def health(settings: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return what the status shows of the archive; C(problems) has one line each."""
    told: dict[str, Any] = {"repository": settings["pitr"]["repository"], "since": "", "until": "", "waiting": 0, "backups": []}
    state = dumps.read_json(root / "backups" / dumps.STATE).get("archive", {})
    problems = [] if state.get("ok", True) else [f"The last backup of the archive failed at {state['at']}: {state['message']}"]
    try:
        now = archiver(settings)
        told.update(until=now["at"] or "", waiting=now["waiting"])
        problems += stuck(settings, now)
        found = read(settings, inside(settings))
        wanted_steps(settings, known(settings, root), found, now["system"])
        before = backups_of(found, now["system"])
        told["since"] = at_time(before[0]["timestamp"]["stop"]) if before else ""
        told["backups"] = [
            {"name": backup["label"], "type": backup["type"], "made": at_time(backup["timestamp"]["stop"]),
             "mb": round(backup["info"]["repository"]["size"] / 10**6, 1)}
            for backup in reversed(before)
        ]  # fmt: skip
        problems += lacking(settings, now, found, before)
        if lost := missing(settings, found, before, now["segment"]):
            problems.append(
                f"Segments are missing in the archive after {lost}. No time from then on can be restored until the next backup; "
                "make one: `bin/archive backup` in the stack's folder on the host."
            )
    except (DataError, OSError, ValueError) as error:
        problems.append(f"The archive cannot be asked: {error}")
    return {**told, "problems": problems}


def stuck(settings: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say where the archiver does not get rid of what it has."""
    if not now["failing"]:
        return []
    waiting = f"{now['waiting']} segments wait, {now['waiting'] * now['segment'] / dumps.GIGABYTE:.2f} GB"
    return [
        f"The archive has taken nothing since {now['at'] or 'it began'}: {waiting}. The database runs on, and catches up once "
        f"{settings['pitr']['repository']} is back; `docker logs --tail 20 {settings['name']}-db-1` says why."
    ]


def lacking(
    settings: Mapping[str, Any], now: Mapping[str, Any], found: Mapping[str, Any], before: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Say what cannot be restored from the archive."""
    if not before:
        return ["The archive holds no backup of this database yet, so that no time can be restored."]
    newest, told = before[-1], []
    age = (dumps.now().timestamp() - newest["timestamp"]["stop"]) / 3600
    if settings["max_age"] and age > settings["max_age"]:
        told.append(f"The newest backup of the archive is {age:.1f} hours old, and {settings['max_age']:g} are allowed.")
    segment = now["last"][:24]
    there = [one["max"] for one in found["archive"] if one["database"]["id"] == newest["database"]["id"] and one["max"]]
    if there and re.fullmatch("[0-9A-F]{24}", segment) and max(there) < segment:
        told.append(
            f"Segments up to {segment} are not in the archive, which ends at {max(there)}: they were dropped, as more "
            "waited than the disk has room for. Times since cannot be restored; once the repository is back, begin anew: "
            "`bin/archive backup` in the stack's folder on the host."
        )
    return told


def chosen(found: Mapping[str, Any], when: datetime.datetime, image: str) -> dict[str, Any]:
    """Return what a restore to a time begins from, the newest one before it; its timeline is followed. Raises DataError."""
    usable = [backup for backup in found["backup"] if not backup.get("error")]
    before = [backup for backup in usable if backup["timestamp"]["stop"] <= when.timestamp()]
    if not usable:
        raise DataError("There is no backup in the archive.")
    if not before:
        first = at_time(min(backup["timestamp"]["stop"] for backup in usable))
        raise DataError(
            f"fastapi_restore_target_time is {when:{dumps.TIME}}, and the archive begins at {first}; use a later time."
        )
    newest = max(before, key=lambda backup: backup["timestamp"]["stop"])
    version = next(one["version"] for one in found["db"] if one["id"] == newest["database"]["id"])
    if dumps.major(image) not in (0, int(version.partition(".")[0])):
        raise DataError(
            f"fastapi_postgres_image is {image}, and at {when:{dumps.TIME}} the database was of PostgreSQL {version}; use an "
            "image of that version."
        )
    return newest


def end(settings: Mapping[str, Any], head: Sequence[str], found: Mapping[str, Any], backup: Mapping[str, Any]) -> str:
    """Return the last segment that was archived of the database of a backup, "" for none; raises DataError.

    It is on the timeline that was written to last: one with a higher number may be that of a restore that was taken back.
    """
    times = segments(settings, head, archive_of(found, backup), "")
    if not times:
        return ""
    timeline = max(times, key=lambda name: (times[name], name))[:8]
    return max(name for name in times if name[:8] == timeline)


# --- The program ---


def main(arguments: Sequence[str]) -> int:
    root = Path(__file__).resolve().parents[1]
    settings = dumps.read_json(root / dumps.SETTINGS)
    command = arguments[0] if len(arguments) == 1 else ""
    if command not in ("backup", "check", "list") or not settings.get("pitr"):
        sys.stderr.write(f"usage: {sys.argv[0]} backup | check | list    (where fastapi_pitr_enabled is true)\n")
        return 2
    if command == "list":
        sys.stdout.write(json.dumps(health(settings, root), indent=2) + "\n")
        return 0
    try:
        if command == "check":
            checked(settings)
            told = "reaches the archive"
        else:
            with dumps.alone(root, "A backup of the archive"):
                done = back_up(settings, root)
            told = f"backup {done['name']} of the archive in {done['seconds']} s"
    except Exception as error:  # Whatever it is, an operator is told.
        why = str(error) if isinstance(error, (DataError, OSError)) else f"{type(error).__name__}: {error}"
        sys.stderr.write(f"{settings['name']}: the {command} of the archive failed: {why}\n")
        dumps.alert(settings, f"{settings['name']}: the {command} of the archive failed: {why}")
        return 1
    sys.stdout.write(f"{settings['name']}: {told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
