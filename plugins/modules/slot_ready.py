#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: slot_ready
short_description: Start a release in its slot and wait until it can serve
version_added: "0.1.0"
description:
  - Brings up the slot's service of a release's compose file, and no other.
  - Waits until the container of a slot is healthy, and then asks its readiness path through C(app-network), as others on the
    network would. A container that ends, or is started anew, is not waited for any longer.
options:
  folder:
    description: Folder of the release.
    type: path
    required: true
  slot:
    description: The slot.
    type: str
    choices: [blue, green]
    required: true
  running:
    description: Whether the release runs there already; any other container in the slot is replaced, as it is not trusted.
    type: bool
    default: false
  timeout:
    description: Seconds to wait, all in all.
    type: float
    required: true
  path:
    description: Path that answers 200 when the application can serve.
    type: str
    required: true
  host:
    description: Host name to ask for.
    type: str
    default: localhost
  smoke:
    description: A command that is run in the container, and has to end with 0, [] for none.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.options.token
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the release runs in its slot, and can serve
  drydock.stack.slot_ready:
    name: shop
    root: /opt/shop
    folder: /opt/shop/releases/0123456789ab
    slot: green
    timeout: 60
    path: /readyz
    token: "{{ lock.token }}"
"""

RETURN = r"""
seconds:
  description: How long it took.
  returned: always
  type: float
restarts:
  description: How often the container was started anew.
  returned: when it can serve
  type: int
workers:
  description: The processes of the application's workers, none where it is a single process.
  returned: when it can serve
  type: list
  elements: int
status:
  description: Status of the answer through the network, 0 where it was not asked.
  returned: always
  type: int
"""

import re
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import arguments, containers, docker_cli, hiding, lock
from ansible_collections.drydock.stack.plugins.module_utils.asking import ask

# Seconds between two looks, each of which is a process of Docker's command line beside the one that starts.
PAUSE = 0.25
# Seconds between two requests, which the application notes in its log.
PAUSE_OF_REQUESTS = 1
SMOKE_LINES = 30


def complaint(container, path, restarts, kept):
    """Return why a container never gets healthy, "" where it may, None where it is.

    One that is ``kept`` may have been unhealthy while its database was away, and be looked at only every half minute.
    """
    found = containers.look(container)
    if not found:
        return "is gone"
    if found["State"]["Status"] not in ("created", "running") or found["RestartCount"] > restarts:
        return f"is {containers.state(found)}"
    health = (found["State"].get("Health") or {}).get("Status", "none")
    if health in ("starting", "unhealthy") and (missing := without_path(found, path)):
        return missing
    if health == "unhealthy" and not kept:
        return "is unhealthy"
    return None if found["State"]["Status"] == "running" and health in ("healthy", "none") else ""


def without_path(found, path):
    """Return what to do where the health check is told that there is no such path; it never gets better by itself."""
    checks = (found["State"].get("Health") or {}).get("Log") or []
    if not checks or not re.match(r"HTTP/\S+ 404 ", checks[-1]["Output"]):
        return ""
    return (
        f"answers 404 to {path}: fastapi_readiness_path is {path}, and the application has no such path; name one that answers "
        "200 when it can serve, /openapi.json where it has none of its own"
    )


def address_of(container):
    networks = containers.look(container)["NetworkSettings"]["Networks"]
    return next((network["IPAddress"] for name, network in networks.items() if name.endswith("_app-network")), "")


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "folder": {"type": "path", "required": True},
            "running": {"type": "bool", "default": False},
            "slot": {"type": "str", "choices": ["blue", "green"], "required": True},
            "timeout": {"type": "float", "required": True},
            "path": {"type": "str", "required": True},
            "host": {"type": "str", "default": "localhost"},
            "smoke": {"type": "list", "elements": "str", "default": []},
            **arguments.TOKEN,
        },
        supports_check_mode=True,
    )
    options = module.params
    container = containers.name_of(options["name"], f"app-{options['slot']}")
    began = time.monotonic()
    told = {"status": 0, "seconds": 0.0}

    def left():
        told["seconds"] = round(time.monotonic() - began, 2)
        return options["timeout"] - told["seconds"]

    if module.check_mode:
        module.exit_json(changed=not options["running"], **told)
    before = containers.look(container)
    try:
        lock.check(Path(options["root"]), options["token"])
        docker_cli.docker(
            "compose", "--progress", "quiet", "--project-directory", options["folder"], "up", "--detach", "--no-deps",
            "--no-recreate" if options["running"] else "--force-recreate", f"app-{options['slot']}",
        )  # fmt: skip
        found = containers.look(container)
        # One that serves already may have been started anew long ago.
        kept = found.get("Id") == before.get("Id")
        restarts = found.get("RestartCount", 0) if kept else 0
        while (why := complaint(container, options["path"], restarts, kept)) is not None:
            if why or left() < 0:
                module.fail_json(msg=f"The container {container} {why or 'is not healthy in time'}.", **told)
            time.sleep(PAUSE)
        while told["status"] != 200:
            told["status"], said, _ = ask(address_of(container), 8000, options["host"], options["path"], timeout=max(left(), 1))
            if told["status"] != 200 and left() < 0:
                module.fail_json(
                    msg=f"The container {container} is healthy and answers {told['status'] or 'not at all'} instead of 200 to "
                    f"{options['path']} through the network: {hiding.hider(Path(options['root']))(said)}",
                    **told,
                )
            time.sleep(PAUSE_OF_REQUESTS if told["status"] != 200 else 0)
        if options["smoke"]:
            code, output, errors = docker_cli.run("exec", container, *options["smoke"])
            if code:
                said = hiding.hider(Path(options["root"]))(f"{output}\n{errors}".strip())
                said = "\n".join(said.splitlines()[-SMOKE_LINES:])
                module.fail_json(msg=f"fastapi_smoke_command ended with {code}:\n{said}", **told)
    except lock.LockLostError as error:
        module.fail_json(msg=str(error), **told)
    except docker_cli.EngineError as error:
        module.fail_json(msg=f"The slot could not be started: {error}", **told)
    now = containers.look(container)
    workers = sorted(containers.workers(now)) if now else []
    left()
    module.exit_json(changed=found.get("Id") != before.get("Id"), restarts=restarts, workers=workers, **told)


if __name__ == "__main__":
    main()
