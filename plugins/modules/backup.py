#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Back up the database of a stack
version_added: "0.1.0"
description:
  - Dumps the database into C(backups) of the stack's folder, reads all backups there again, removes those that need not stay,
    and copies what has to be copied, as the settings say that a deploy has left on the host.
  - It is what the host's timer does. Waits for another backup, drill or migration.
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
- name: Back the database up
  drydock.stack.backup:
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
bytes:
  description: Size of the dump.
  returned: when not in check mode
  type: int
removed:
  description: Names of the dumps that did not have to stay.
  returned: when not in check mode
  type: list
  elements: str
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
        told = dumps.backup(settings, root, module.params["wait"])
    except (dumps.DataError, OSError) as error:
        module.fail_json(msg=f"The backup of {settings['name']} failed: {error}")
    module.exit_json(changed=True, **{key: told[key] for key in ("name", "seconds", "bytes", "removed")})


if __name__ == "__main__":
    main()
