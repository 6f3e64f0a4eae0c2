#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: record
short_description: Make a release of a stack the current one
version_added: "0.1.0"
description:
  - Writes C(release.json) into the release's folder and points C(current) to it, each by an atomic rename.
  - Its C(build) is what the image says of its build, which may have been for another release and on another host - when, by which
    engine, of which source, on which image of Python.
  - Keeps the list of the Python packages in the image, in CycloneDX, beside it as C(python.cdx.json).
options:
  root:
    description: Folder of the stack.
    type: path
    required: true
  id:
    description: Id of the release.
    type: str
    required: true
  facts:
    description:
      - What C(release.json) is to say beside the time, the image's id and the configuration hash of the container.
      - Needs C(image), the image's reference, and C(slot).
    type: dict
    required: true
  rolled_back:
    description: Id of a release that this one replaces because it was not good, "" for none.
    type: str
    default: ""
extends_documentation_fragment:
  - drydock.stack.options.token
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the release is the current one
  drydock.stack.record:
    root: /opt/shop
    id: 0123456789ab
    token: "{{ lock.token }}"
    facts:
      image: shop:ba9876543210
      slot: blue
"""

RETURN = r"""
record:
  description: What C(release.json) says.
  returned: when not in check mode
  type: dict
"""

import datetime
import json
import os
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import arguments, containers, docker_cli, dumps, lock
from ansible_collections.drydock.stack.plugins.module_utils.release import (
    RECORD,
    SBOM,
    SBOM_IN_IMAGE,
    confirm_password,
    point_to,
    recorded,
    write_durably,
)
from ansible_collections.drydock.stack.plugins.module_utils.settings import postgres_mount

# What the image says of its build, by the labels that the build gave it.
BUILD_LABELS = {
    "release": "org.opencontainers.image.version",
    "source": "org.opencontainers.image.source",
    "revision": "org.opencontainers.image.revision",
    "python_image": "org.opencontainers.image.base.name",
    "builder": "drydock.builder",
}


def build(image):
    """Return when and of what an image was built, as far as it says so."""
    labels = image["Config"].get("Labels") or {}
    return {"at": image["Created"], **{key: labels.get(label, "") for key, label in BUILD_LABELS.items()}}


def keep_sbom(container, folder):
    """Keep with the release what the build has found to be in its image, where it has: an image of one's own may have none."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / SBOM
        docker_cli.docker("cp", f"{container}:{SBOM_IN_IMAGE}", str(copy), check=False)
        if copy.is_file() and not copy.is_symlink():
            write_durably(folder / SBOM, copy.read_bytes(), 0o644)


def write(folder, record):
    write_durably(folder / RECORD, json.dumps(record, indent=2).encode() + b"\n", 0o644)


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def follow(root, image):
    """Have backups, drills and restores use the image of the release that serves."""
    settings = dumps.read_json(root / dumps.SETTINGS)
    if image and settings and settings["image"] != image:
        told = {**settings, "image": image, "mount": postgres_mount(image)}
        write_durably(root / dumps.SETTINGS, (json.dumps(told, indent=2) + "\n").encode(), 0o600)


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "id": {"type": "str", "required": True},
            "facts": {"type": "dict", "required": True},
            "rolled_back": {"type": "str", "default": ""},
            **arguments.TOKEN,
        },
        supports_check_mode=True,
    )
    root, identity = Path(module.params["root"]), module.params["id"]
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        lock.check(root, module.params["token"])
        image = docker_cli.inspect("image", "inspect", module.params["facts"]["image"])
        stack, slot = module.params["facts"]["image"].rpartition(":")[0], module.params["facts"]["slot"]
        container = containers.look(containers.name_of(stack, f"app-{slot}"))
        known = [recorded(folder) for folder in (root / "releases").iterdir()]
        record = {
            "id": identity,
            # Counts what was deployed; times would be wrong with the clock of the host.
            "number": max((other.get("number", 0) for other in known), default=0) + 1,
            "deployed": now(),
            "image_id": image[0]["Id"] if image else "",
            "image_size": image[0]["Size"] if image else 0,
            "build": build(image[0]) if image else {},
            "hash": container["Config"]["Labels"].get("com.docker.compose.config-hash") if container else None,
            **module.params["facts"],
        }
        write(root / "releases" / identity, record)
        keep_sbom(containers.name_of(stack, f"app-{slot}"), root / "releases" / identity)
        bad = root / "releases" / module.params["rolled_back"]
        if module.params["rolled_back"] and recorded(bad):
            write(bad, {**recorded(bad), "rolled_back": now()})
        confirm_password(root)
        follow(root, module.params["facts"]["postgres_image"])
        point_to(root, identity)
        os.sync()
    except (lock.LockLostError, docker_cli.EngineError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"The release cannot be recorded in {root}: {error.strerror or error}")
    module.exit_json(changed=True, record=record)


if __name__ == "__main__":
    main()
