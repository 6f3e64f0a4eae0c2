# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""Volumes with the data of a stack: new ones, filled from a dump and compared with it, before they are live."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils import docker_cli, dumps
from ansible_collections.drydock.stack.plugins.module_utils import release as releases

# On a volume: the one with the data of the major version before, for the way back.
BEFORE = "drydock.before"


def labels(volume: str) -> dict[str, str]:
    """Return the labels of a volume, {} where there is none."""
    found = docker_cli.inspect("volume", "inspect", volume)
    return (found[0].get("Labels") or {}) if found else {}


def new_volume(name: str) -> str:
    """Return a name for a volume that is not there yet."""
    taken = docker_cli.docker("volume", "ls", "--format", "{{ .Name }}").split()
    first, number = releases.first_volume(name), 2
    if first not in taken and not any(volume.startswith(f"{first}_") for volume in taken):
        return first
    while f"{first}_{number}" in taken:
        number += 1
    return f"{first}_{number}"


def forget(name: str, root: Path) -> None:
    """Remove what a restore that was cut off left behind; what is live is not."""
    under_way = dumps.read_json(root / releases.RESTORING)
    dumps.removed(f"{name}-restore")
    volume = under_way.get("volume", "")
    # Where nothing was brought up yet, the first volume is not live before it is written down.
    known = (root / "current").exists() or (root / releases.VOLUME).is_file()
    if volume and not (known and volume == releases.live_volume(root, name)):
        dumps.removed(f"{name}-restore", volume)
    (root / releases.RESTORING).unlink(missing_ok=True)


def fill(
    settings: Mapping[str, Any], root: Path, name: str, dump: Path, manifest: Mapping[str, Any], volume: str, before: str = ""
) -> None:
    """Make the volume with the data of the dump, and prove that it is what was dumped; raises DataError.

    ``before`` is the volume with the data of the major version before, "" for none.
    """
    container = f"{name}-restore"
    told = {
        "com.docker.compose.project": name, "com.docker.compose.volume": "postgres_data",
        "drydock.database": settings["database"], "drydock.user": settings["user"], **({BEFORE: before} if before else {}),
    }  # fmt: skip
    releases.write_durably(root / releases.RESTORING, json.dumps({"volume": volume, "dump": dump.name}).encode(), 0o600)
    docker_cli.docker("volume", "create", *(f"--label={key}={value}" for key, value in told.items()), volume)
    dumps.database_starts(settings, root, container, volume, manifest, durable=True)
    dumps.restore_into(settings, container, dump)
    apart = dumps.differences(container, manifest)
    if apart:
        raise dumps.DataError(f"{dump.name} was restored, and differs from what was dumped: {'; '.join(apart[:5])}")
    dumps.run(dumps.inside(container, "vacuumdb", "--analyze-only", "--quiet"), "The restored data cannot be analysed")
    docker_cli.docker("stop", "--time", "90", container)
    dumps.removed(container)
