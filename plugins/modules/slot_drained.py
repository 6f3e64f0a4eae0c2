#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: slot_drained
short_description: Remove what a stack no longer needs once its release is live
version_added: "0.1.0"
description:
  - Waits until the front door has no request in flight to the old slot, or the time is over, and then stops and removes it,
    with whatever an interrupted change has left of the stack's containers.
  - Removes the oldest releases beyond O(keep), those that never served, and the stack's images that no release which stays uses.
    The current release and the last good one always stay. A release that cannot be removed is warned of.
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
  keep:
    description: Number of releases that stay, all where it is not given.
    type: int
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
    keep: 5
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
pruned:
  description: Ids of the releases that were removed.
  returned: always
  type: list
  elements: str
"""

import re
import shutil
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import arguments, containers, docker_cli, lock
from ansible_collections.drydock.stack.plugins.module_utils.release import recorded
from ansible_collections.drydock.stack.plugins.module_utils.state import last_good

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


def prune(root, keep):
    """Remove the oldest releases, what never served, and every image of the stack that no release which stays was made of."""
    current = (root / "current").resolve().name
    folders = list((root / "releases").iterdir())
    records = {folder.name: recorded(folder) for folder in folders}
    served = sorted((name for name in records if records[name]), key=lambda name: records[name].get("number", 0), reverse=True)
    staying = {*served[:keep], current, last_good(records, current)}
    images = {records[name].get("image") for name in staying if name in records}
    stale = [folder for folder in folders if folder.name not in staying]
    for folder in stale:
        shutil.rmtree(folder)
    label = f"label=drydock.stack={records[current]['image'].rpartition(':')[0]}"
    built = docker_cli.docker("image", "ls", "--filter", label, "--format", "{{ .Repository }}:{{ .Tag }}").split()
    # The engine keeps, and says so, what a container still uses.
    if unused := sorted({*built} - images):
        docker_cli.docker("image", "rm", *unused, check=False)
    return [folder.name for folder in stale]


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "slot": {"type": "str", "choices": ["blue", "green"], "required": True},
            "timeout": {"type": "float", "required": True},
            "keep": {"type": "int"},
            "keep_lock": {"type": "bool", "default": False},
            **arguments.TOKEN,
        },
        supports_check_mode=True,
    )
    name, timeout = module.params["name"], module.params["timeout"]
    root = Path(module.params["root"])
    own = containers.name_of(name, f"app-{module.params['slot']}")
    told = {"seconds": 0.0, "cut_off": 0, "removed": [], "pruned": [], "unlocked": ""}
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
        if module.params["keep"] is not None:
            told["pruned"] = prune(root, module.params["keep"])
    except lock.LockLostError as error:
        module.fail_json(msg=str(error), **told)
    except docker_cli.EngineError as error:
        module.fail_json(msg=f"The old slot could not be removed: {error}", **told)
    except OSError as error:
        # The release is live; the next run tries again.
        module.warn(f"An old release could not be removed from {root / 'releases'}: {error.strerror or error}")
    if not module.params["keep_lock"]:
        lock.release(root, module.params["token"], time.time())
        told["unlocked"] = module.params["token"]
    module.exit_json(changed=bool(told["removed"] or told["pruned"]), **told)


if __name__ == "__main__":
    main()
