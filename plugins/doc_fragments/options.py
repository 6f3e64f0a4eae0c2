# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations


class ModuleDocFragment:
    """Options that several modules of the collection take; module_utils/arguments.py has their specs."""

    STACK = r"""
options:
  name:
    description: Name of the stack, which is its Compose project.
    type: str
    required: true
  root:
    description: Folder of the stack.
    type: path
    required: true
"""

    PLAN = r"""
options:
  plan:
    description: What M(drydock.stack.plan) returned.
    type: dict
    required: true
"""

    HOST = r"""
options:
  host:
    description: What M(drydock.stack.stack_info) returned of the host, before anything was changed.
    type: dict
    required: true
"""

    TOKEN = r"""
options:
  token:
    description: Token of the lock that the run holds; without it nothing is changed.
    type: str
    required: true
"""
