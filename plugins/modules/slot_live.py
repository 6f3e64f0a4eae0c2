#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: slot_live
short_description: Have the front door send requests to a slot, and see that it answers
version_added: "0.1.0"
description:
  - Renames the one empty file that tells the front door which slot is live. The rename is atomic, and takes effect with the next
    request. Then asks the front door as a client would, until the slot answers, and sees that its container goes on running.
options:
  slot:
    description: The slot that is to be live.
    type: str
    choices: [blue, green]
    required: true
  probe:
    description: How to ask the front door, as for M(drydock.stack.stack_info).
    type: dict
    required: true
  timeout:
    description: Seconds to wait for the answer.
    type: float
    default: 30
  settle:
    description: Seconds that the container must go on running after that.
    type: float
    default: 0
  restarts:
    description: How often the container has been started anew before, as M(drydock.stack.slot_ready) returned it.
    type: int
    default: 0
  workers:
    description: The processes of its workers, which must go on running as well, as M(drydock.stack.slot_ready) returned them.
    type: list
    elements: int
    default: []
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.options.token
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the front door sends requests to the slot
  drydock.stack.slot_live:
    name: shop
    root: /opt/shop
    slot: green
    probe: {address: 127.0.0.1, port: 8000, path: /readyz, host: "", tls: false, header: X-Slot}
    token: "{{ lock.token }}"
"""

RETURN = r"""
"""

import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import arguments, containers, docker_cli, hiding, lock
from ansible_collections.drydock.stack.plugins.module_utils.asking import Probe
from ansible_collections.drydock.stack.plugins.module_utils.release import flip

# Seconds between two looks, each of which is a process of Docker's command line beside the one that serves.
PAUSE = 0.5


def settled(container, seconds, restarts, workers):
    """Watch the container and its workers for so long; return why they did not go on running, "" where they did."""
    end = time.monotonic() + seconds
    while True:
        found = containers.look(container)
        if not found or found["State"]["Status"] != "running" or found["RestartCount"] > restarts:
            return f"The container {container} is {containers.state(found) if found else 'gone'}."
        if not containers.workers(found).issuperset(workers):
            return f"A worker of the container {container} has ended, and was started anew."
        left = end - time.monotonic()
        if left <= 0:
            return ""
        time.sleep(min(PAUSE, left))


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "slot": {"type": "str", "choices": ["blue", "green"], "required": True},
            "probe": {"type": "dict", "required": True},
            "timeout": {"type": "float", "default": 30},
            "settle": {"type": "float", "default": 0},
            "restarts": {"type": "int", "default": 0},
            "workers": {"type": "list", "elements": "int", "default": []},
            **arguments.TOKEN,
        },
        supports_check_mode=True,
    )
    options = module.params
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        lock.check(Path(options["root"]), options["token"])
        changed = flip(Path(options["root"]), options["slot"])
        why = Probe(options["probe"], Path(options["root"])).until(options["slot"], options["timeout"])
        container = containers.name_of(options["name"], f"app-{options['slot']}")
        why = why or settled(container, options["settle"], options["restarts"], options["workers"])
    except (lock.LockLostError, docker_cli.EngineError, OSError) as error:
        module.fail_json(msg=str(error))
    if why:
        module.fail_json(msg=hiding.hider(Path(options["root"]))(why))
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
