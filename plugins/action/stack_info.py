# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.plugin_utils.backups import backup_settings
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings, value_of

PASSWORD = "fastapi_database_password"


class ActionModule(ActionBase):
    """Read a host, with the database's password as it stands; documented in plugins/modules/stack_info.py."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if PASSWORD in task_vars:
            arguments["database_password"] = value_of(self._templar, PASSWORD, task_vars[PASSWORD])
        if boolean(arguments.get("schedule", False)):
            settings = Settings(self._templar, task_vars)
            arguments["backup"] = backup_settings(settings, task_vars["inventory_hostname"])
            arguments["rclone_config"] = settings["fastapi_backup_rclone_config"]
        return self._execute_module("drydock.stack.stack_info", module_args=arguments, task_vars=task_vars)
