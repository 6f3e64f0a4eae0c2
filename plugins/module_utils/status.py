# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""What runs of a stack, as data and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MEGABYTE = 10**6
GIGABYTE = 10**9


def summary(host: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what stack_info found, in an operator's words: sizes in megabytes, disk in gigabytes."""
    return {
        "name": name,
        "release": host["current"],
        "slot": host["live"],
        "releases": sorted(host["releases"]),
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
        "database": {key: host["volume"][key] for key in ("name", "exists", "major")},
        "versions": {key: host["engine"][key] for key in ("server", "compose", "buildx")},
        "disk_free_gb": {where: round(free / GIGABYTE, 1) for where, free in host["disk"].items()},
        "problem": host["engine"]["problem"],
    }


def table(status: Mapping[str, Any]) -> list[str]:
    """Return a summary as lines to read."""
    rows = [("SERVICE", "STATE", "HEALTH", "RELEASE", "IMAGE", "MB")]
    for service, found in status["services"].items():
        label = f"{service} (live)" if found["live"] else service
        rows.append((label, found["state"], found["health"], found["release"], found["image"], f"{found['image_mb']:.1f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    versions, disk, database = status["versions"], status["disk_free_gb"], status["database"]
    return [
        f"{status['name']}: release {status['release'] or 'none'}, slot {status['slot'] or 'none'}, "
        f"{len(status['releases'])} releases on the host",
        *([f"The engine cannot be asked: {status['problem']}"] if status["problem"] else []),
        *(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
            if len(rows) > 1
        ),
        f"Data: {database['name']}, PostgreSQL {database['major'] or '?'}" if database["exists"] else "Data: none",
        f"Engine {versions['server']}, compose {versions['compose']}, buildx {versions['buildx']}",
        f"Disk free: {disk['engine']} GB for the engine, {disk['stack']} GB for the stack",
    ]
