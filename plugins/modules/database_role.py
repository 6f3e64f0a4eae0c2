#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: database_role
short_description: Ensure that the application's role owns its database and nothing else
version_added: "0.2.0"
description:
  - Of a cluster that was just made by its superuser, gives the database to the application's role, which may log in and has no
    other rights, and takes the superuser's password away, so that it comes in over the socket alone.
  - Leaves a cluster of before as it is, whose superuser the application's role is. Writes down in the data who the superuser is.
options:
  user:
    description: The application's role where neither the volume nor the host says it.
    type: str
    default: ""
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.options.token
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the application's role owns its database, and nothing else
  drydock.stack.database_role:
    name: shop
    root: /opt/shop
    user: shop
    token: "{{ lock.token }}"
"""

RETURN = r"""
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import arguments, containers, docker_cli, dumps, lock, volumes


def main():
    module = AnsibleModule(
        argument_spec={**arguments.STACK, "user": {"type": "str", "default": ""}, **arguments.TOKEN}, supports_check_mode=True
    )
    name, root = module.params["name"], Path(module.params["root"])
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        lock.check(root, module.params["token"])
        role = volumes.owner(root, name) or module.params["user"]
        changed = bool(role) and dumps.owned(containers.name_of(name, "db"), role)
    except (lock.LockLostError, docker_cli.EngineError, dumps.DataError) as error:
        module.fail_json(msg=f"The database of {name}: {error}")
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
