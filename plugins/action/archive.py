# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.plugin_utils.backups import backup_settings
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings


class ActionModule(ActionBase):
    """Say what the variables want of the archive; documented in plugins/modules/archive.py."""

    _VALID_ARGS = frozenset({"name", "root", "state", "ca_bundle", "known"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        settings = backup_settings(Settings(self._templar, task_vars), task_vars["inventory_hostname"])
        arguments = {**self._task.args, "settings": settings}
        return self._execute_module("drydock.stack.archive", module_args=arguments, task_vars=task_vars)
