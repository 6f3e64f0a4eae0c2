# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
name: status_table
short_description: A stack's status as lines to read
version_added: "0.1.0"
description:
  - Turns what the filter P(drydock.stack.status#filter) returned into a table.
options:
  _input:
    description: What the filter P(drydock.stack.status#filter) returned.
    type: dict
    required: true
author:
  - The drydock.stack maintainers (@drydock)
"""

EXAMPLES = r"""
- name: Show the stack
  ansible.builtin.debug:
    msg: "{{ host | drydock.stack.status('shop') | drydock.stack.status_table }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

from ansible_collections.drydock.stack.plugins.module_utils.status import table


class FilterModule:
    def filters(self):
        return {"status_table": table}
