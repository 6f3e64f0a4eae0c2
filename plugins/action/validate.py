# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.module_utils.settings import problems
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import public


class ActionModule(ActionBase):
    """Refuse settings that make no sense, all at once; documented in plugins/modules/validate.py."""

    _VALID_ARGS = frozenset()
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        found = problems(public(self._templar, task_vars))
        if found:
            raise AnsibleActionFail("\n".join(found))
        return {"changed": False}
