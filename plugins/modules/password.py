#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: password
short_description: Change the password of a stack's database while the application serves
version_added: "0.1.0"
description:
  - With O(state=changed) makes a new password, has the database take it, and keeps it as the host's. The containers of the
    application that run meanwhile are let in without one, by their addresses, until O(state=settled).
  - With O(state=undone) all is as it was before.
options:
  state:
    description: How far the rotation is to be.
    type: str
    choices: [changed, settled, undone]
    required: true
  database_password:
    description: The new password, where it is given; set by the controller's part of this module.
    type: str
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.options.token
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the database has another password
  drydock.stack.password:
    name: shop
    root: /opt/shop
    state: changed
    token: "{{ lock.token }}"
"""

RETURN = r"""
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import (
    arguments,
    containers,
    docker_cli,
    dumps,
    lock,
    rotation,
    volumes,
)
from ansible_collections.drydock.stack.plugins.module_utils import release as releases


def addresses(name):
    """Return where the containers of the application are in the database's network."""
    found = []
    for container in containers.slots(name):
        networks = containers.look(container)["NetworkSettings"]["Networks"]
        found += [network["IPAddress"] for network in networks.values() if network["IPAddress"]]
    return sorted(found)


def variables(name, root):
    """Return what the container of the live slot was given, in its environment or as files, [] where there is none."""
    found = [containers.look(containers.name_of(name, f"app-{slot}")) for slot in releases.live(root)[-1:]]
    given = []
    for container in filter(None, found):
        given += container["Config"]["Env"] or []
        # The release's own files may be others by now.
        files = Path("/proc", str(container["State"]["Pid"]), f"root{releases.SECRETS_IN_CONTAINER}").glob("*")
        given += [f"{file.name}={file.read_text(errors='replace')}" for file in files if file.is_file()]
    return given


def refusal(root, given):
    """Return why the password cannot be changed to the given one, "" where it can."""
    if given and not (given.isascii() and given.isprintable()):
        return (
            "fastapi_database_password holds other characters than those of ASCII; give another, or leave it out and one is made."
        )
    kept = rotation.current(root)
    if given and kept.exists() and kept.read_text() == given and not rotation.under_way(root):
        return "fastapi_database_password is the password of now; give the new one, or leave it out and one is made."
    return ""


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "state": {"type": "str", "choices": ["changed", "settled", "undone"], "required": True},
            **arguments.TOKEN,
            "database_password": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    name, root, state = module.params["name"], Path(module.params["root"]), module.params["state"]
    database, given = containers.name_of(name, "db"), module.params["database_password"]
    elsewhere = releases.recorded(root / "current").get("database")
    if elsewhere:
        module.fail_json(
            msg=f"The database of {name} is on {elsewhere['host']}; change the password there, and give it to a deploy as "
            "fastapi_database_password."
        )
    if why := refusal(root, given) if state == "changed" else "":
        module.fail_json(msg=why)
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        lock.check(root, module.params["token"])
        role = volumes.owner(root, name)
        if state == "changed":
            rotation.begin(root, database, role, addresses(name), given, variables(name, root))
        elif state == "undone":
            rotation.undo(root, database, role, variables(name, root))
            slot, password = releases.live(root)[-1], rotation.current(root).read_text()
            releases.fill((root / "current").resolve(), slot, password, releases.live_volume(root, name))
        else:
            rotation.end(root, database, role)
    except (lock.LockLostError, docker_cli.EngineError, dumps.DataError, OSError) as error:
        module.fail_json(msg=f"The password of {name}'s database: {error}")
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
