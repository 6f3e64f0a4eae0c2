# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.plugin_utils.render import migrator
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings


class ActionModule(ActionBase):
    """Migrate a database, with the login of the role that does so; documented in plugins/modules/migrate.py."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = {**self._task.args, **migrator(Settings(self._templar, task_vars))}
        return self._execute_module("drydock.stack.migrate", module_args=arguments, task_vars=task_vars)
