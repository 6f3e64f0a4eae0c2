#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: container_log
short_description: Read the end of the log of a service of a stack
version_added: "0.1.0"
description:
  - Reads what a service has written last to both of its outputs, in the order in which it was written. The stack's secrets are
    hidden in it.
options:
  service:
    description: The service; C(app) is the live slot.
    type: str
    choices: [app, db, proxy]
    default: app
  lines:
    description: How many lines.
    type: int
    default: 100
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.attributes.reads
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Read what the application said last
  drydock.stack.container_log:
    name: shop
    root: /opt/shop
    lines: 20
  register: log
"""

RETURN = r"""
container:
  description: Name of the container.
  returned: always
  type: str
log:
  description: Its last lines, each with the time in UTC.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import arguments, containers, docker_cli, hiding
from ansible_collections.drydock.stack.plugins.module_utils.release import live


def ordered(outputs, count):
    """Return the last lines of several outputs by their time, whose fraction of a second is left out."""
    lines = [line.partition(" ")[::2] for output in outputs for line in output.split("\n") if line]
    return [f"{time[:19]}Z {text.rstrip()}" for time, text in sorted(lines, key=lambda line: line[0])[-count:]]


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "service": {"type": "str", "choices": ["app", "db", "proxy"], "default": "app"},
            "lines": {"type": "int", "default": 100},
        },
        supports_check_mode=True,
    )
    name, root, service = module.params["name"], Path(module.params["root"]), module.params["service"]
    if service == "app":
        # The front door takes the first slot where none is told.
        service = f"app-{(live(root) or ['blue'])[-1]}"
    container = containers.name_of(name, service)
    code, output, errors = docker_cli.run("logs", "--timestamps", "--tail", str(module.params["lines"]), container)
    if code:
        module.fail_json(msg=f"The log of {container} cannot be read: {errors.strip()[-500:]}")
    log = [*map(hiding.hider(root), ordered((output, errors), module.params["lines"]))]
    module.exit_json(changed=False, container=container, log=log)


if __name__ == "__main__":
    main()
