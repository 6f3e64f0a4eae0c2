"""The filter `drydock.stack.env_quote`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.drydock.stack.plugins.module_utils import quoting

DOCUMENTATION = r"""
name: env_quote
short_description: Quotes one value for a .env file
version_added: 0.1.0
author: The drydock.stack maintainers
description:
  - Returns text as one double-quoted value that Docker Compose reads back byte for byte, on one line.
  - Anything but text is refused, because C(0123) and C(yes) are no longer what was written once YAML has read them.
  - Text with a NUL character or with invalid Unicode is refused too; messages never hold the value.
positional: _input
options:
  _input:
    description: The value, as text.
    type: str
    required: true
seealso:
  - plugin: drydock.stack.compose_scalar
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write one variable
  ansible.builtin.copy:
    dest: /opt/shop/.env
    content: "GREETING={{ greeting | drydock.stack.env_quote }}\n"
    mode: "0600"
"""

RETURN = r"""
_value:
  description: The value between double quotes; backslash, quote, dollar sign, line feed, carriage return are escaped.
  type: str
"""


def env_quote(value: Any) -> str:
    try:
        return quoting.env_quote(value)
    except quoting.QuotingError as error:
        raise AnsibleFilterError(f"env_quote: {error}") from None


class FilterModule:
    """The one filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"env_quote": env_quote}
