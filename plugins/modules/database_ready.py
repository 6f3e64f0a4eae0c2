#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: database_ready
short_description: Ensure that a database which is not the stack's own takes the application
version_added: "0.1.0"
description:
  - Logs in as the application will, over the network, with PostgreSQL's own programs in a container that is gone afterwards.
  - Refuses a server that is newer than these programs, as C(pg_dump) could not read it, and a role that may not make tables where
    it has to.
options:
  database:
    description: C(host), C(port), C(sslmode), C(name), C(user), and C(image) with PostgreSQL's programs.
    type: dict
    required: true
  creates:
    description: Whether the role has to be able to make tables, as it migrates the database itself.
    type: bool
    default: true
extends_documentation_fragment:
  - drydock.stack.options.stack
  - drydock.stack.attributes.reads
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the database takes the application
  drydock.stack.database_ready:
    name: shop
    root: /opt/shop
    database:
      host: database.example.com
      port: 5432
      sslmode: require
      name: shop
      user: shop
      image: postgres:17-trixie
"""

RETURN = r"""
version:
  description: Major version of the server.
  returned: always
  type: int
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import arguments, postgres
from ansible_collections.drydock.stack.plugins.module_utils.settings import postgres_major

QUESTION = "SELECT current_setting('server_version_num'), has_schema_privilege(current_schema(), 'CREATE')"


def main():
    module = AnsibleModule(
        argument_spec={
            **arguments.STACK,
            "database": {"type": "dict", "required": True},
            "creates": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    found = module.params["database"]
    where = f"The database {found['name']} on {found['host']}"
    try:
        [answer] = postgres.query(postgres.Database(module.params["name"], Path(module.params["root"]), found), QUESTION)
    except postgres.DatabaseError as error:
        module.fail_json(msg=f"{where} does not take the role {found['user']}: {error}")
    number, may_create = answer.split("|")
    version, programs = int(number) // 10000, postgres_major(found["image"])
    if version > programs:
        module.fail_json(
            msg=f"{where} is of PostgreSQL {version} and fastapi_postgres_image is {found['image']}, whose programs cannot dump "
            f"it; use an image of version {version}."
        )
    if module.params["creates"] and may_create != "t":
        module.fail_json(
            msg=f"{where} lets the role {found['user']} make no tables; have its owner run "
            f'GRANT CREATE ON SCHEMA public TO "{found["user"]}"'
        )
    module.exit_json(changed=False, version=version)


if __name__ == "__main__":
    main()
