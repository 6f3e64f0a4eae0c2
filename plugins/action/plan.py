# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.module_utils.guards import is_sample
from ansible_collections.drydock.stack.plugins.module_utils.settings import postgres_major
from ansible_collections.drydock.stack.plugins.module_utils.source import SourceError
from ansible_collections.drydock.stack.plugins.module_utils.state import runs_as_expected, slot_for
from ansible_collections.drydock.stack.plugins.plugin_utils.render import external_database, renderer


class ActionModule(ActionBase):
    """Decide which release is to run, and where; documented in plugins/modules/plan.py."""

    _VALID_ARGS = frozenset({"source", "host", "probe", "again"})
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        host, again = self._task.args["host"], boolean(self._task.args.get("again", False))
        try:
            plan = renderer(self._templar, task_vars, host, Path(self._task.args["source"]))
        except SourceError as error:
            raise AnsibleActionFail(str(error)) from error
        files = plan.files()
        identity = plan.identity(files)
        slot = slot_for(host, identity)
        service = host["services"].get(f"app-{slot}", {})
        return {
            "changed": False,
            "id": identity,
            "slot": slot,
            "folder": f"{plan.settings['fastapi_root']}/releases/{identity}",
            "image": plan.image(files),
            "revision": plan.source.revision,
            "dirty": plan.source.dirty,
            "caddy_image": plan.settings["fastapi_caddy_image"],
            "postgres_image": plan.settings["fastapi_postgres_image"],
            "postgres_command": plan.variables["__fastapi_postgres_command"],
            "upgrade": bool(host["volume"]["major"])
            and not external_database(plan.settings)
            and host["volume"]["major"] != str(postgres_major(plan.settings["fastapi_postgres_image"])),
            "volume": "",
            "own_dockerfile": bool(plan.own_dockerfile),
            "sample": is_sample(plan.settings["fastapi_source"]),
            "remote": plan.source.remote,
            "migrate": plan.migrate(),
            "migrate_command": plan.migrate(),
            "database": external_database(plan.settings),
            "migrations": plan.source.migrations,
            "running": service.get("release") == identity and service.get("status") == "running",
            "probe": self._task.args["probe"],
            "converged": not again
            and host["current"] == identity
            and host["live"] == slot
            and runs_as_expected(host, slot, identity),
        }
