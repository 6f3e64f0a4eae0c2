# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

OWN = Path(__file__).parents[2] / "roles" / "fastapi" / "files" / "maintenance.html"


class ActionModule(ActionBase):
    """Read the page on the controller, and close or open the front door; documented in plugins/modules/maintenance.py."""

    _VALID_ARGS = frozenset({"name", "root", "enabled", "page", "retry_after", "meanwhile"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        arguments["content"] = content(Path(arguments.get("page") or OWN).expanduser())
        return self._execute_module("drydock.stack.maintenance", module_args=arguments, task_vars=task_vars)


def content(page):
    """Return the text of the page; raises AnsibleActionFail where it is none."""
    try:
        text = page.read_bytes().decode()
    except OSError as error:
        raise AnsibleActionFail(
            f"fastapi_maintenance_page is {page}, and it cannot be read: {error.strerror}; give an HTML file on the controller."
        ) from error
    except UnicodeDecodeError as error:
        raise AnsibleActionFail(f"fastapi_maintenance_page is {page}, and it is not UTF-8; save it as such.") from error
    if not text.strip():
        raise AnsibleActionFail(f"fastapi_maintenance_page is {page}, and it is empty; give a page that says what is going on.")
    return text
