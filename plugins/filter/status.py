# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
name: status
short_description: What runs of a stack, in an operator's words
version_added: "0.1.0"
description:
  - Turns what M(drydock.stack.stack_info) returned into a summary for people and for monitoring.
positional: _input, name
options:
  _input:
    description: What M(drydock.stack.stack_info) returned.
    type: dict
    required: true
  name:
    description: Name of the stack.
    type: str
    required: true
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Show the live release
  ansible.builtin.debug:
    msg: "{{ (host | drydock.stack.status('shop')).release }}"
"""

RETURN = r"""
_value:
  description: Name, release, slot, releases, services, database, versions, free disk in gigabytes.
  type: dict
"""

from ansible_collections.drydock.stack.plugins.module_utils.status import summary


class FilterModule:
    def filters(self):
        return {"status": summary}
