#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: stack_absent
short_description: Take a stack away from a host
version_added: "0.1.0"
description:
  - Removes the stack's containers, networks, images, releases and timers. The volumes, the secrets, the certificates and the
    backups stay.
  - Removes nothing that is not the stack's, by Compose's and its own labels. A folder that no stack was in is left alone, and
    that of another stack refused.
  - Holds the stack's lock meanwhile.
options:
  data:
    description: Whether the volumes, the secrets and the certificates go as well. The backups stay all the same.
    type: bool
    default: false
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the stack is gone and its data stays
  drydock.stack.stack_absent:
    name: shop
    root: /opt/shop
"""

RETURN = r"""
removed:
  description: What is gone, or would be, each as its kind and its name.
  returned: always
  type: list
  elements: str
kept:
  description: What holds data and stays.
  returned: always
  type: list
  elements: str
"""

import contextlib
import re
import shutil
import time
import uuid
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import archive, arguments, docker_cli, dumps, lock, timers
from ansible_collections.drydock.stack.plugins.module_utils import release as releases

VOLUMES = r"_(postgres_data(_[0-9]+)?|caddy_data|caddy_config)"
STACK_FILES = ("current", "releases", "proxy", "bin", dumps.SETTINGS)
# Seconds; several times what a removal takes.
LEASE = 600
IMAGE_LABELS = ("drydock.stack", "drydock.postgres")


def listed(*arguments):
    return docker_cli.docker(*arguments).split()


def remove_path(path):
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


def is_known(root):
    """Tell whether a run of ours has ever been in the folder; the record of the last one outlives a stack whose data stays."""
    return (root / "releases").is_dir() or (root / lock.LAST_RUN).is_file()


def below(root, *names):
    """Return what there is of these in the stack's folder."""
    paths = [root / name for name in names] if is_known(root) else []
    return [path for path in paths if path.exists() or path.is_symlink()]


def taken(root, token, look):
    """Take the stack's lock, or with ``look`` look at it alone; return that of somebody else, {} for none."""
    if look or not is_known(root):
        found = lock.read(root)
        return found if found and found["expires"] > time.time() else {}
    held, found = lock.acquire(root, {"token": token, "owner": "a removal", "release": ""}, time.time(), LEASE)
    return {} if held else found


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "data": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    name, root, data = module.params["name"], Path(module.params["root"]), module.params["data"]
    project = f"label=com.docker.compose.project={name}"
    other = dumps.read_json(root / dumps.SETTINGS).get("name", name)
    if other != name:
        module.fail_json(msg=f"fastapi_root is {root}, the folder of the stack {other}; give {name}'s own, or leave it out.")
    token = uuid.uuid4().hex
    if holder := taken(root, token, module.check_mode):
        by = f"The stack in {root} is being changed by {holder['owner']}"
        module.fail_json(msg=f"{by}; wait for that run, or where it is dead: rm {root / lock.LOCK}")
    try:
        containers = listed("ps", "--all", "--filter", project, "--format", "{{ .Names }}")
        networks = listed("network", "ls", "--filter", project, "--format", "{{ .Name }}")
        images = [
            image
            for label in IMAGE_LABELS
            for image in listed("image", "ls", "--filter", f"label={label}={name}", "--format", "{{ .Repository }}:{{ .Tag }}")
            # Without a name, as one is left whose tag went to another: the engine prunes it.
            if "<none>" not in image
        ]
        volumes = [
            volume
            for volume in listed("volume", "ls", "--filter", project, "--format", "{{ .Name }}")
            if re.fullmatch(re.escape(name) + VOLUMES, volume)
        ]
        files = below(root, *STACK_FILES)
        secrets = below(root, "secrets", "certificates")
        # Without it the archive, which is a backup and stays, is of no use.
        passphrase = [path for path in [archive.passphrase_file(root)] if path.exists()]
        if passphrase:
            secrets = sorted({*secrets, *(root / "secrets").iterdir()} - {root / "secrets", *passphrase})
        # What has a dot before its name is a lock, or what a run that was cut off has left.
        backups = [folder for folder in below(root, "backups") if any(path.name[0] != "." for path in folder.iterdir())]
        files += [path for path in timers.own(name) if path.exists()]
        if data:
            files += [*secrets, *below(root, releases.VOLUME), *(below(root, "backups") if not backups else [])]
        removed = [
            *(f"container {container}" for container in containers),
            *(f"network {network}" for network in networks),
            *(f"image {image}" for image in images),
            *(f"volume {volume}" for volume in volumes if data),
            *(f"path {path}" for path in files),
        ]
        if removed and not module.check_mode:
            docker_cli.docker("compose", "--project-name", name, "down", "--remove-orphans")
            scratch = listed("ps", "--all", "--filter", f"label=drydock.scratch={name}", "--format", "{{ .Names }}")
            if scratch:
                docker_cli.docker("rm", "--force", "--volumes", *scratch)
            scratch = listed("volume", "ls", "--quiet", "--filter", f"label=drydock.scratch={name}")
            if scratch:
                docker_cli.docker("volume", "rm", *scratch)
            if images:
                docker_cli.docker("image", "rm", *images)
            if data and volumes:
                docker_cli.docker("volume", "rm", *volumes)
            timers.removed(name)
            for path in files:
                remove_path(path)
    except (docker_cli.EngineError, OSError) as error:
        module.fail_json(msg=f"The stack {name} could not be removed: {error}")
    finally:
        if not module.check_mode and root.is_dir():
            lock.release(root, token, time.time())
    if data and removed and not backups and not module.check_mode:
        (root / lock.LAST_RUN).unlink(missing_ok=True)
        # Whatever else somebody keeps there stays.
        with contextlib.suppress(OSError):
            root.rmdir()
    kept = [
        *(f"volume {volume}" for volume in volumes if not data),
        *(f"path {path}" for path in (passphrase + backups if data else secrets + passphrase + backups)),
    ]
    module.exit_json(changed=bool(removed), removed=removed, kept=kept)


if __name__ == "__main__":
    main()
