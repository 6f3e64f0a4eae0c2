#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: rollback_plan
short_description: Decide which earlier release of a stack is to run again, and where
version_added: "0.1.0"
description:
  - Takes the release that served last before the current one and was not rolled back from, or the one that is named, and says
    what M(drydock.stack.plan) says of a new one. Nothing is changed.
  - With O(same), takes the current release once more, for the other slot.
  - Refuses a release that does not know the migrations which the database has been through since, and one whose
    data is elsewhere.
options:
  release:
    description: Id of the release, "" for the last good one.
    type: str
    default: ""
  leaving:
    description: Id of the release that was to be left before another run came, "" where none did.
    type: str
    default: ""
  same:
    description: Whether the current release is to run again, in the other slot.
    type: bool
    default: false
  ignore_migrations:
    description: Whether a release is taken that does not know the database's revision.
    type: bool
    default: false
  confirm:
    description: Name of the stack, where the release needs the data from before an upgrade, without what was written since.
    type: str
    default: ""
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.options.host
  - drydock.stack.attributes.reads
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Decide what is to run again
  drydock.stack.rollback_plan:
    name: shop
    root: /opt/shop
    host: "{{ host }}"
  register: plan
"""

RETURN = r"""
id:
  description: Id of the release; all that M(drydock.stack.plan) returns stands beside it.
  returned: always
  type: str
rolled_back:
  description: Id of the release that is replaced.
  returned: always
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import arguments, dumps, postgres, volumes
from ansible_collections.drydock.stack.plugins.module_utils.release import unknown_revisions
from ansible_collections.drydock.stack.plugins.module_utils.state import last_good, other_slot, slot_for

RECORDED = (
    "image",
    "caddy_image",
    "postgres_image",
    "revision",
    "dirty",
    "own_dockerfile",
    "sample",
    "probe",
    "migrations",
    "migrate_command",
    "database",
)


def chosen(host, wanted, leaving=""):
    """Return the id of the release to go back to; raises ValueError with what the operator is to do."""
    served = sorted(
        (name for name, record in host["releases"].items() if record),
        key=lambda name: host["releases"][name]["number"],
        reverse=True,
    )
    others = ", ".join(name for name in served if name != host["current"]) or "none"
    if not host["current"]:
        raise ValueError("No release serves, so that there is nothing to roll back from; deploy one.")
    if not wanted and leaving not in ("", host["current"]):
        raise ValueError(
            f"{leaving} was to be rolled back from, and another run has made {host['current']} the current release meanwhile; "
            f"run it again to go back from that one, too, or name one as fastapi_release: {others}."
        )
    if not wanted:
        wanted = last_good(host["releases"], host["current"])
        if not wanted:
            raise ValueError(
                f"No release served before {host['current']} that was not rolled back from; use one as fastapi_release: {others}."
            )
    elif wanted == host["current"]:
        raise ValueError(f"fastapi_release is {wanted}, which is the current release; use another: {others}.")
    elif wanted not in served:
        raise ValueError(f"fastapi_release is {wanted}, and no such release has served on this host; use one of: {others}.")
    return wanted


def other_data(host, identity, record):
    """Return the volume that holds the data of the release's major version, "" for the live one; raises ValueError."""
    volume, version = host["volume"], dumps.major(record.get("postgres_image", ""))
    if record["database"] or not volume["major"] or not version or int(volume["major"]) == version:
        return ""
    before = volumes.labels(volume["name"]).get(volumes.BEFORE, "")
    if before not in host["other_volumes"]:
        raise ValueError(
            f"The release {identity} is of PostgreSQL {version}, the data of now of {volume['major']}, and the volume of before, "
            f"{before or 'if there was one'}, is gone; use a release of PostgreSQL {volume['major']} as fastapi_release."
        )
    return before


def place(record):
    """Return where a release has its data, as words."""
    database = record["database"]
    return f"the database {database['name']} on {database['host']}" if database else "the stack's own database"


def refusal(database, folder, record):
    """Return why the release cannot run on the database as it is, "" where it can."""
    if not record.get("migrations"):
        return ""
    revision = postgres.revision(database)
    if not revision:
        return "" if not record.get("database_revision") else "The database's revision cannot be read, as it does not run"
    unknown = unknown_revisions(folder, revision)
    if not unknown:
        return ""
    return (
        f"The database is at revision {', '.join(unknown)}, which the release {folder.name} does not know "
        f"(it served at {record.get('database_revision') or 'none'})"
    )


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            **arguments.HOST,
            "release": {"type": "str", "default": ""},
            "leaving": {"type": "str", "default": ""},
            "same": {"type": "bool", "default": False},
            "ignore_migrations": {"type": "bool", "default": False},
            "confirm": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    host, root = module.params["host"], Path(module.params["root"])
    if module.params["same"] and not host["current"]:
        module.fail_json(msg="No release serves; deploy one.")
    try:
        identity = host["current"] if module.params["same"] else chosen(host, module.params["release"], module.params["leaving"])
    except ValueError as error:
        module.fail_json(msg=str(error))
    folder, record = root / "releases" / identity, host["releases"][identity]
    if place(record) != place(host["releases"][host["current"]]):
        module.fail_json(
            msg=f"The release {identity} has its data in {place(record)}, and the current one in "
            f"{place(host['releases'][host['current']])}; deploy its source with the settings of now."
        )
    try:
        volume = other_data(host, identity, record)
    except ValueError as error:
        module.fail_json(msg=str(error))
    if volume and module.params["confirm"] != module.params["name"] and not module.check_mode:
        module.fail_json(
            msg=f"The release {identity} is of another PostgreSQL than the data of now; with it the data is live again that is "
            f"in {volume}, from before the upgrade, and what was written since is not in it. fastapi_upgrade_confirm is "
            f"{module.params['confirm'] or 'not set'}; where that is meant, name the stack: {module.params['name']}."
        )
    database = postgres.Database(module.params["name"], root, record["database"])
    why = "" if module.params["same"] or volume else refusal(database, folder, record)
    if why and not module.params["ignore_migrations"]:
        module.fail_json(
            msg=f"{why}. Migrate it down by hand, restore a dump of before, or set fastapi_rollback_ignore_migrations where the "
            "release works with it all the same."
        )
    slot = other_slot(host["live"]) if module.params["same"] else slot_for(host, identity)
    service = host["services"].get(f"app-{slot}", {})
    module.exit_json(
        changed=False,
        id=identity,
        slot=slot,
        folder=str(folder),
        migrate=[],
        remote=record["source"],
        running=not module.params["same"] and service.get("release") == identity and service.get("status") == "running",
        converged=False,
        upgrade=False,
        volume=volume,
        rolled_back="" if module.params["same"] else host["current"],
        **{key: record.get(key, "") for key in RECORDED},
    )


if __name__ == "__main__":
    main()
