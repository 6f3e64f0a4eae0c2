# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.plugin_utils.backups import backup_settings
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings


class ActionModule(ActionBase):
    """Take the data to another major version, as the role's variables have it; documented in plugins/modules/upgrade.py."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        settings = backup_settings(Settings(self._templar, task_vars), task_vars["inventory_hostname"])
        arguments = {**self._task.args, "settings": settings}
        return self._execute_module("drydock.stack.upgrade", module_args=arguments, task_vars=task_vars)
