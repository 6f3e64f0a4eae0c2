#!/usr/bin/python
"""The module `drydock.stack.engine_info`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_info
short_description: Tells what Docker Engine a host has
version_added: 0.1.0
author: The drydock.stack maintainers
description:
  - Asks the engine itself for its version and those of the compose and buildx plugins, and judges them.
  - A C(docker) command without an engine behind it counts as no engine.
  - Changes nothing.
options:
  minimum:
    description: The oldest versions that are good enough.
    type: dict
    default: {}
    suboptions:
      version:
        description: Of the engine.
        type: str
        default: "0"
      compose:
        description: Of the compose plugin.
        type: str
        default: "0"
      buildx:
        description: Of the buildx plugin.
        type: str
        default: "0"
  path:
    description: The file of the engine's settings. Used with O(settings) only.
    type: path
    default: /etc/docker/daemon.json
  settings:
    description: The keys that the file is to hold, as in M(drydock.stack.engine_settings).
    type: dict
attributes:
  check_mode:
    description: Runs in check mode as it does otherwise.
    support: full
"""

EXAMPLES = r"""
- name: Read what the host has
  drydock.stack.engine_info:
    minimum:
      version: "25.0"
      compose: "2.24"
  register: engine
"""

RETURN = r"""
state:
  description:
    - V(running), or V(stopped) where it is installed and cannot be reached,
      V(forbidden) where the user has no permission on its socket, V(absent).
  type: str
  returned: always
problems:
  description: What is wrong with an engine that is there, one sentence each; empty where it is good.
  type: list
  elements: str
  returned: always
  sample: ["Compose is 1.29.2; 2.24 or later is wanted"]
reason:
  description: The client's own words about an engine that does not answer.
  type: str
  returned: always
version:
  description: Version of the engine.
  type: str
  returned: always
compose:
  description: Version of the compose plugin.
  type: str
  returned: always
buildx:
  description: Version of the buildx plugin.
  type: str
  returned: always
client:
  description: Path of the C(docker) command.
  type: str
  returned: always
client_code:
  description: Return code of C(docker info).
  type: int
  returned: always
daemon:
  description: Path of C(dockerd).
  type: str
  returned: always
live_restore:
  description: Whether containers outlive a restart of the engine.
  type: bool
  returned: always
settled:
  description:
    - Whether the file holds the settings already and no change of them waits for the engine.
    - V(false) where it cannot be read; M(drydock.stack.engine_settings) then says why.
  type: bool
  returned: when O(settings) is given
summary:
  description: The versions of engine and plugins in one line.
  type: str
  returned: always
  sample: Engine 26.1.5, Compose 2.26.1, Buildx 0.13.1
log_driver:
  description: The log driver of new containers.
  type: str
  returned: always
mirrors:
  description: Mirrors of the public registry.
  type: list
  elements: str
  returned: always
rootless:
  description: Whether the engine runs without root.
  type: bool
  returned: always
swarm:
  description: Whether the host is part of a swarm.
  type: bool
  returned: always
user_id:
  description: Id of the user who asked.
  type: int
  returned: always
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import engine


def main() -> None:
    oldest = {"type": "str", "default": "0"}
    module = AnsibleModule(
        argument_spec={
            "minimum": {
                "type": "dict",
                "default": {},
                "options": {"version": oldest, "compose": oldest, "buildx": oldest},
            },
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "settings": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    found = engine.look()
    if module.params["settings"] is not None:
        found["settled"] = engine.settled(Path(module.params["path"]), module.params["settings"])
    module.exit_json(changed=False, problems=engine.judge(found, module.params["minimum"]), **found)


if __name__ == "__main__":
    main()
