"""The filter `drydock.stack.database_url`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.drydock.stack.plugins.module_utils import quoting

DOCUMENTATION = r"""
name: database_url
short_description: Joins the settings of a database into a URL
version_added: 0.1.0
author: The drydock.stack maintainers
description:
  - Returns C(scheme://user:password@host:port/name) with every part percent-encoded,
    so that a password may hold any character.
  - An IPv6 address is put in brackets.
  - Messages never hold a value.
positional: _input, scheme
options:
  _input:
    description: The settings V(host), V(port), V(name), V(user) and V(password).
    type: dict
    required: true
  scheme:
    description: The scheme, which names the driver.
    type: str
    default: postgresql
"""

EXAMPLES = r"""
- name: Join the settings
  ansible.builtin.set_fact:
    database_url: >-
      {{ {'host': 'db', 'port': 5432, 'name': 'shop', 'user': 'shop', 'password': password}
         | drydock.stack.database_url('postgresql+asyncpg') }}
"""

RETURN = r"""
_value:
  description: The URL.
  type: str
"""


def database_url(settings: Mapping[str, Any], scheme: str = "postgresql") -> str:
    if not isinstance(settings, Mapping):
        raise AnsibleFilterError(f"database_url: The settings are {quoting.kind(settings)}; use a mapping.")
    try:
        return quoting.database_url(settings, scheme)
    except quoting.QuotingError as error:
        raise AnsibleFilterError(f"database_url: {error}") from None


class FilterModule:
    """The one filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"database_url": database_url}
