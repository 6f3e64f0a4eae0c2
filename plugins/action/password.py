# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.action.stack_info import PASSWORD
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import value_of


class ActionModule(ActionBase):
    """Change the database's password, to one that is given as it stands; documented in plugins/modules/password.py."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if PASSWORD in task_vars:
            arguments["database_password"] = value_of(self._templar, PASSWORD, task_vars[PASSWORD])
        return self._execute_module("drydock.stack.password", module_args=arguments, task_vars=task_vars)
