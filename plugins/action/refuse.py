# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.module_utils.guards import refusals
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings


class ActionModule(ActionBase):
    """Refuse a host that a stack cannot be deployed on; documented in plugins/modules/refuse.py."""

    _VALID_ARGS = frozenset({"host", "earlier", "upgrade", "restored"})
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        earlier = boolean(self._task.args.get("earlier", False))
        upgrade = boolean(self._task.args.get("upgrade", False))
        restored = boolean(self._task.args.get("restored", False))
        found = refusals(self._task.args["host"], Settings(self._templar, task_vars), earlier, upgrade, restored)
        if found:
            raise AnsibleActionFail("\n".join(found))
        return {"changed": False}
