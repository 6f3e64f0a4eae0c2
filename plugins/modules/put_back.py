#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: put_back
short_description: Put a stack back to what it was before a change that failed
version_added: "0.1.0"
description:
  - Gathers the evidence first - the log of the new slot and what its health check said, with the secrets of the stack hidden.
    Then has the front door send requests to the slot that was live, brings the front door and the database back to the settings
    of the current release where they were changed, and removes the new slot, and the release and its image unless they have
    served before.
  - Goes on where one of these fails, and says so. Where no release served before, no container is left. Data is never
    touched.
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.options.plan
  - drydock.stack.options.host
  - drydock.stack.options.token
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the stack is as it was
  drydock.stack.put_back:
    name: shop
    root: /opt/shop
    plan: "{{ plan }}"
    host: "{{ host }}"
    token: "{{ lock.token }}"
"""

RETURN = r"""
evidence:
  description: C(state) of the new slot's container, its C(log) and what its C(health) check said, the last lines of each.
  returned: always
  type: dict
database_revision:
  description: Revision of Alembic that the database is at, or "".
  returned: always
  type: str
serves:
  description: Id of the release that served before, recorded or not, or "".
  returned: always
  type: str
problems:
  description: What could not be put back, one line each.
  returned: always
  type: list
  elements: str
"""

import json
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import (
    arguments,
    containers,
    docker_cli,
    hiding,
    lock,
    maintenance,
    postgres,
)
from ansible_collections.drydock.stack.plugins.module_utils import release as releases

# Seconds for the requests of a slot that was live for a moment.
DRAIN_TIMEOUT = 10


def compose(folder, *arguments):
    return docker_cli.docker("compose", "--progress", "quiet", "--project-directory", str(folder), *arguments)


def before(host):
    """Return the release that served before; the run that brought it may not have come to record it."""
    return host["current"] or release_in(host, host["live"]) or ""


def data(name, root, plan, host):
    """Have the volume be live that was before."""
    if plan.get("upgrade") or plan.get("volume"):
        volume = host["volume"]["name"]
        if releases.live_volume(root, name) != volume:
            # What runs there is of the other data; nothing may be written to it any more.
            docker_cli.docker("stop", "--time", "90", containers.name_of(name, "db"), check=False)
            releases.write_durably(root / releases.VOLUME, f"{volume}\n".encode(), 0o644)
            releases.sync_folder(root)
        services(name, root, plan, host)


def old_slot(name, root, plan, host):
    """Have the slot serve that did before."""
    if not before(host):
        return
    slots = [slot for slot in (host["live"], *releases.SLOTS) if is_before(name, host, slot)]
    # After a run that was cut off behind its flip, this one may have taken the slot of before, which was the idle one.
    if not slots and release_in(host, host["live"]):
        slots = [host["live"]]
    if not slots:
        raise docker_cli.EngineError(f"no container of the release {host['current']} was there")
    if slots[0] != plan["slot"]:
        docker_cli.docker("start", containers.name_of(name, f"app-{slots[0]}"))
    releases.flip(root, slots[0])


def release_in(host, slot):
    return host["services"].get(f"app-{slot}", {}).get("release")


def release_now(name, slot):
    """Return the release whose container is in a slot now, None where there is none."""
    found = containers.look(containers.name_of(name, f"app-{slot}"))
    return found["Config"]["Labels"].get("drydock.release") if found else None


def is_before(name, host, slot):
    """Tell whether a slot had the release that served before, and has it still."""
    return release_in(host, slot) == before(host) == release_now(name, slot)


def record(name, root, plan, host):
    """Take back what was recorded."""
    releases.drop_password(root)
    if not host["current"]:
        (root / "current").unlink(missing_ok=True)
    elif (root / "current").resolve().name != host["current"]:
        releases.point_to(root, host["current"])
    if plan["id"] == host["current"] and host["live"]:
        volume = releases.live_volume(root, name)
        releases.fill(root / "releases" / plan["id"], host["live"], releases.password(root), volume)
    # Of a rollback, the release that it left has another record as well.
    for identity, known in {plan["id"]: {}, **host["releases"]}.items():
        folder = root / "releases" / identity
        if releases.recorded(folder) == known or not folder.is_dir():
            continue
        if not known:
            (folder / releases.RECORD).unlink()
        else:
            releases.write_durably(folder / releases.RECORD, json.dumps(known, indent=2).encode() + b"\n", 0o644)


def services(name, root, plan, host):
    """Bring front door and database back to the settings of the current release."""
    if not host["current"]:
        return
    # The link may not have been taken back yet.
    current = root / "releases" / host["current"]
    wanted = dict(line.split() for line in compose(current, "config", "--hash", "*").splitlines())
    changed = []
    # A database elsewhere has no container.
    for service in sorted({"db", "proxy"} & set(wanted)):
        found = containers.look(containers.name_of(name, service))
        labels = found["Config"]["Labels"] if found else {}
        same = labels.get("com.docker.compose.config-hash") == wanted[service] and found["State"]["Status"] == "running"
        if not same:
            changed.append(service)
    # It is written before the front door is made anew, and read whenever that starts.
    caddyfile, kept = root / "proxy" / "Caddyfile", (current / "Caddyfile").read_bytes()
    if not caddyfile.is_file() or caddyfile.read_bytes() != kept:
        releases.write_durably(caddyfile, kept, 0o644)
    if changed:
        compose(current, "up", "--detach", "--no-deps", "--wait", *changed)


def new_slot(name, root, plan, host):
    """Remove the slot that never served, and a command that it left running."""
    docker_cli.docker("rm", "--force", f"{name}-migrate", check=False)
    if not before(host):
        docker_cli.docker("compose", "--progress", "quiet", "--project-name", name, "down", "--remove-orphans")
        for slot in releases.SLOTS:
            (root / "proxy" / "live" / slot).unlink(missing_ok=True)
    elif not is_before(name, host, plan["slot"]) and plan["slot"] not in releases.live(root):
        # Where it was live for a moment, it has requests to answer.
        containers.drain(name, f"app-{plan['slot']}", DRAIN_TIMEOUT)
        docker_cli.docker("stop", containers.name_of(name, f"app-{plan['slot']}"), check=False)
        docker_cli.docker("rm", "--force", containers.name_of(name, f"app-{plan['slot']}"), check=False)


def release_folder(name, root, plan, host):
    """Remove the release and its image, unless they have served before."""
    folder = root / "releases" / plan["id"]
    shutil.rmtree(folder.with_name(f".{folder.name}.partial"), ignore_errors=True)
    # One that serves without a record is that of a run that was cut off.
    stays = {before(host), *(release_now(name, slot) for slot in releases.live(root))}
    if plan["id"] not in stays and not releases.recorded(folder) and folder.exists():
        shutil.rmtree(folder)
    password = root / "secrets" / "database_password"
    # One that this run wrote down is not proven, unless this run made the data with it.
    if host["password"] == "missing" and (
        host["volume"]["exists"] or not docker_cli.inspect("volume", "inspect", host["volume"]["name"])
    ):
        password.unlink(missing_ok=True)
    if plan["id"] not in stays and all(record.get("image") != plan["image"] for record in host["releases"].values()):
        docker_cli.docker("image", "rm", plan["image"], check=False)


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            **arguments.PLAN,
            **arguments.HOST,
            **arguments.TOKEN,
        },
        supports_check_mode=True,
    )
    name, root, plan, host = module.params["name"], Path(module.params["root"]), module.params["plan"], module.params["host"]
    told = {"evidence": {"state": "", "log": [], "health": []}, "database_revision": "", "problems": [], "serves": before(host)}
    if module.check_mode:
        module.exit_json(changed=True, **told)
    try:
        found, hide = containers.evidence(containers.name_of(name, f"app-{plan['slot']}")), hiding.hider(root)
        told["evidence"] = {
            "state": found["state"],
            **{part: [hide(line) for line in found[part]] for part in ("log", "health")},
        }
        told["database_revision"] = postgres.revision(postgres.Database(name, root, plan["database"]))
        lock.check(root, module.params["token"])
    except (docker_cli.EngineError, lock.LockLostError) as error:
        module.exit_json(changed=False, **{**told, "problems": [str(error)]})
    for step in (data, old_slot, record, services, new_slot, release_folder):
        try:
            step(name, root, plan, host)
        except (docker_cli.EngineError, OSError) as error:
            told["problems"].append(f"{step.__doc__.split(', ')[0].rstrip('.').lower()}: {error}")
    if told["serves"] and releases.live(root):
        told["serves"] = release_now(name, releases.live(root)[-1]) or told["serves"]
    # A run that was to open it again has closed it, this one or one that was cut off.
    if not told["problems"] and maintenance.left_closed(root):
        maintenance.open_up(root)
    module.exit_json(changed=True, **told)


if __name__ == "__main__":
    main()
