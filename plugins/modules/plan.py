#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Decide which release of a FastAPI stack is to run, and where
version_added: "0.1.0"
description:
  - Renders the templates of the role P(drydock.stack.fastapi#role) with its variables on the controller and takes the hash of
    them and of the application's source, which is the release's id. Nothing is sent.
  - The release runs in the live slot where it does already, else in the other one.
options:
  source:
    description: Folder of the source on the controller.
    type: path
    required: true
  probe:
    description: How the front door is asked, as M(drydock.stack.stack_info) has it; recorded with the release.
    type: dict
    required: true
  again:
    description: Whether the run holds the lock already, so that all its steps are taken in any case.
    type: bool
    default: false
extends_documentation_fragment:
  - drydock.stack.options.host
  - drydock.stack.attributes.reads
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Decide what is to run
  drydock.stack.plan:
    source: /home/me/shop
    host: "{{ host }}"
    probe:
      address: 127.0.0.1
      port: 8000
      path: /readyz
      host: ""
      tls: false
      header: X-Slot
  register: plan
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
caddy_image:
  description: Reference of the front door's image.
  returned: always
  type: str
postgres_image:
  description: Reference of the database's image.
  returned: always
  type: str
postgres_command:
  description: What the database's container runs.
  returned: always
  type: list
  elements: str
upgrade:
  description: Whether the data is of another major version of PostgreSQL than the image.
  returned: always
  type: bool
volume:
  description: Name of the volume that is to be live instead of the one that is, "" for none; a rollback may need one.
  returned: always
  type: str
own_dockerfile:
  description: Whether the image is built by a Dockerfile of the user's own, with the source as its context.
  returned: always
  type: bool
sample:
  description: Whether the source is the collection's sample application.
  returned: always
  type: bool
probe:
  description: How the front door is asked.
  returned: always
  type: dict
remote:
  description: URL that the source was cloned from, without credentials, or "".
  returned: always
  type: str
migrate:
  description: The command that migrates the database, an empty list for none.
  returned: always
  type: list
  elements: str
migrate_command:
  description: The same, to be recorded, so that data which is restored later is migrated by it.
  returned: always
  type: list
  elements: str
migrations:
  description: Hash of the migrations of Alembic that the source holds, or "".
  returned: always
  type: str
running:
  description: Whether the release's container runs already in the slot.
  returned: always
  type: bool
converged:
  description: Whether there is nothing left to do.
  returned: always
  type: bool
"""
