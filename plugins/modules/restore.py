#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: Restore the database of a stack from a backup
version_added: "0.1.0"
description:
  - Restores a backup into a new volume while the old data serves, compares it with what was counted when it was dumped, and then
    has the stack use it. The old volume stays.
  - Which volume is live is said by one file of the stack's folder, so that there is no moment at which it is neither. Where the
    stack does not come up on the new volume, the old one is live again.
  - With O(target_time) the data is that of the archive at that time; the image that C(drydock.stack.archive) makes is needed.
  - On a host without the stack the volume is made, and used by the deploy that follows.
options:
  source:
    description: Name of a dump in C(backups), path of one on the host, C(copy) or C(copy:<name>) for one that was copied off the
      host; "" for the newest one on the host.
    type: str
    default: ""
  target_time:
    description: Time with a zone that the database is taken back to, C(latest) for all that the archive holds, "" for a dump.
    type: str
    default: ""
  identity:
    description: File on the host with the key of age that reads encrypted copies.
    type: str
    default: ""
  timeout:
    description: Seconds that the application may take to become healthy.
    type: float
    default: 60
  database_password:
    description: The database's password, where it is given; set by the controller's part of this module.
    type: str
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.options.token
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Restore the newest backup
  drydock.stack.restore:
    name: shop
    root: /opt/shop
    token: "{{ lock.token }}"
"""

RETURN = r"""
dump:
  description: Name of the dump, or of the archive's backup that was begun from.
  returned: always
  type: str
volume:
  description: Name of the volume that is live now.
  returned: always
  type: str
runs:
  description: Whether there is a stack that uses the data by now; where there is none, a deploy brings it up.
  returned: always
  type: bool
before:
  description: Name of the volume that was live before, "" for none.
  returned: always
  type: str
until:
  description: When the last transaction in it was committed, "" for a dump.
  returned: when not in check mode
  type: str
rows:
  description: How many rows were counted in it, -1 where the dump has no manifest to compare with.
  returned: when not in check mode
  type: int
seconds:
  description: How long all of it took.
  returned: when not in check mode
  type: float
seconds_away:
  description: How long the application was stopped.
  returned: when not in check mode
  type: float
"""

import contextlib
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import (
    archive,
    arguments,
    containers,
    docker_cli,
    dumps,
    hiding,
    lock,
    postgres,
)
from ansible_collections.drydock.stack.plugins.module_utils import release as releases
from ansible_collections.drydock.stack.plugins.module_utils.asking import Probe
from ansible_collections.drydock.stack.plugins.module_utils.volumes import (
    BEFORE,
    Target,
    fill,
    fill_to,
    forget,
    labels,
    new_volume,
    note,
    partial,
)

# Seconds that the database may take to answer on a volume that it was stopped on in order.
DATABASE_TIMEOUT = 300


def compose(folder, *arguments):
    """Run Compose for as long as it takes; a migration of much data takes hours. Raises DataError."""
    command = ["docker", "compose", "--progress", "quiet", "--project-directory", str(folder), *arguments]
    return dumps.run(command, f"docker compose {arguments[0]}")


def chosen(settings, root, source, identity):
    """Return the dump to restore; raises DataError."""
    if source == "copy" or source.startswith("copy:"):
        if not settings["copy_to"]:
            raise dumps.DataError(f"fastapi_restore_from is {source}, and fastapi_backup_copy_to is not set; set it.")
        return dumps.fetch(settings, root, source.partition(":")[2], identity)
    if source:
        return Path(source) if source.startswith("/") else root / "backups" / source
    found = dumps.dumps(root / "backups")
    if not found:
        raise dumps.DataError(f"There is no backup in {root}/backups; give one as fastapi_restore_from.")
    return found[0]


def backup_before(settings, root, name, when):
    """Return the backup of the archive to begin from, for None the newest, and the last segment then; raises DataError."""
    if not settings.get("pitr"):
        raise dumps.DataError("There is no archive to restore a time from; fastapi_pitr_enabled is false.")
    if when and when > dumps.now():
        raise dumps.DataError(
            f"fastapi_restore_target_time is {when:{dumps.TIME}}, and now it is {dumps.now():{dumps.TIME}}; use a time of before."
        )
    if (containers.look(containers.name_of(name, "db")) or {}).get("State", {}).get("Running"):
        # Where that fails, the archive may have what is needed all the same, which is seen in the end.
        with contextlib.suppress(dumps.DataError):
            archive.flushed(settings)
    head = archive.beside(settings, root)
    found = archive.read(settings, head)
    backup = archive.chosen(found, when or dumps.now(), settings["image"])
    return backup, "" if when else archive.end(settings, head, found, backup)


def runs(root, name):
    """Tell whether there is a stack that is to use other data; where its own is gone, a deploy brings it up on the restored."""
    live = releases.live_volume(root, name)
    return (root / "current").exists() and live in docker_cli.volumes() and live != partial(root)


def ignores(root, name, volume):
    """Return why the release of now would not bring up the volume, "" where it does, or there is none."""
    current = root / "current"
    return releases.ignores_volume(current, name, volume) if current.exists() else ""


def image_refusal(root, image):
    """Return why a volume that is made by the image is none for the release that serves, "" where it is."""
    current = root / "current"
    serves = releases.recorded(current).get("postgres_image", "")
    if dumps.major(image) == dumps.major(serves) or not dumps.major(serves):
        return ""
    return (
        f"fastapi_postgres_image is {image}, and the release {current.resolve().name}, which serves, has {serves}; restore with "
        "that, and take the data to another version with the playbook upgrade_postgres then."
    )


def revision_refusal(root, manifest):
    """Return why the release that serves cannot run on the restored data, "" where it can."""
    current = root / "current"
    record = releases.recorded(current)
    unknown = releases.unknown_revisions(current, manifest.get("revision", "")) if record.get("migrations") else []
    if not unknown:
        return ""
    knowing = [
        folder.name
        for folder in (root / "releases").iterdir()
        if releases.recorded(folder) and not releases.unknown_revisions(folder, " ".join(unknown))
    ]
    return (
        f"The dump is at revision {', '.join(unknown)}, which the release {current.resolve().name} does not know; deploy "
        f"one that does, or roll back to it ({', '.join(knowing) or 'none of those on the host'}), and restore then."
    )


def migration(record):
    """Return the command that migrates the database of a release; those of an earlier version did not record it."""
    command = record.get("migrate_command", "")
    return command if isinstance(command, list) else postgres.ALEMBIC if record.get("migrations") else []


class Swap:
    """Has a stack that runs use another volume."""

    def __init__(self, name, root, timeout):
        self.name, self.root, self.timeout = name, root, timeout
        self.folder, self.slot = (root / "current").resolve(), releases.live(root)[-1]
        self.app = f"app-{self.slot}"
        self.record = releases.recorded(self.folder)

    def to(self, volume):
        """Write down which volume is live, and bring the database up on it."""
        password = (self.root / "secrets" / "database_password").read_text()
        releases.write_durably(self.root / releases.VOLUME, f"{volume}\n".encode(), 0o644)
        releases.fill(self.folder, self.slot, password, volume)
        compose(self.folder, "up", "--detach", "--no-deps", "--wait", "--wait-timeout", str(DATABASE_TIMEOUT), "db")

    def migrate(self):
        """Bring data of before to the release's migrations, by the command that the release was deployed with."""
        command = migration(self.record)
        if command == postgres.ALEMBIC and postgres.revision(postgres.Database(self.name, self.root)) == self.record.get(
            "database_revision"
        ):
            return
        if command:
            # What a restore that was cut off has left of it.
            docker_cli.docker("rm", "--force", f"{self.name}-migrate", check=False)
            one_off = ["run", "--rm", "--no-deps", "--no-TTY", "--name", f"{self.name}-migrate", self.app]
            compose(self.folder, *one_off, *command)

    def serve(self):
        """Start the application, and ask it as a client would; raises DataError."""
        compose(self.folder, "up", "--detach", "--no-deps", "--wait", "--wait-timeout", str(int(self.timeout)), self.app)
        why = Probe(self.record["probe"], self.root).until(self.slot, 30)
        if why:
            raise dumps.DataError(why)

    def run(self, volume):
        """Use the volume, or go on with the one of before; raises DataError."""
        before = releases.live_volume(self.root, self.name)
        docker_cli.docker("stop", containers.name_of(self.name, self.app), check=False)
        try:
            self.to(volume)
            self.migrate()
            self.serve()
        except (docker_cli.EngineError, dumps.DataError, OSError) as error:
            self.to(before)
            self.serve()
            raise dumps.DataError(
                f"The stack did not come up on the restored data, and runs on that of before: {error}"
            ) from error


class Dump:
    """The data of a dump, as it is counted in its manifest."""

    def __init__(self, settings, root, source, identity):
        self.settings, self.root = settings, root
        self.dump = chosen(settings, root, source, identity)
        self.name, self.manifest = self.dump.name, dumps.sound(self.dump)
        dumps.belongs(settings, self.manifest, self.dump)
        dumps.room_for(self.manifest, self.dump, root)

    def refusal(self, runs):
        """Return why the stack cannot run on it, "" where it can."""
        return revision_refusal(self.root, self.manifest) if runs else ""

    def fill(self, name, volume, before, runs):
        """Make the volume; return how many rows there are, -1 where it is not known, and "" for the time."""
        fill(self.settings, self.root, name, self.dump, self.manifest, volume, before)
        return (sum(self.manifest["rows"].values()) if self.manifest else -1), ""

    def live(self):
        """Note that the dump has been proven."""
        at = f"{dumps.now():{dumps.TIME}}"
        if self.manifest:
            dumps.change_state(self.root, proof={"name": self.name, "at": at, "ok": True, "message": ""}, proven=at)


class Moment:
    """The data as it was at a time, out of the archive."""

    def __init__(self, settings, root, name, text):
        self.settings, self.root, self.when = settings, root, None if text == archive.LATEST else archive.moment(text)
        self.backup, self.end = backup_before(settings, root, name, self.when)
        self.name = self.backup["label"]
        dumps.room_for({"size": self.backup["info"]["size"]}, Path(self.name), root)

    def refusal(self, runs):
        """Which revision it is at is known once it is restored."""
        return ""

    def fill(self, name, volume, before, runs):
        """Make the volume; return how many rows there are, and when the last transaction in it was committed."""
        target = Target(self.when, self.end, self.backup["archive"]["stop"])
        found = fill_to(self.settings, self.root, name, self.name, target, volume, before)
        if refusal := revision_refusal(self.root, found) if runs else "":
            raise dumps.DataError(refusal)
        return sum(found["rows"].values()), found["until"]

    def live(self):
        """A dump is not proven by it."""


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "source": {"type": "str", "default": ""},
            "target_time": {"type": "str", "default": ""},
            "identity": {"type": "str", "default": ""},
            "timeout": {"type": "float", "default": 60},
            **arguments.TOKEN,
            "database_password": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    name, root = module.params["name"], Path(module.params["root"])
    settings = dumps.read_json(root / dumps.SETTINGS)
    if module.check_mode:
        try:
            module.exit_json(changed=True, dump=module.params["source"], volume="", before="", runs=runs(root, name))
        except docker_cli.EngineError as error:
            module.fail_json(msg=str(error))
    if not settings:
        module.fail_json(msg=f"There is no {root / dumps.SETTINGS}, which a deploy writes; deploy the stack first.")
    if settings.get("elsewhere"):
        module.fail_json(
            msg=f"The database of {name} is on {settings['elsewhere']['host']}; restore it there, from a dump in {root}/backups."
        )
    began = time.monotonic()
    try:
        with dumps.alone(root, "A restore"):
            lock.check(root, module.params["token"])
            serves, half = runs(root, name), partial(root)
            if why := image_refusal(root, settings["image"]) if serves else "":
                raise dumps.DataError(why)
            forget(name, root)
            target = module.params["target_time"]
            data = (
                Moment(settings, root, name, target)
                if target
                else Dump(settings, root, module.params["source"], module.params["identity"])
            )
            volume, before = new_volume(name, root), releases.live_volume(root, name)
            refusal = data.refusal(serves) or ignores(root, name, volume)
            if refusal:
                raise dumps.DataError(refusal)
            releases.keep_password(root, module.params["database_password"])
            try:
                rows, until = data.fill(name, volume, labels(before).get(BEFORE, ""), serves)
                lock.check(root, module.params["token"])
                away = time.monotonic()
                if serves:
                    Swap(name, root, module.params["timeout"]).run(volume)
                else:
                    releases.write_durably(root / releases.VOLUME, f"{volume}\n".encode(), 0o644)
            finally:
                forget(name, root)
                if half == releases.live_volume(root, name):
                    note(root, half, filling=True)
            data.live()
    except (dumps.DataError, docker_cli.EngineError, lock.LockLostError) as error:
        # Among it may be what a migration, or the application, said.
        module.fail_json(msg=f"Nothing was restored. {hiding.hider(root)(str(error))}")
    except OSError as error:
        module.fail_json(
            msg=f"Nothing was restored. {error.filename or root} cannot be read or written: {error.strerror or error}"
        )
    module.exit_json(
        changed=True,
        dump=data.name,
        volume=volume,
        before=before if serves else "",
        runs=serves,
        rows=rows,
        until=until,
        seconds=round(time.monotonic() - began, 1),
        seconds_away=round(time.monotonic() - away, 1) if serves else 0.0,
    )


if __name__ == "__main__":
    main()
