# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.module_utils.source import SourceError, read_source

SHOWN = 5


class ActionModule(ActionBase):
    """Read an application's source on the controller; documented in plugins/modules/source.py."""

    _VALID_ARGS = frozenset({"path", "workdir", "app"})
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        path = Path(self._task.args["path"]).expanduser().absolute()
        try:
            source = read_source(path, self._task.args["workdir"], self._task.args["app"])
        except SourceError as error:
            raise AnsibleActionFail(str(error)) from error
        told = {**asdict(source), "root": str(source.root), "files": len(source.files)}
        return {"changed": False, **told, "warnings": warnings(source.secrets)}


def warnings(secrets):
    """Say which files stay behind though nothing but their names says so."""
    if not secrets:
        return []
    more = f" and {len(secrets) - SHOWN} more" if len(secrets) > SHOWN else ""
    return [
        f"fastapi_source holds {', '.join(secrets[:SHOWN])}{more}; no release takes such files along: hand secrets over in "
        "fastapi_env or fastapi_build_secrets, and have git ignore the files."
    ]
