#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Put a release of a FastAPI stack on the host
version_added: "0.1.0"
description:
  - Bundles the files of a release, rendered on the controller, with the application's source, and sends the bundle as one
    file, only if the host lacks it. A release that the host has is put into the slot that it is to run in.
  - The database's password is filled in on the host and leaves it never; it is made there where none is given and none is
    kept.
  - Says what the steps that follow will do, before any of them is taken.
  - Asks the database over the network, if it runs, with the password that the release gets. Where it is not taken, nothing is
    touched, and the module fails.
options:
  source:
    description: Folder of the source on the controller; needed where the host lacks the release.
    type: path
  name:
    description: Name of the stack; set by the controller's part of this module.
    type: str
  root:
    description: Folder of the stack; set by the controller's part of this module.
    type: path
  archive:
    description: The bundle on the host, none where the host has the release; set by the controller's part of this module.
    type: path
  database_password:
    description: The database's password, where it is given; set by the controller's part of this module.
    type: str
  token:
    description: Token of the lock that the run holds; without it nothing is changed.
    type: str
    default: ""
  fleet:
    description: Whether other hosts change together with this one; set by the controller's part of this module.
    type: bool
    default: false
extends_documentation_fragment:
  - drydock.stack.options.plan
  - drydock.stack.options.host
  - drydock.stack.attributes.shows
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the release is on the host
  drydock.stack.release:
    source: /home/me/shop
    host: "{{ host }}"
    plan: "{{ plan }}"
    token: "{{ lock.token }}"
  register: release
"""

RETURN = r"""
hashes:
  description: By service, the configuration hash that the release's compose file gives.
  returned: when the engine can be asked
  type: dict
revision:
  description: Revision of Alembic that the database is at, or "".
  returned: always
  type: str
migrates:
  description: Whether there may be migrations to run.
  returned: always
  type: bool
database_warnings:
  description: What is to be looked into in the database, one line each.
  returned: always
  type: list
  elements: str
has_image:
  description: Whether the host has the release's image.
  returned: always
  type: bool
steps:
  description: What is going to be done, one line each.
  returned: always
  type: list
  elements: str
"""

import hashlib
import shutil
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import (
    arguments,
    database_guards,
    docker_cli,
    lock,
    postgres,
    state,
)
from ansible_collections.drydock.stack.plugins.module_utils import release as releases
from ansible_collections.drydock.stack.plugins.module_utils.bundle import BundleError, extract_bundle

SHOWN = ("Dockerfile", ".dockerignore", "Dockerfile.dockerignore", "compose.yaml", "Caddyfile", ".env")


def text_of(folder, name, other=None):
    file = folder / name
    text = file.read_text() if file.is_file() else ""
    if name == "Caddyfile":
        return releases.without_hashes(text)
    if name != ".env":
        return text
    return releases.masked(text, (other / name).read_text() if other and (other / name).is_file() else "")


def differences(old, new):
    """Return Ansible's diff of the files that a person reads, and the names of what changed among secrets and sources."""
    shown = []
    for name in SHOWN:
        before, after = text_of(old, name), text_of(new, name, old)
        if before != after:
            shown.append({"before_header": name, "after_header": name, "before": before, "after": after})
    for folder in (releases.SECRETS, "source"):
        before, after = listing(old / folder), listing(new / folder)
        if before != after:
            changed = sorted(path for path in before.keys() & after.keys() if before[path] != after[path])
            shown.append(
                {
                    "before_header": folder,
                    "after_header": folder,
                    "before": "".join(f"{path}\n" for path in sorted(before)),
                    "after": "".join(f"{path}{' (changed)' if path in changed else ''}\n" for path in sorted(after)),
                }
            )
    return shown


def listing(folder):
    return {
        str(path.relative_to(folder)): digest(path) if path.is_file() else b""
        for path in folder.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }


def digest(file):
    whole = hashlib.sha256()
    with file.open("rb") as opened:
        for block in iter(lambda: opened.read(1024**2), b""):
            whole.update(block)
    return whole.digest()


def hashes(folder):
    """Return the configuration hash of each service of the release in the folder; raises EngineError."""
    told = docker_cli.docker("compose", "--project-directory", str(folder), "config", "--hash", "*")
    return dict(line.split() for line in told.splitlines())


def fill(module, root, folder, password):
    """Put the release in the folder into its slot, on the volume that holds the data."""
    name = module.params["name"]
    volume = releases.live_volume(root, name)
    why = releases.ignores_volume(folder, name, volume)
    if why:
        module.fail_json(msg=why)
    releases.fill(folder, module.params["plan"]["slot"], password, volume)


def preview(module, root, archive):
    """Return what would differ, and the hashes, without touching anything of the stack."""
    password = root / "secrets" / "database_password"
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as scratch:
        new = Path(scratch) / "release"
        if archive:
            extract_bundle(archive, new)
        else:
            shutil.copytree(root / "releases" / module.params["plan"]["id"], new, symlinks=True)
        fill(module, root, new, password.read_text() if password.exists() else "")
        # Without an engine there is no Compose to ask.
        return differences(root / "current", new), {} if module.params["host"]["engine"]["problem"] else hashes(new)


def install(module, root, folder, archive):
    """Put the release in its place as a whole and into its slot; return what differs, and the hashes."""
    releases.make_folders(root)
    paused = [service["id"] for service in module.params["host"]["services"].values() if service["status"] == "paused"]
    if paused:
        docker_cli.docker("unpause", *paused)
    plan = module.params["plan"]
    password = releases.keep_password(root, module.params["database_password"], replaces=bool(plan["database"]))
    if not archive:
        shown = differences(root / "current", folder)
        fill(module, root, folder, password)
        releases.publish(root, folder, plan["slot"])
        return shown, hashes(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    try:
        extract_bundle(archive, partial)
        fill(module, root, partial, password)
        found = hashes(partial)
        shown = differences(root / "current", partial)
        if folder.exists():
            # Its files were changed by hand; what it is recorded as stays true.
            if (folder / releases.RECORD).exists():
                shutil.copy2(folder / releases.RECORD, partial / releases.RECORD)
            shutil.rmtree(folder)
        partial.rename(folder)
        releases.publish(root, folder, plan["slot"])
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return shown, found


def ask(module, root):
    """Return what the database tells of itself, {} where it is not there or does not answer, and what is to be looked into.

    Raises LoginError where it does not take the password that the release gets.
    """
    plan, services = module.params["plan"], module.params["host"]["services"]
    password = releases.next_password(root, module.params["database_password"], replaces=bool(plan["database"]))
    if not password or not (plan["database"] or services.get("db", {}).get("status") == "running"):
        return {}, []
    host = module.params["host"]
    # A first deploy that was cut off may not have come to make the role, which it does now.
    if not plan["database"] and not host["current"]:
        return {}, []
    return database_guards.ask(postgres.Database(module.params["name"], root, plan["database"], host["volume"]["user"]), password)


def pending(module, has_image, revision):
    """Return which migrations are to be run on a database at the revision, as far as it can be known now."""
    plan, host = module.params["plan"], module.params["host"]
    last, command = host["releases"].get(host["current"], {}), " ".join(plan["migrate"])
    if not command:
        return "none"
    if plan["migrate"] == postgres.ALEMBIC and revision:
        if plan["migrations"] and (last.get("migrations"), last.get("database_revision")) == (plan["migrations"], revision):
            return "none"
        if has_image and module.check_mode:
            told = docker_cli.docker("run", "--rm", "--network", "none", plan["image"], "alembic", "heads", check=False)
            head = " ".join(line.split()[0] for line in told.splitlines() if line.strip())
            return "none" if head == revision else f"from {revision} to {head or '?'}"
    return command if has_image else f"{command} (what it does is known once the image is built)"


def main():
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path"},
            **arguments.HOST,
            **arguments.PLAN,
            "name": {"type": "str"},
            "root": {"type": "path"},
            "archive": {"type": "path"},
            "database_password": {"type": "str", "no_log": True},
            "token": {"type": "str", "default": "", "no_log": False},
            "fleet": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    root, plan, host = Path(module.params["root"]), module.params["plan"], module.params["host"]
    folder = root / "releases" / plan["id"]
    archive = Path(module.params["archive"]) if module.params["archive"] else None
    try:
        if not module.check_mode:
            lock.check(root, module.params["token"])
        facts, warnings = ask(module, root)
        shown, found = preview(module, root, archive) if module.check_mode else install(module, root, folder, archive)
        has_image = not host["engine"]["problem"] and bool(docker_cli.inspect("image", "inspect", plan["image"]))
        migrations = pending(module, has_image, facts.get("revision", ""))
        steps = state.steps(host, plan, found, has_image, migrations, module.params["fleet"])
    except (lock.LockLostError, postgres.LoginError) as error:
        module.fail_json(msg=str(error))
    except BundleError as error:
        module.fail_json(msg=f"The release {plan['id']} cannot be unpacked: {error}")
    except docker_cli.EngineError as error:
        module.fail_json(msg=f"{folder}/compose.yaml is refused by Docker Compose: {error}")
    except OSError as error:
        module.fail_json(msg=f"The release cannot be put into {folder}: {error.strerror or error}")
    changed = archive is not None or (module.check_mode and bool(steps))
    module.exit_json(
        changed=changed,
        hashes=found,
        steps=steps,
        revision=facts.get("revision", ""),
        database_warnings=warnings,
        migrates=migrations != "none",
        has_image=has_image,
        diff=shown,
    )


if __name__ == "__main__":
    main()
