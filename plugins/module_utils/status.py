# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""What runs of a stack, as data and as a table."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils.state import last_good

MEGABYTE = 10**6
GIGABYTE = 10**9
# Ansible shows a line six columns in, and in quotes: so it fits a hundred. It breaks a line after the eightieth column,
# at single spaces, so that the columns to the right hold none.
WIDTH = 92
SHORT = 7


def summary(host: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what stack_info found, in an operator's words: sizes in megabytes, disk in gigabytes."""
    return {
        "name": name,
        "release": host["current"],
        "slot": host["live"],
        "maintenance": {"on": bool(host["maintenance"]), "since": host["maintenance"]},
        "lock": _run(host["lock"]),
        "last_run": _run(host["last_run"]),
        "releases": _releases(host["releases"], host["current"]),
        "services": {
            service: {
                "state": found["status"],
                "health": found["health"],
                "image": found["image"],
                "image_mb": round(host["images"].get(found["image"], {}).get("size", 0) / MEGABYTE, 1),
                "release": found["release"],
                "live": service == f"app-{host['live']}",
            }
            for service, found in sorted(host["services"].items())
        },
        "database": {
            **{key: host["volume"][key] for key in ("name", "exists", "major")},
            "host": host["releases"].get(host["current"], {}).get("database", {}).get("host", ""),
            "others": host["other_volumes"],
            "problems": host["database_warnings"],
        },
        "backups": host["backups"],
        "archive": host["archive"],
        "versions": {key: host["engine"][key] for key in ("server", "compose", "buildx")},
        "disk_free_gb": {where: round(free / GIGABYTE, 1) for where, free in host["disk"].items()},
        "problem": host["engine"]["problem"],
    }


def _releases(records: Mapping[str, Mapping[str, Any]], current: str) -> list[dict[str, Any]]:
    """Return the releases, the newest first; one that never served has no number, and comes last."""
    good = last_good(records, current)
    return [
        {
            "id": name,
            "number": record.get("number", 0),
            "deployed": record.get("deployed", ""),
            "by": record.get("by", ""),
            "revision": record.get("revision", ""),
            "dirty": record.get("dirty", False),
            "image_mb": round(record.get("image_size", 0) / MEGABYTE, 1),
            "database_revision": record.get("database_revision", ""),
            "live": name == current,
            "last_good": name == good,
            "rolled_back": record.get("rolled_back", ""),
        }
        for name, record in sorted(records.items(), key=lambda item: (-item[1].get("number", 0), item[0]))
    ]


def _run(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return who changes or has changed the stack, and when in UTC; {} for nobody."""
    if not record:
        return {}
    return {
        "owner": record.get("owner", ""),
        "release": record.get("release", ""),
        **{key: _time(record[key]) for key in ("since", "expires", "ended") if key in record},
    }


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _age(hours: float) -> str:
    return f"{hours:.1f}h" if hours < 48 else f"{hours / 24:.0f}d"


def _minute(when: str) -> str:
    """Return a time of ISO 8601, which is UTC here, to the minute."""
    return when[:16].replace("T", " ")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _aligned(rows: list[tuple[str, ...]], shrinks: int) -> list[str]:
    """Return the rows in columns, the one that ``shrinks`` cut where a line gets too long; [] where there is but the heading."""
    if len(rows) == 1:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    widths[shrinks] = max(min(widths[shrinks], WIDTH - sum(widths) + widths[shrinks] - 2 * (len(widths) - 1)), SHORT)
    return ["  ".join(_cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _marks(release: Mapping[str, Any]) -> str:
    marks = {"live": "live", "last_good": "last-good", "rolled_back": "rolled-back"}
    return next((mark for key, mark in marks.items() if release[key]), "" if release["number"] else "never-served")


def _ran(run: Mapping[str, Any]) -> str:
    return f"{_minute(run.get('ended', run['since']))} UTC by {run['owner'] or '?'}, release {run['release'] or '?'}"


def _joined(parts: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"{label}: {text}" for label, text in parts if text]


def _data(database: Mapping[str, Any]) -> str:
    if database["host"]:
        return f"Data: on {database['host']}"
    return f"Data: {database['name']}, PostgreSQL {database['major'] or '?'}" if database["exists"] else "Data: none"


def _archived(archive: Mapping[str, Any]) -> str:
    if not archive["since"]:
        return f"Archive: {archive['repository']}, no time can be restored"
    return (
        f"Archive: {archive['repository']}, any time from {archive['since']} to {archive['until'] or '?'}, "
        f"{len(archive['backups'])} backups, {archive['waiting']} segments wait"
    )


def table(status: Mapping[str, Any]) -> list[str]:
    """Return a summary as lines to read."""
    services = [("SERVICE", "STATE", "HEALTH", "RELEASE", "IMAGE", "MB")]
    for service, found in status["services"].items():
        label = f"{service} (live)" if found["live"] else service
        services.append((label, found["state"], found["health"], found["release"], found["image"], f"{found['image_mb']:.1f}"))
    releases = [("RELEASE", "NO", "DEPLOYED (UTC)", "BY", "SOURCE", "MB", "DATABASE", "")]
    for found in status["releases"]:
        source = found["revision"][:SHORT] + ("+" if found["dirty"] else "")
        number, size = str(found["number"] or "-"), f"{found['image_mb']:.0f}"
        row = (found["id"], number, _minute(found["deployed"]), found["by"], source, size)
        releases.append((*row, _cut(found["database_revision"], 12), _marks(found)))
    backups, archive = status["backups"].get("backups", []), status["archive"]
    kept = [("BACKUP", "AGE", "MB", "DATABASE", "CHECKSUM", "COPIED", "PROVEN")]
    for found in backups:
        row = (found["name"].removesuffix(".dump"), _age(found["age_hours"]), f"{found['mb']:.1f}", _cut(found["revision"], 12))
        kept.append((*row, found["checksum"], "yes" if found["copied"] else "", _minute(found["proven"]).replace(" ", "T")))
    versions, disk, database = status["versions"], status["disk_free_gb"], status["database"]
    maintenance, lock, last = status["maintenance"], status["lock"], status["last_run"]
    return [
        f"{status['name']}: release {status['release'] or 'none'}, slot {status['slot'] or 'none'}, "
        f"{len(status['releases'])} releases on the host",
        *_joined(
            [
                ("The engine cannot be asked", status["problem"]),
                ("Maintenance", f"on since {_minute(maintenance['since'])} UTC" if maintenance["on"] else ""),
                ("Being changed since", _ran(lock) if lock else ""),
                ("Last changed", _ran(last) if last else ""),
            ]
        ),
        *_joined(("Backups", problem) for problem in status["backups"].get("problems", [])),
        *_joined(("Database", problem) for problem in database["problems"]),
        *_joined(("Archive", problem) for problem in archive.get("problems", [])),
        *_aligned(services, shrinks=4),
        *_aligned(releases, shrinks=3),
        *_aligned(kept, shrinks=3),
        *([] if backups else ["Backups: none"]),
        *([_archived(archive)] if archive else []),
        _data(database),
        *([f"Data of before a restore: {', '.join(database['others'])}"] if database["others"] else []),
        f"Engine {versions['server']}, compose {versions['compose']}, buildx {versions['buildx']}",
        f"Disk free: {disk['engine']} GB for the engine, {disk['stack']} GB for the stack",
    ]
