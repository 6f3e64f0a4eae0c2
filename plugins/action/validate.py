# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.module_utils.settings import problems, shown
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings

TEMPLATES = ("Dockerfile.j2", "dockerignore.j2", "compose.yaml.j2", "env.j2", "Caddyfile.j2")


class ActionModule(ActionBase):
    """Refuse settings that make no sense, all at once; documented in plugins/modules/validate.py."""

    _VALID_ARGS = frozenset({"only"})
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        settings = Settings(self._templar, task_vars)
        only = self._task.args.get("only")
        if only is None:
            found = problems(settings) or missing_files(settings)
        else:
            found = problems({name: settings[name] for name in only if name in settings})
        if found:
            raise AnsibleActionFail("\n".join(found))
        return {"changed": False}


def missing_files(settings):
    """Return what is wrong with the files that the settings name on the controller, one message each."""
    found = []
    templates = Path(settings["fastapi_templates"])
    lacking = [name for name in TEMPLATES if not is_file(templates / name)]
    if lacking:
        found.append(
            f"fastapi_templates is {shown(str(templates))}, and there is no {', '.join(lacking)}; give a folder with all of "
            f"{', '.join(TEMPLATES)}: copy the collection's and change the copy."
        )
    own = Path(settings.get("fastapi_dockerfile") or __file__).expanduser()
    if not is_file(own):
        found.append(
            f"fastapi_dockerfile is {shown(str(own))}, and there is no such file; give the path of one on the controller."
        )
    if not found:
        named = [("fastapi_templates", templates / name) for name in TEMPLATES] + [("fastapi_dockerfile", own)]
        found = [
            f"{name} is {shown(str(path.parent if name == 'fastapi_templates' else path))}, and {why}"
            for name, path in named
            for why in unread(path)
        ]
    return found


def is_file(path):
    """Tell whether a file is there, to somebody who may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def unread(path):
    """Yield why a file is no text that can be read."""
    try:
        path.read_bytes().decode()
    except OSError as error:
        yield f"{path.name} cannot be read: {error.strerror}; give read access to it."
    except UnicodeDecodeError:
        yield f"{path.name} is not UTF-8; save it as such."
