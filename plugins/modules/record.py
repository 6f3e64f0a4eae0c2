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
  - Removes the oldest releases beyond O(keep), and the images that only they used. The current release always stays.
options:
  root:
    description: Folder of the stack.
    type: path
    required: true
  id:
    description: Id of the release.
    type: str
    required: true
  keep:
    description: Number of releases that stay.
    type: int
    default: 5
  facts:
    description: What C(release.json) is to say beside the time and the image's id; needs C(image), the image's reference.
    type: dict
    required: true
attributes:
  check_mode:
    description: Says that it would change something, and changes nothing.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the release is the current one
  drydock.stack.record:
    root: /opt/shop
    id: 0123456789ab
    facts:
      image: shop:ba9876543210
"""

RETURN = r"""
record:
  description: What C(release.json) says.
  returned: when not in check mode
  type: dict
pruned:
  description: Ids of the releases that were removed.
  returned: when not in check mode
  type: list
  elements: str
"""

import datetime
import json
import os
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import docker_cli
from ansible_collections.drydock.stack.plugins.module_utils.release import write_durably


def describe(folder):
    """Return what a release's folder says of it, {} where it was never recorded."""
    file = folder / "release.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def point_to(root, identity):
    link = root / ".current.partial"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("releases") / identity)
    link.replace(root / "current")


def prune(root, current, keep):
    """Remove the oldest releases and their images; one that was never recorded counts as oldest."""
    folders = [folder for folder in (root / "releases").iterdir() if folder.name != current]
    folders.sort(key=lambda folder: (describe(folder).get("deployed", ""), folder.name), reverse=True)
    stale = folders[max(keep - 1, 0) :]
    staying = {describe(folder).get("image") for folder in (root / "releases").iterdir() if folder not in stale}
    for folder in stale:
        image = describe(folder).get("image")
        if image and image not in staying:
            docker_cli.docker("image", "rm", image, check=False)
        shutil.rmtree(folder)
    return [folder.name for folder in stale]


def main():
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "id": {"type": "str", "required": True},
            "keep": {"type": "int", "default": 5},
            "facts": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    root, identity = Path(module.params["root"]), module.params["id"]
    if module.check_mode:
        module.exit_json(changed=True)
    image = docker_cli.inspect("image", "inspect", module.params["facts"]["image"])
    record = {
        "id": identity,
        "deployed": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "image_id": image[0]["Id"] if image else "",
        "image_size": image[0]["Size"] if image else 0,
        **module.params["facts"],
    }
    folder = root / "releases" / identity
    write_durably(folder / "release.json", json.dumps(record, indent=2).encode() + b"\n", 0o644)
    point_to(root, identity)
    os.sync()
    module.exit_json(changed=True, record=record, pruned=prune(root, identity, module.params["keep"]))


if __name__ == "__main__":
    main()
