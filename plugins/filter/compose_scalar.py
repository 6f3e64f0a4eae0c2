"""The filter `drydock.stack.compose_scalar`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.drydock.stack.plugins.module_utils import quoting

DOCUMENTATION = r"""
name: compose_scalar
short_description: Writes one value into a compose file
version_added: 0.1.0
author: The drydock.stack maintainers
description:
  - Returns a value as JSON, which YAML reads as well, with each C($) doubled so that Compose does not interpolate it.
  - Characters that JSON allows and YAML folds or refuses, such as U+0085 and U+2028, are escaped.
  - Text with a NUL character or with invalid Unicode is refused; messages never hold the value.
positional: _input
options:
  _input:
    description: Text, a number, a boolean or nothing, or a list or mapping of these.
    type: raw
    required: true
seealso:
  - plugin: drydock.stack.env_quote
    plugin_type: filter
"""

EXAMPLES = r"""
# services:
#   app:
#     image: {{ image | drydock.stack.compose_scalar }}
#     command: {{ ['sh', '-c', 'echo $HOME'] | drydock.stack.compose_scalar }}
- name: Show how a dollar sign is written
  ansible.builtin.debug:
    msg: "{{ 'costs $5' | drydock.stack.compose_scalar }}"   # "costs $$5"
"""

RETURN = r"""
_value:
  description: The value as JSON, on one line.
  type: str
"""


def compose_scalar(value: Any) -> str:
    try:
        return quoting.compose_scalar(value)
    except quoting.QuotingError as error:
        raise AnsibleFilterError(f"compose_scalar: {error}") from None


class FilterModule:
    """The one filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"compose_scalar": compose_scalar}
