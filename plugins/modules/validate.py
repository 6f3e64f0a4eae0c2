#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
# The work is done on the controller, in plugins/action/validate.py.
from __future__ import annotations

DOCUMENTATION = r"""
module: validate
short_description: Refuse settings of a FastAPI stack that make no sense
version_added: "0.1.0"
description:
  - Checks every variable of the role P(drydock.stack.fastapi#role), alone and together, on the controller.
  - Fails with one line for each problem, which says variable, found, expected and remedy; never with a secret's value.
options:
  only:
    description: Variables that are checked alone, where they are set; left out, all of them, and the files that they name.
    type: list
    elements: str
extends_documentation_fragment:
  - drydock.stack.attributes.reads
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Ensure every setting makes sense
  drydock.stack.validate:

- name: Ensure these two make sense
  drydock.stack.validate:
    only: [fastapi_name, fastapi_root]
"""

RETURN = r""" # """
