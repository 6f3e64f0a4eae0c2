# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The public variables of the role fastapi, as a plugin on the controller sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.parsing.vault import EncryptedString
from ansible.template import is_trusted_as_template
from ansible_collections.drydock.stack.plugins.module_utils.settings import shown

PREFIX = "fastapi_"
# Variables whose values are data, with their types. They stand in no argument spec, as Ansible would take what is in them
# for templates before the role sees them, and show the line where one fails.
DATA = {"fastapi_env": "dict", "fastapi_database_password": "str", "fastapi_database_migrator_password": "str"}
EXPRESSION = re.compile(r"\{\{((?!\{\{|\}\}).)*\}\}", re.DOTALL)
TEMPLATE = re.compile(r"\{\{|\{%|\{#")


class Settings(Mapping):
    """The role's variables by name, each templated when it is asked for, with the type that the user gave; data is literal."""

    def __init__(self, templar, task_vars: Mapping[str, Any]) -> None:
        self.templar = templar
        self.given = {name: value for name, value in task_vars.items() if name.startswith(PREFIX)}
        self.known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.known:
            self.known[name] = value_of(self.templar, name, self.given[name])
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)


def value_of(templar, name: str, value: Any) -> Any:
    if DATA.get(name) == "dict":
        return environment(templar, name, value)
    return literal(templar, name, value) if name in DATA else templar.template(value)


def environment(templar, name: str, values: Any) -> Any:
    """Return a mapping of data with each value as `literal` has it; what is no mapping is returned for others to refuse."""
    if isinstance(values, str):
        values = templar.template(values)
    if not isinstance(values, Mapping):
        return values
    return {key: literal(templar, f"{name}.{shown(key)}", value) for key, value in values.items()}


def literal(templar, name: str, value: Any) -> Any:
    """Return a value that is data: as it stands, or what an expression gives where it is nothing but one.

    Any other template in it raises AnsibleActionFail, as it cannot be told from data; `!unsafe` says that it is data.
    """
    if isinstance(value, EncryptedString):
        return str(value)
    if not isinstance(value, str) or not is_trusted_as_template(value) or not TEMPLATE.search(value):
        return value
    if EXPRESSION.fullmatch(value.strip()):
        return templar.template(value)
    raise AnsibleActionFail(
        f"{name} holds a template among other text; a value is data: mark it !unsafe where the braces are meant, "
        "else compose it in a variable of its own and refer to that one: '{{ my_variable }}'."
    )
