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
  - Removes nothing that is not the stack's, by Compose's and its own labels.
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
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import archive, arguments, docker_cli, lock, timers
from ansible_collections.drydock.stack.plugins.module_utils import release as releases

VOLUMES = r"_(postgres_data(_[0-9]+)?|caddy_data|caddy_config)"
STACK_FILES = ("current", "releases", "proxy", "bin", "backup.json")
IMAGE_LABELS = ("drydock.stack", "drydock.postgres")


def listed(*arguments):
    return docker_cli.docker(*arguments).split()


def remove_path(path):
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path)


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
    held = lock.read(root)
    if held and held["expires"] > time.time():
        module.fail_json(
            msg=f"The stack in {root} is being changed by {held['owner']}; wait for that run, or where it is dead: rm {root}/lock"
        )
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
        files = [path for path in (root / entry for entry in STACK_FILES) if path.exists() or path.is_symlink()]
        secrets = [root / folder for folder in ("secrets", "certificates") if (root / folder).exists()]
        # Without it the archive, which is a backup and stays, is of no use.
        passphrase = [path for path in [archive.passphrase_file(root)] if path.exists()]
        if passphrase:
            secrets = sorted({*secrets, *(root / "secrets").iterdir()} - {root / "secrets", *passphrase})
        backups = [root / "backups"] if (root / "backups").exists() and any((root / "backups").iterdir()) else []
        files += [path for path in timers.own(name) if path.exists()]
        if data:
            files += [*secrets, *(path for path in [root / releases.VOLUME] if path.exists())]
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
            if data and not backups:
                # Whatever else somebody keeps there stays.
                for folder in (root / "backups", root):
                    with contextlib.suppress(OSError):
                        folder.rmdir()
    except docker_cli.EngineError as error:
        module.fail_json(msg=f"The stack {name} could not be removed: {error}")
    kept = [
        *(f"volume {volume}" for volume in volumes if not data),
        *(f"path {path}" for path in (passphrase + backups if data else secrets + passphrase + backups)),
    ]
    module.exit_json(changed=bool(removed), removed=removed, kept=kept)


if __name__ == "__main__":
    main()
