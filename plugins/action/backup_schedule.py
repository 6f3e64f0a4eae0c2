# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.plugin_utils.backups import backup_settings
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings


class ActionModule(ActionBase):
    """Say what the variables want of backups; documented in plugins/modules/backup_schedule.py."""

    _VALID_ARGS = frozenset({"name", "root"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        settings = Settings(self._templar, task_vars)
        arguments = {
            **self._task.args,
            "settings": backup_settings(settings, task_vars["inventory_hostname"]),
            "rclone_config": settings["fastapi_backup_rclone_config"],
        }
        return self._execute_module("drydock.stack.backup_schedule", module_args=arguments, task_vars=task_vars)
