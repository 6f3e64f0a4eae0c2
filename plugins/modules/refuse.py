#!/usr/bin/python
# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
# The work is done on the controller, in plugins/action/refuse.py.
from __future__ import annotations

DOCUMENTATION = r"""
module: refuse
short_description: Refuse a host that a FastAPI stack cannot be deployed on
version_added: "0.1.0"
description:
  - Compares what the host has with what the role P(drydock.stack.fastapi#role) needs - engine, disk, ports, existing data.
  - Fails with one line for each reason, before anything is touched.
options:
  earlier:
    description: Whether a release is to run that has run there before, so that the settings of a new one do not count.
    type: bool
    default: false
  upgrade:
    description: Whether the data is to be taken to the major version of the image, so that an earlier one is no reason to refuse.
    type: bool
    default: false
  restored:
    description: Whether the data has just been restored, so that it is no reason to refuse that nobody has proven a backup.
    type: bool
    default: false
extends_documentation_fragment:
  - drydock.stack.options.host
  - drydock.stack.attributes.reads
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Refuse a host that cannot take the stack
  drydock.stack.refuse:
    host: "{{ host }}"
"""

RETURN = r""" # """
