# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""Volumes with the data of a stack: new ones, filled from a dump or from the archive, and looked into, before they are live."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils import archive, docker_cli, dumps, rotation
from ansible_collections.drydock.stack.plugins.module_utils import release as releases

# Seconds that a database may take to go through its log; a day of many writes takes an hour.
RECOVERY_TIMEOUT = 12 * 3600
# What pgBackRest has the database do at its first start, which is over.
RECOVERED = ("restore_command", "recovery_target_time", "recovery_target_action", "recovery_target_timeline")

# On a volume: the one with the data of the major version before, for the way back.
BEFORE = "drydock.before"


def labels(volume: str) -> dict[str, str]:
    """Return the labels of a volume, {} where there is none."""
    found = docker_cli.inspect("volume", "inspect", volume)
    return (found[0].get("Labels") or {}) if found else {}


def owner(root: Path, name: str) -> str:
    """Return the application's role in the live data of a stack, "" where nobody knows."""
    return owner_by(labels(releases.live_volume(root, name)), root)


def owner_by(found: Mapping[str, str], root: Path) -> str:
    """Return the same by the volume's labels: templates of a user's own may leave it out, and then the host knows."""
    return found.get("drydock.user") or dumps.read_json(root / dumps.SETTINGS).get("user", "")


def known(root: Path) -> bool:
    """Tell whether a stack has a live volume, be it there or gone; the first one is none before anything was brought up."""
    return (root / "current").exists() or (root / releases.VOLUME).is_file()


def new_volume(name: str, root: Path) -> str:
    """Return a name for a volume that is not there yet, and is not the live one's, should that be gone."""
    taken = docker_cli.docker("volume", "ls", "--format", "{{ .Name }}").split()
    taken += [releases.live_volume(root, name)] if known(root) else []
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
    if volume and not (known(root) and volume == releases.live_volume(root, name)):
        dumps.removed(f"{name}-restore", volume)
    (root / releases.RESTORING).unlink(missing_ok=True)


def create(settings: Mapping[str, Any], root: Path, name: str, source: str, volume: str, before: str) -> None:
    """Make a volume that is not live, and say so, for the next run to remove."""
    told = {
        "com.docker.compose.project": name, "com.docker.compose.volume": "postgres_data",
        "drydock.database": settings["database"], "drydock.user": settings["user"], **({BEFORE: before} if before else {}),
    }  # fmt: skip
    releases.write_durably(root / releases.RESTORING, json.dumps({"volume": volume, "dump": source}).encode(), 0o600)
    docker_cli.docker("volume", "create", *(f"--label={key}={value}" for key, value in told.items()), volume)


def fill(
    settings: Mapping[str, Any], root: Path, name: str, dump: Path, manifest: Mapping[str, Any], volume: str, before: str = ""
) -> None:
    """Make the volume with the data of the dump, and prove that it is what was dumped; raises DataError.

    ``before`` is the volume with the data of the major version before, "" for none.
    """
    container = f"{name}-restore"
    create(settings, root, name, dump.name, volume, before)
    dumps.database_starts(settings, root, container, volume, manifest, durable=True)
    dumps.restore_into(settings, container, dump, manifest)
    apart = dumps.differences(container, manifest)
    if apart:
        raise dumps.DataError(f"{dump.name} was restored, and differs from what was dumped: {'; '.join(apart[:5])}")
    dumps.run(dumps.inside(container, "vacuumdb", "--analyze-only", "--quiet"), "The restored data cannot be analysed")
    docker_cli.docker("stop", "--time", "90", container)
    dumps.removed(container)


def too_late(log: str) -> str:
    """Return how far the log of a database says that its archive reaches, "" where it did not end for want of more."""
    if "recovery ended before configured recovery target was reached" not in log:
        return ""
    last = re.search(r"last completed transaction was at log time (\S+ \S+)", log)
    # At a time it ends before the first transaction that is later.
    reaches = f"the last transaction in it is of {last[1]}; use an earlier time than that" if last else "use an earlier time"
    return f"{reaches}, or latest for all that there is."


def fill_to(
    settings: Mapping[str, Any], root: Path, name: str, label: str, when: datetime.datetime | None, volume: str, before: str = ""
) -> dict[str, Any]:
    """Make the volume with the data as it was at a time, None for the latest, and read all of it; return what there is.

    Raises DataError.

    ``label`` is the backup of the archive to begin from; of what came later, that on its timeline counts. The archive is not
    written to: what the new timeline has is archived once it is live.
    """
    container = f"{name}-restore"
    own = {**settings, "image": archive.image_of(name, settings["image"])}
    create(settings, root, name, label, volume, before)
    head = archive.beside(settings, root)
    mounted = ["--name", container, "--mount", f"type=volume,source={volume},target={settings['mount']}"]
    beside = [*head[:-1], *mounted, head[-1]]
    # From 18 on it is below the mount, and pgBackRest does not make it.
    folder = archive.data_folder(settings["mount"], dumps.major(settings["image"]))
    dumps.run([*beside, "mkdir", "--parents", "--mode=0700", folder], f"{folder} cannot be made in the volume {volume}")
    target = (
        ["--type=time", f"--target={when:%Y-%m-%d %H:%M:%S.%f}+00", "--target-action=promote"] if when else ["--type=default"]
    )
    archive.asked(
        beside, f"{label} cannot be restored from the archive", "restore", f"--set={label}", "--target-timeline=current", *target
    )
    server = ["-c", "hot_standby=off", "-c", "archive_mode=on", "-c", "archive_command="]
    mounts = archive.scratch(settings, root)
    try:
        dumps.database_starts(
            own, root, container, volume, {}, durable=True, more=mounts, server=server, timeout=RECOVERY_TIMEOUT
        )
    except dumps.DataError:
        if when and (why := too_late(docker_cli.run("logs", "--tail", "30", container, merged=True)[1])):
            raise dumps.DataError(f"The archive does not reach {when:{dumps.TIME}}: {why}") from None
        raise
    # Who owns what, the password, and who is asked for it, are those of then.
    dumps.owned(container, settings["user"])
    rotation.alter(container, settings["user"], rotation.current(root).read_text())
    rotation.let_in(container, settings["user"], [])
    with dumps.Session(container) as session:
        contents = session.contents()
        contents["until"] = session.rows("SELECT pg_last_xact_replay_timestamp();")[0]
        for setting in RECOVERED:
            session.rows(f"ALTER SYSTEM RESET {setting};")
    docker_cli.docker("stop", "--time", "90", container)
    dumps.removed(container)
    return contents
