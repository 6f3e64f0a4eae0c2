#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: backup_schedule
short_description: Have a host back a stack up by itself
version_added: "0.1.0"
description:
  - Puts a program and its settings into the stack's folder, and has a timer of systemd run it, or cron where there is no
    systemd. They work without Ansible.
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  root:
    description: Folder of the stack.
    type: path
    required: true
  settings:
    description: What the role's variables say about backups; set by the controller's part of this module.
    type: dict
  rclone_config:
    description: Configuration of rclone for the copies; set by the controller's part of this module.
    type: str
    default: ""
extends_documentation_fragment:
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the host backs the database up by itself
  drydock.stack.backup_schedule:
    name: shop
    root: /opt/shop
"""

RETURN = r"""
files:
  description: What was changed, or would be.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import timers


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "settings": {"type": "dict"},
            "rclone_config": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    root, wanted, rclone = Path(module.params["root"]), module.params["settings"], module.params["rclone_config"]
    try:
        differ = timers.lacking(root, wanted, rclone)
        if differ and not module.check_mode:
            timers.install(root, wanted, rclone)
    except timers.ScheduleError as error:
        module.fail_json(msg=f"The host cannot back the stack up by itself: {error}")
    except OSError as error:
        module.fail_json(msg=f"{error.filename} cannot be written: {error.strerror}.")
    module.exit_json(changed=bool(differ), files=[str(path) for path in differ])


if __name__ == "__main__":
    main()
