#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade
short_description: Take the data of a stack to another major version of PostgreSQL, or back
version_added: "0.1.0"
description:
  - Says whether it can be done, or does it while nobody writes. The data is dumped by the programs of the new version, restored
    into a new volume, analysed, and compared - rows, checksums, sequences, large objects, roles, extensions and revision.
  - For the way back, the volume of before, given the password of now, takes the place of the one that is live.
  - The volume that is live until then is not touched. Which one is live is said by one file of the stack's folder; the release
    of the plan is filled in for it, and the database brought up by the step that follows.
options:
  state:
    description: >-
      C(ready) only looks, and refuses what cannot work; C(done) does it; C(forgotten) removes what is left of one, or of a
      restore, that was cut off.
    type: str
    choices: [ready, done, forgotten]
    required: true
  drain_timeout:
    description: Seconds that the application may take to finish its requests.
    type: float
    default: 30
  token:
    description: Token of the lock that the run holds; for C(done) and C(forgotten).
    type: str
    default: ""
  settings:
    description: What the role's variables say about the database; set by the controller's part of this module.
    type: dict
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.options.plan
  - drydock.stack.options.host
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Refuse what cannot be taken over
  drydock.stack.upgrade:
    name: shop
    root: /opt/shop
    plan: "{{ plan }}"
    host: "{{ host }}"
    state: ready
"""

RETURN = r"""
notes:
  description: What an operator has to know beforehand, one line each.
  returned: always
  type: list
  elements: str
dump:
  description: Name of the dump that was taken, or "".
  returned: always
  type: str
volume:
  description: Name of the volume that is live now, "" where none was changed.
  returned: always
  type: str
seconds:
  description: How long it took.
  returned: always
  type: float
"""

import json
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import (
    arguments,
    containers,
    docker_cli,
    dumps,
    lock,
    postgres,
    rotation,
)
from ansible_collections.drydock.stack.plugins.module_utils import release as releases
from ansible_collections.drydock.stack.plugins.module_utils.settings import postgres_mount
from ansible_collections.drydock.stack.plugins.module_utils.volumes import fill, forget, labels, new_volume

QUESTION = """
SELECT json_build_object('size', pg_database_size(current_database()),
  'extensions', (SELECT coalesce(json_agg(extname ORDER BY extname), '[]') FROM pg_extension),
  'others', (SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_database
    WHERE NOT datistemplate AND datname NOT IN ('postgres', current_database())),
  'altered', (SELECT coalesce(json_agg(DISTINCT name), '[]') FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf'))
"""
# What the image is, and which extensions it has.
# Seconds that it waits for a backup or a drill, which may take an hour; nobody is served meanwhile.
PATIENCE = 60
LOOK = "postgres --version; find /usr -path '*/extension/*.control'"


def image_of(reference, may_pull):
    """Return the major version of an image's server and its extensions, None where it is not here and may not be pulled."""
    if not may_pull and not docker_cli.inspect("image", "inspect", reference):
        return None
    first, *files = docker_cli.docker(
        "run", "--rm", "--network", "none", "--entrypoint", "sh", reference, "-c", LOOK
    ).splitlines()
    return int(first.split()[2].partition(".")[0]), {Path(file).stem for file in files}


def refusals(found, image, settings, host, free):
    """Return why the data cannot be taken over, one message each."""
    told = []
    if found["others"]:
        told.append(
            f"Beside {settings['database']} the server has the databases {', '.join(found['others'])}, which would stay behind; "
            "dump them, and drop them there."
        )
    if image:
        version, extensions = image
        if version != dumps.major(settings["image"]):
            told.append(f"fastapi_postgres_image is {settings['image']}, and what is in it is PostgreSQL {version}; use another.")
        if missing := [name for name in found["extensions"] if name not in extensions]:
            told.append(
                f"The database has the extensions {', '.join(missing)}, which {settings['image']} lacks; use an image that has "
                "them, or DROP EXTENSION what nobody needs."
            )
    newest = (host["backups"].get("backups") or [{}])[0]
    if newest.get("checksum") != "sound":
        told.append(
            f"The newest backup is {newest['name'] + ', which is not what was written' if newest else 'missing'}; make one with "
            "the playbook backup first."
        )
    # The dump, the new volume, and the WAL that making it takes.
    needed = found["size"] * 2.2 + 0.5 * dumps.GIGABYTE
    if free < needed:
        told.append(
            f"{needed / dumps.GIGABYTE:.1f} GB are needed for a dump and a new volume, and the host has "
            f"{free / dumps.GIGABYTE:.1f} GB free; make room: `docker system df` says what the engine holds."
        )
    return told


def ready(module, name, root, settings, host):
    """Return what an operator has to know; fails where it cannot be done."""
    if host["services"].get("db", {}).get("status") != "running":
        raise dumps.DataError("The database does not run, and cannot be dumped; bring it up with the image of before.")
    [answer] = postgres.query(postgres.Database(name, root), QUESTION)
    found, image = json.loads(answer), image_of(settings["image"], may_pull=not module.check_mode)
    told = refusals(found, image, settings, host, min(host["disk"].values()))
    if told:
        raise dumps.DataError("\n".join(told))
    notes = [] if image else [f"{settings['image']} is not on the host yet; which extensions it has is known then."]
    if found["altered"]:
        notes.append(
            f"Settings made by ALTER SYSTEM stay behind: {', '.join(found['altered'])}; give them as fastapi_postgres_settings."
        )
    return notes


def stop_application(name, timeout):
    """Stop whoever writes, once it has answered its requests."""
    for container in containers.slots(name):
        if containers.look(container)["State"]["Status"] == "running":
            containers.drain(name, container.removeprefix(f"{name}-").rpartition("-")[0], timeout)
            docker_cli.docker("stop", "--time", "30", container)


def take_over(name, root, settings, plan, volume, before):
    """Fill a new volume with the data of now, under the new image; return the dump's name."""
    with rotation.superuser(root, containers.name_of(name, "db"), settings["user"]) as login:
        manifest = dumps.make(settings, root, before=plan["id"], image=settings["image"], login=login)
    dump = root / "backups" / manifest["name"]
    dumps.room_for(manifest, dump, root)
    fill(settings, root, name, dump, manifest, volume, before)
    return dump.name


def tell_password(name, root, settings, image, volume):
    """Give the data of before the password of now, which may be another since."""
    # A rollback need not be given the names of the database and its role.
    found = labels(volume)
    known = {part: found.get(f"drydock.{part}", settings[part]) for part in ("database", "user")}
    container, own = f"{name}-restore", {**settings, **known, "image": image, "mount": postgres_mount(image)}
    # With less than this it does not start where there are logical slots, or prepared transactions.
    server = ["-c", "wal_level=logical", "-c", "max_replication_slots=1000", "-c", "max_prepared_transactions=1000"]
    dumps.database_starts(own, root, container, volume, {}, durable=True, server=server)
    # Which kind of cluster it is, nobody may have written down in it yet.
    dumps.owned(container, own["user"])
    rotation.alter(container, own["user"], releases.password(root))
    rotation.let_in(container, own["user"], [])
    docker_cli.docker("stop", "--time", "90", container)


def done(module, name, root, settings, plan):
    """Have another volume be live; return the dump's name, and that of the volume."""
    token, folder, dump = module.params["token"], root / "releases" / plan["id"], ""
    # The front door is closed already.
    with dumps.alone(root, "An upgrade", PATIENCE):
        lock.check(root, token)
        forget(name, root)
        before, volume = releases.live_volume(root, name), plan["volume"] or new_volume(name, root)
        if why := releases.ignores_volume(folder, name, volume):
            raise dumps.DataError(why)
        stop_application(name, module.params["drain_timeout"])
        try:
            if plan["upgrade"]:
                dump = take_over(name, root, settings, plan, volume, before)
            else:
                tell_password(name, root, settings, plan["postgres_image"], volume)
            lock.check(root, token)
            docker_cli.docker("stop", "--time", "90", containers.name_of(name, "db"))
            releases.write_durably(root / releases.VOLUME, f"{volume}\n".encode(), 0o644)
        finally:
            forget(name, root)
        releases.fill(folder, plan["slot"], releases.password(root), volume)
    return dump, volume


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            **arguments.PLAN,
            **arguments.HOST,
            "state": {"type": "str", "choices": ["ready", "done", "forgotten"], "required": True},
            "drain_timeout": {"type": "float", "default": 30},
            "token": {"type": "str", "default": "", "no_log": False},
            "settings": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    name, root, settings, plan = (module.params[key] for key in ("name", "root", "settings", "plan"))
    root, began, told = Path(root), time.monotonic(), {"notes": [], "dump": "", "volume": ""}
    try:
        if module.params["state"] == "ready":
            told["notes"] = ready(module, name, root, settings, module.params["host"])
        elif module.check_mode:
            pass
        elif module.params["state"] == "forgotten":
            lock.check(root, module.params["token"])
            forget(name, root)
        else:
            told["dump"], told["volume"] = done(module, name, root, settings, plan)
    except lock.LockLostError as error:
        module.fail_json(msg=str(error))
    except (dumps.DataError, docker_cli.EngineError, postgres.DatabaseError) as error:
        module.fail_json(msg=f"The data of {name} is not taken over. {error}")
    except OSError as error:
        module.fail_json(msg=f"The data of {name} is not taken over. {error.filename or root}: {error.strerror or error}")
    module.exit_json(changed=module.params["state"] != "ready", seconds=round(time.monotonic() - began, 1), **told)


if __name__ == "__main__":
    main()
