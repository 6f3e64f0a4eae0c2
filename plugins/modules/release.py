#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Put a release of a FastAPI stack on the host
version_added: "0.1.0"
description:
  - Renders the templates of the role P(drydock.stack.fastapi#role) with its variables on the controller, bundles them with the
    application's source, and sends the bundle as one file, only if the host lacks it.
  - The id of a release is a hash of all that it holds. It runs in the live slot where it does already, else in the other one.
  - The database's password is filled in on the host and leaves it never; it is made there where none is given and none is kept.
options:
  source:
    description: Folder of the source on the controller.
    type: path
  host:
    description: What M(drydock.stack.stack_info) returned of the host.
    type: dict
  root:
    description: Folder of the stack; set by the controller's part of this module.
    type: path
  id:
    description: Id of the release; set by the controller's part of this module.
    type: str
  archive:
    description: The bundle on the host, none where the host has the release; set by the controller's part of this module.
    type: path
  database_password:
    description: The database's password, where it is given; set by the controller's part of this module.
    type: str
attributes:
  check_mode:
    description: Shows what would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows the files that differ from the current release, without the values of C(.env).
    support: full
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the release is on the host
  drydock.stack.release:
    source: /home/me/shop
    host: "{{ host }}"
  register: release
"""

RETURN = r"""
id:
  description: Id of the release, 12 hexadecimal digits.
  returned: always
  type: str
slot:
  description: The slot that the release runs in.
  returned: always
  type: str
folder:
  description: Folder of the release on the host.
  returned: always
  type: str
image:
  description: Reference of the application's image; its tag is a hash of all that it is built from.
  returned: always
  type: str
revision:
  description: Commit of the source, or "".
  returned: always
  type: str
dirty:
  description: Whether the source has changes that are not committed.
  returned: always
  type: bool
remote:
  description: URL that the source was cloned from, without credentials, or "".
  returned: always
  type: str
migrate:
  description: The command that migrates the database, an empty list for none.
  returned: always
  type: list
  elements: str
running:
  description: Whether the release's container runs already.
  returned: always
  type: bool
converged:
  description: Whether there is nothing left to do.
  returned: always
  type: bool
hashes:
  description: By service, the configuration hash that the release's compose file gives.
  returned: when not converged and not in check mode
  type: dict
"""

import shutil
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import docker_cli
from ansible_collections.drydock.stack.plugins.module_utils import release as releases
from ansible_collections.drydock.stack.plugins.module_utils.bundle import extract_bundle

SHOWN = ("Dockerfile", ".dockerignore", "compose.yaml", "Caddyfile", ".env")


def text_of(folder, name, other=None):
    file = folder / name
    text = file.read_text() if file.is_file() else ""
    if name != ".env":
        return text
    return releases.masked(text, (other / name).read_text() if other and (other / name).is_file() else "")


def differences(old, new):
    """Return Ansible's diff of the files that a person reads, and the names of the source's files that changed."""
    shown = []
    for name in SHOWN:
        before, after = text_of(old, name), text_of(new, name, old)
        if before != after:
            shown.append({"before_header": name, "after_header": name, "before": before, "after": after})
    before, after = listing(old / "source"), listing(new / "source")
    if before != after:
        changed = sorted(path for path in before.keys() & after.keys() if before[path] != after[path])
        shown.append(
            {
                "before_header": "source",
                "after_header": "source",
                "before": "".join(f"{path}\n" for path in sorted(before)),
                "after": "".join(f"{path}{' (changed)' if path in changed else ''}\n" for path in sorted(after)),
            }
        )
    return shown


def listing(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }


def compose(folder, *arguments):
    return docker_cli.docker("compose", "--project-directory", str(folder), *arguments)


def plan(module, root, archive):
    """Show what would change."""
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as scratch:
        new = Path(scratch) / "release"
        extract_bundle(archive, new)
        env = new / ".env"
        password = root / "secrets" / "database_password"
        env.write_text(releases.fill_password(env.read_text(), password.read_text() if password.exists() else ""))
        return differences(root / "current", new)


def install(module, root, folder, archive):
    """Put the release in its place as a whole, and return what changed."""
    releases.make_folders(root)
    password = releases.keep_password(root, module.params["database_password"])
    partial = folder.with_name(f".{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    extract_bundle(archive, partial)
    env = partial / ".env"
    releases.write_durably(env, releases.fill_password(env.read_text(), password).encode(), 0o600)
    compose(partial, "config", "--quiet")
    shown = differences(root / "current", partial)
    partial.rename(folder)
    return shown


def main():
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path"},
            "host": {"type": "dict"},
            "root": {"type": "path"},
            "id": {"type": "str"},
            "archive": {"type": "path"},
            "database_password": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["root"])
    folder = root / "releases" / module.params["id"]
    archive = Path(module.params["archive"]) if module.params["archive"] else None
    if module.check_mode:
        module.exit_json(changed=True, diff=plan(module, root, archive) if archive else [])
    try:
        shown = install(module, root, folder, archive) if archive else []
        hashes = dict(line.split() for line in compose(folder, "config", "--hash", "*").splitlines())
    except docker_cli.EngineError as error:
        module.fail_json(msg=f"{folder}/compose.yaml is refused by Docker Compose: {error}")
    module.exit_json(changed=archive is not None, hashes=hashes, diff=shown)


if __name__ == "__main__":
    main()
