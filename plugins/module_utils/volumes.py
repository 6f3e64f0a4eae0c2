# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""Volumes with the data of a stack: new ones, filled from a dump or from the archive, and looked into, before they are live."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.drydock.stack.plugins.module_utils import archive, docker_cli, dumps, rotation
from ansible_collections.drydock.stack.plugins.module_utils import release as releases

# Seconds that a database may take to go through its log; a day of many writes takes an hour.
RECOVERY_TIMEOUT = 12 * 3600
# What pgBackRest has the database do at its first start, which is over.
RECOVERED = ("restore_command", "recovery_target_time", "recovery_target_action", "recovery_target_timeline")

# What PostgreSQL says, and pgBackRest, where the timeline of the archive's end does not come out of the backup.
NO_CHILD = re.compile("is not a child of this server's history|forked from backup timeline|not in the history of target timeline")

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
    taken = docker_cli.volumes()
    taken += [releases.live_volume(root, name)] if known(root) else []
    first, number = releases.first_volume(name), 2
    if first not in taken and not any(volume.startswith(f"{first}_") for volume in taken):
        return first
    while f"{first}_{number}" in taken:
        number += 1
    return f"{first}_{number}"


def forget(name: str, root: Path) -> None:
    """Remove what a restore that was cut off left behind; what is live stays, and the note of it if it is a part of the data.

    On a bare host the volume is live once all of the data is in it, and nothing was there before.
    """
    half, volume = partial(root), dumps.read_json(root / releases.RESTORING).get("volume", "")
    live = volume == releases.live_volume(root, name) and (known(root) or not half)
    dumps.removed(f"{name}-restore")
    if volume and not live:
        dumps.removed(f"{name}-restore", volume)
    if not (live and half):
        (root / releases.RESTORING).unlink(missing_ok=True)


def create(settings: Mapping[str, Any], root: Path, name: str, volume: str, before: str) -> None:
    """Make a volume that is not live, and say so, for the next run to remove."""
    told = {
        "com.docker.compose.project": name, "com.docker.compose.volume": "postgres_data",
        "drydock.database": settings["database"], "drydock.user": settings["user"], **({BEFORE: before} if before else {}),
    }  # fmt: skip
    note(root, volume, filling=True)
    docker_cli.docker("volume", "create", *(f"--label={key}={value}" for key, value in told.items()), volume)


def note(root: Path, volume: str, filling: bool) -> None:
    """Write down which volume is being made, and whether a part of the data is all that it may have."""
    told = {"volume": volume, "filling": filling}
    releases.write_durably(root / releases.RESTORING, json.dumps(told).encode(), 0o600)


def partial(root: Path) -> str:
    """Return the volume that holds a part of the data, as who filled it was cut off, "" for none."""
    under_way = dumps.read_json(root / releases.RESTORING)
    # Versions of before did not note it; what they had brought up was whole.
    return under_way.get("volume", "") if under_way.get("filling", not known(root)) else ""


def fill(
    settings: Mapping[str, Any], root: Path, name: str, dump: Path, manifest: Mapping[str, Any], volume: str, before: str = ""
) -> None:
    """Make the volume with the data of the dump, and prove that it is what was dumped; raises DataError.

    ``before`` is the volume with the data of the major version before, "" for none.
    """
    container = f"{name}-restore"
    create(settings, root, name, volume, before)
    dumps.database_starts(settings, root, container, volume, manifest, durable=True)
    dumps.restore_into(settings, container, dump, manifest)
    apart = dumps.differences(container, manifest)
    if apart:
        raise dumps.DataError(f"{dump.name} was restored, and differs from what was dumped: {'; '.join(apart[:5])}")
    dumps.run(dumps.inside(container, "vacuumdb", "--analyze-only", "--quiet"), "The restored data cannot be analysed")
    docker_cli.docker("stop", "--time", "90", container)
    dumps.removed(container)
    note(root, volume, filling=False)


def too_late(log: str) -> str:
    """Return how far the log of a database says that its archive reaches, "" where it did not end for want of more."""
    if "recovery ended before configured recovery target was reached" not in log:
        return ""
    last = re.search(r"last completed transaction was at log time (\S+ \S+)", log)
    # At a time it ends before the first transaction that is later.
    reaches = f"the last transaction in it is of {last[1]}; use an earlier time than that" if last else "use an earlier time"
    return f"{reaches}, or latest for all that there is."


class Target(NamedTuple):
    """Up to where an archive is to be restored from a backup whose last segment is ``begin``: a time, or None for the ``end``.

    To a time, what the timeline of the backup has counts. The end is on another one where the database was taken back to a time
    since, and no backup followed.
    """

    when: datetime.datetime | None
    end: str
    begin: str

    def options(self) -> list[str]:
        if self.when:
            at = f"--target={self.when:%Y-%m-%d %H:%M:%S.%f}+00"
            return ["--target-timeline=current", "--type=time", at, "--target-action=promote"]
        same = self.end[:8] in ("", self.begin[:8])
        return [f"--target-timeline={'current' if same else int(self.end[:8], 16)}", "--type=default"]

    def unreached(self, log: str) -> str:
        """Return why a database did not get there, by its log, "" where that does not say it."""
        if self.when and (why := too_late(log)):
            return f"The archive does not reach {self.when:{dumps.TIME}}: {why}"
        if not self.when and NO_CHILD.search(log):
            return (
                "What was archived last does not come out of the newest backup, as the database was taken back to a time since; "
                "give a time as fastapi_restore_target_time."
            )
        return ""

    def missed(self, last: str) -> str:
        """Return why the last segment that was gone through is not the archive's end, "" where it is, or is not to be."""
        if self.when or last[8:] >= self.end[8:]:
            return ""
        return (
            f"The archive ends with {self.end}, and could be read up to {last} alone; see that the repository is whole and can "
            "be read, or give a time of before as fastapi_restore_target_time."
        )


def fill_to(
    settings: Mapping[str, Any], root: Path, name: str, label: str, target: Target, volume: str, before: str = ""
) -> dict[str, Any]:
    """Make the volume with the data as it was, and read all of it; return what there is. Raises DataError.

    ``label`` is the backup of the archive to begin from. The archive is not written to: what the new timeline has is archived
    once it is live.
    """
    container = f"{name}-restore"
    own = {**settings, "image": archive.image_of(name, settings["image"])}
    create(settings, root, name, volume, before)
    head = archive.beside(settings, root)
    mounted = ["--name", container, "--mount", f"type=volume,source={volume},target={settings['mount']}"]
    beside = [*head[:-1], *mounted, head[-1]]
    # From 18 on it is below the mount, and pgBackRest does not make it.
    folder = archive.data_folder(settings["mount"], dumps.major(settings["image"]))
    dumps.run([*beside, "mkdir", "--parents", "--mode=0700", folder], f"{folder} cannot be made in the volume {volume}")
    try:
        archive.asked(beside, f"{label} cannot be restored from the archive", "restore", f"--set={label}", *target.options())
    except dumps.DataError as error:
        raise dumps.DataError(target.unreached(str(error)) or str(error)) from None
    server = ["-c", "hot_standby=off", "-c", "archive_mode=on", "-c", "archive_command="]
    mounts = archive.scratch(settings, root)
    try:
        dumps.database_starts(
            own, root, container, volume, {}, durable=True, more=mounts, server=server, timeout=RECOVERY_TIMEOUT
        )
    except dumps.DataError:
        if why := target.unreached(docker_cli.run("logs", "--tail", "30", container, merged=True)[1]):
            raise dumps.DataError(why) from None
        raise
    with dumps.Session(container) as session:
        if why := target.missed(session.rows("SELECT pg_walfile_name(pg_last_wal_replay_lsn() - 1);")[0]):
            raise dumps.DataError(why)
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
    note(root, volume, filling=False)
    return contents
