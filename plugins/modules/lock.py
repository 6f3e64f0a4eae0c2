#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: lock
short_description: Let one run at a time change a stack
version_added: "0.1.0"
description:
  - Holds a lock on the host in the name of a run, or gives it back. It survives a lost connection, and names its holder.
  - Waits while somebody else holds it. A lock whose lease has ended is taken over; so is one whose run is known to be dead,
    because it was started on the same controller, and its process there has ended. What such a run left running on the host is
    waited for.
options:
  state:
    description: Whether the lock is to be held or given back; with V(kept) it fails unless the lock is still held.
    type: str
    choices: [held, kept, free]
    default: held
  token:
    description: What the lock is known by; given by O(state=held), wanted by the other states.
    type: str
  release:
    description: Id of the release that the run brings, for others to read.
    type: str
    default: ""
  wait:
    description: Seconds to wait for another run to end.
    type: float
    default: 300
  lease:
    description: Seconds after which the lock of a run that does not give it back may be taken over.
    type: float
    default: 3600
  seen:
    description: Token of the last run that was read before; RV(moved) tells whether there was another one since.
    type: str
    default: ""
  leftover:
    description: Folder that a run leaves behind where it dies, gone once its lock is taken over.
    type: path
  owner:
    description: Who holds the lock; the action plugin says it.
    type: dict
  over:
    description: Token of a lock whose run is dead; the action plugin says it.
    type: str
    default: ""
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure nobody else changes the stack
  drydock.stack.lock:
    name: shop
    root: /opt/shop
    release: 0123456789ab
  register: lock

- name: Ensure others may change the stack again
  drydock.stack.lock:
    name: shop
    root: /opt/shop
    state: free
    token: "{{ lock.token }}"
"""

RETURN = r"""
owner:
  description: Who holds the lock with this run, as C(user@host).
  returned: always
  type: str
token:
  description: What the lock is known by.
  returned: always
  type: str
holder:
  description: The lock of somebody else that is in force, or {}.
  returned: always
  type: dict
taken_over:
  description: The lock that was taken over, or {}.
  returned: always
  type: dict
moved:
  description: Whether another run has ended since the one that was seen.
  returned: always
  type: bool
"""

import shutil
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import arguments, docker_cli, lock
from ansible_collections.drydock.stack.plugins.module_utils.release import make_folders

PAUSE = 0.5


def left_running(name, root):
    """Return what an earlier run of the stack left running on the host: its step, docker commands, containers of one command."""
    found = ["a step of it"] if lock.busy(root) else []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "docker" in Path(arguments[0]).name and any(part.startswith(f"{root}/releases/") for part in arguments):
            found.append(f"process {process.name} ({' '.join(arguments[:12]).strip()})")
    project = f"label=com.docker.compose.project={name}"
    found += docker_cli.docker(
        "ps", "--filter", project, "--filter", "label=com.docker.compose.oneoff=True", "--format", "container {{ .Names }}",
        check=False,
    ).splitlines()  # fmt: skip
    return found


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "state": {"type": "str", "choices": ["held", "kept", "free"], "default": "held"},
            "token": {"type": "str", "no_log": False},
            "release": {"type": "str", "default": ""},
            "wait": {"type": "float", "default": 300},
            "lease": {"type": "float", "default": 3600},
            "seen": {"type": "str", "default": ""},
            "leftover": {"type": "path"},
            "owner": {"type": "dict"},
            "over": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = module.params
    root = Path(options["root"])
    owner = options["owner"] or {}
    nothing = {"token": options["token"] or "", "owner": owner.get("owner", ""), "holder": {}, "taken_over": {}, "moved": False}
    if module.check_mode:
        module.exit_json(changed=options["state"] != "kept", **nothing)
    if options["state"] == "kept":
        try:
            lock.check(root, options["token"])
        except lock.LockLostError as error:
            module.fail_json(msg=str(error), **nothing)
        module.exit_json(changed=False, **nothing)
    if options["state"] == "free":
        module.exit_json(changed=lock.release(root, options["token"], time.time()), **nothing)

    make_folders(root)
    record = {"token": options["token"], "release": options["release"], **owner}
    held, found = lock.acquire(root, record, time.time(), options["lease"], options["over"])
    if not held:
        module.exit_json(changed=False, **{**nothing, "holder": {**found, "remaining": found["expires"] - time.time()}})
    if found:
        end = time.monotonic() + options["wait"]
        while left := left_running(options["name"], root):
            if time.monotonic() > end:
                lock.leave(root, options["token"], found)
                module.fail_json(
                    msg=f"An earlier run of the stack in {root} is dead, and what it started has not ended after "
                    f"{options['wait']:g} s: {'; '.join(left)}. Wait for it or end it, and run the same again."
                )
            time.sleep(PAUSE)
        if options["leftover"]:
            shutil.rmtree(options["leftover"], ignore_errors=True)
    moved = bool(found) or lock.read(root, lock.LAST_RUN).get("token", "") != options["seen"]
    module.exit_json(changed=True, **{**nothing, "taken_over": found, "moved": moved})


if __name__ == "__main__":
    main()
