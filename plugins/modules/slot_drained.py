#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: slot_drained
short_description: Remove the slot that is no longer live, once it has answered all its requests
version_added: "0.1.0"
description:
  - Waits until the front door has no request in flight to the old slot, or the time is over, and then stops and removes it,
    with whatever an interrupted change has left of the stack's containers.
options:
  slot:
    description: The slot that stays.
    type: str
    choices: [blue, green]
    required: true
  timeout:
    description: Seconds to wait for the requests in flight.
    type: float
    required: true
  keep_lock:
    description: Whether the run goes on holding the lock; it gives it back else, which saves a call.
    type: bool
    default: false
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.options.token
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the old slot is gone
  drydock.stack.slot_drained:
    name: shop
    root: /opt/shop
    slot: green
    timeout: 30
    token: "{{ lock.token }}"
"""

RETURN = r"""
seconds:
  description: How long the requests in flight were waited for.
  returned: always
  type: float
cut_off:
  description: How many requests were in flight when the time was over.
  returned: always
  type: int
unlocked:
  description: Token of the lock that was given back, or "".
  returned: always
  type: str
removed:
  description: Names of the containers that were removed.
  returned: always
  type: list
  elements: str
"""

import re
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import arguments, containers, docker_cli, lock

# Above the graceful time-out of the application, and the stop grace period of compose.yaml.
GRACE = 30


def left_over(stack):
    """Return the containers that an interrupted recreate has renamed and left behind, and those of single commands."""
    told = docker_cli.docker(
        "ps", "--all", "--filter", f"label=com.docker.compose.project={stack}",
        "--format", '{{ .Names }} {{ .State }} {{ .Label "com.docker.compose.oneoff" }}',
    )  # fmt: skip
    found = [line.split() for line in told.splitlines()]
    return [
        name for name, state, oneoff in found if state != "running" and (oneoff == "True" or re.match(r"[0-9a-f]{12}_", name))
    ]


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "slot": {"type": "str", "choices": ["blue", "green"], "required": True},
            "timeout": {"type": "float", "required": True},
            "keep_lock": {"type": "bool", "default": False},
            **arguments.TOKEN,
        },
        supports_check_mode=True,
    )
    name, timeout = module.params["name"], module.params["timeout"]
    root = Path(module.params["root"])
    own = containers.name_of(name, f"app-{module.params['slot']}")
    told = {"seconds": 0.0, "cut_off": 0, "removed": [], "unlocked": ""}
    try:
        if not module.check_mode:
            lock.check(root, module.params["token"])
        old = [container for container in containers.slots(name) if container != own]
        told["removed"] = [*old, *left_over(name)]
        if module.check_mode:
            module.exit_json(changed=bool(told["removed"]), **told)
        for container in old:
            if containers.look(container)["State"]["Status"] == "running":
                service = container.removeprefix(f"{name}-").rpartition("-")[0]
                told["seconds"], told["cut_off"] = containers.drain(name, service, timeout)
                docker_cli.docker("stop", "--time", str(GRACE), container)
        if told["removed"]:
            docker_cli.docker("rm", "--force", *told["removed"])
    except lock.LockLostError as error:
        module.fail_json(msg=str(error), **told)
    except docker_cli.EngineError as error:
        module.fail_json(msg=f"The old slot could not be removed: {error}", **told)
    if not module.params["keep_lock"]:
        lock.release(root, module.params["token"], time.time())
        told["unlocked"] = module.params["token"]
    module.exit_json(changed=bool(told["removed"]), **told)


if __name__ == "__main__":
    main()
