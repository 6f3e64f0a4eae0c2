#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
# The work is done on the controller, in plugins/action/source.py.
from __future__ import annotations

DOCUMENTATION = r"""
module: source
short_description: Read the source of an application on the controller
version_added: "0.1.0"
description:
  - Finds what an application is installed from, its module and its migrations, and fails where something is missing.
options:
  path:
    description: Folder of the source.
    type: path
    required: true
  workdir:
    description: Folder inside the source in which the application runs.
    type: str
    required: true
  app:
    description: What uvicorn runs, as C(module:attribute).
    type: str
    required: true
extends_documentation_fragment:
  - drydock.stack.attributes.reads
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure the source is complete
  drydock.stack.source:
    path: ../shop
    workdir: .
    app: shop.main:app
"""

RETURN = r"""
root:
  description: The folder.
  returned: always
  type: str
installer:
  description: The file that the dependencies come from, C(uv.lock), C(pyproject.toml) or C(requirements.txt).
  returned: always
  type: str
files:
  description: Number of files that a release takes along.
  returned: always
  type: int
secrets:
  description: Files that hold secrets by their names and stay behind though no git ignores them; they are warned of as well.
  returned: always
  type: list
  elements: str
revision:
  description: Commit of the source, or "".
  returned: always
  type: str
"""
