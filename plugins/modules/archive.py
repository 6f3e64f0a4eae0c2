#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: archive
short_description: Archive what the database of a stack writes, so that it can be taken back to a moment
version_added: "0.2.0"
description:
  - With O(state=prepared) the host has what the database's container is made with - its image, which is PostgreSQL's with
    pgBackRest, pgBackRest's file with the passphrase if there is one, and the folder of the repository.
  - With O(state=sound) the archive is there, holds a backup of the database, and takes what it writes, which is tried. What fails
    is a warning; the database runs on.
options:
  state:
    description: How far it is to be.
    type: str
    choices: [prepared, sound]
    required: true
  ca_bundle:
    description: Path on the host of the CA bundle that the build trusts, "" for none.
    type: str
    default: ""
  known:
    description: Whether that goes by what the host knows from its deploys, and not by this run's variables. Without an archive
      there is nothing to do then.
    type: bool
    default: false
  settings:
    description: What the role's variables say about backups; set by the controller's part of this module.
    type: dict
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the archive takes what the database writes
  drydock.stack.archive:
    name: shop
    root: /opt/shop
    state: sound
"""

RETURN = r"""
seconds:
  description: How long it took.
  returned: always
  type: float
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import archive, arguments, dumps


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "state": {"type": "str", "choices": ["prepared", "sound"], "required": True},
            "ca_bundle": {"type": "str", "default": ""},
            "known": {"type": "bool", "default": False},
            "settings": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    root, settings, began = Path(module.params["root"]), module.params["settings"], time.monotonic()
    if module.check_mode:
        module.exit_json(changed=False, seconds=0.0)
    if module.params["known"]:
        settings = dumps.read_json(root / dumps.SETTINGS)
        if not settings.get("pitr"):
            module.exit_json(changed=False, seconds=0.0)
    try:
        if module.params["state"] == "prepared":
            changed = archive.prepared(settings, root, module.params["ca_bundle"])
        else:
            changed = archive.sound(settings, root)
    except (dumps.DataError, OSError, ValueError) as error:
        if module.params["state"] == "prepared":
            module.fail_json(msg=f"The database of {settings['name']} cannot be archived. {error}")
        changed = False
        module.warn(
            f"The archive of {settings['name']} is not sound, and what is written now may not be restored to a time. {error} "
            "The database runs on; the playbook status says how the archive is."
        )
    module.exit_json(changed=changed, seconds=round(time.monotonic() - began, 1))


if __name__ == "__main__":
    main()
