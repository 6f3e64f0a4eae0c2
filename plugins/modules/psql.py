#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: psql
short_description: Run a query in the database of a stack
version_added: "0.1.0"
description:
  - Gives SQL, or commands of C(psql), to C(psql). In the stack's own database it is the superuser; where the current release has
    one elsewhere, the role that the application uses. The first error ends it.
  - What it does is not known, so that each run is a change.
options:
  query:
    description: SQL, or commands of C(psql).
    type: str
    required: true
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.attributes.changes
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Count the orders
  drydock.stack.psql:
    name: shop
    root: /opt/shop
    query: SELECT count(*) FROM orders
"""

RETURN = r"""
rc:
  description: Exit code of C(psql).
  returned: when not in check mode
  type: int
stdout:
  description: What it printed.
  returned: when not in check mode
  type: str
stderr:
  description: What it complained of.
  returned: when not in check mode
  type: str
"""

import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import arguments
from ansible_collections.drydock.stack.plugins.module_utils.postgres import Database
from ansible_collections.drydock.stack.plugins.module_utils.release import recorded


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "query": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True)
    root = Path(module.params["root"])
    database = Database(module.params["name"], root, recorded(root / "current").get("database", {}))
    done = subprocess.run(
        database.program("psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", stdin=True),
        input=module.params["query"], capture_output=True, text=True, errors="replace", check=False, env=database.environment(),
    )  # fmt: skip
    module.exit_json(changed=True, rc=done.returncode, stdout=done.stdout, stderr=done.stderr)


if __name__ == "__main__":
    main()
