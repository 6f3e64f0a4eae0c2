#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: drill
short_description: Prove the newest backup of a stack by restoring it
version_added: "0.1.0"
description:
  - Restores the newest backup into a database container beside the live one, on a volume of its own and without a network,
    compares it with what was counted when it was dumped, checks it with C(pg_amcheck), and removes it.
  - It is what the host's timer does. Waits for a backup or a migration.
options:
  root:
    description: Folder of the stack.
    type: path
    required: true
  wait:
    description: Seconds to wait for another one.
    type: float
    default: 3600
extends_documentation_fragment:
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Prove the newest backup
  drydock.stack.drill:
    root: /opt/shop
"""

RETURN = r"""
name:
  description: Name of the dump.
  returned: when not in check mode
  type: str
seconds:
  description: How long it took.
  returned: when not in check mode
  type: float
rows:
  description: How many rows were counted in it.
  returned: when not in check mode
  type: int
amcheck:
  description: What C(pg_amcheck) found.
  returned: when not in check mode
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import dumps


def main():
    module = AnsibleModule(
        argument_spec={"root": {"type": "path", "required": True}, "wait": {"type": "float", "default": 3600}},
        supports_check_mode=True,
    )
    root = Path(module.params["root"])
    settings = dumps.read_json(root / dumps.SETTINGS)
    if not settings:
        module.fail_json(msg=f"There is no {root / dumps.SETTINGS}, which a deploy writes; deploy the stack first.")
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        told = dumps.drill(settings, root, module.params["wait"])
    except (dumps.DataError, OSError) as error:
        module.fail_json(msg=f"The drill of {settings['name']} failed: {error}")
    module.exit_json(changed=True, **{key: told[key] for key in ("name", "seconds", "rows", "amcheck")})


if __name__ == "__main__":
    main()
