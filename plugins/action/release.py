# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

import tempfile
from pathlib import Path

from ansible import constants as C  # noqa: N812 (its usual name)
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.module_utils.bundle import BundleError, write_bundle
from ansible_collections.drydock.stack.plugins.module_utils.source import SourceError, bundled_hash
from ansible_collections.drydock.stack.plugins.plugin_utils.render import renderer
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings


class ActionModule(ActionBase):
    """Put a release on the host; documented in plugins/modules/release.py."""

    TRANSFERS_FILES = True
    _VALID_ARGS = frozenset({"source", "host", "plan", "token"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        host, plan = self._task.args["host"], self._task.args["plan"]
        settings = Settings(self._templar, task_vars)
        arguments = {
            "name": settings["fastapi_name"],
            "root": settings["fastapi_root"],
            "plan": plan,
            "host": host,
            "database_password": settings.get("fastapi_database_password"),
            "token": self._task.args.get("token", ""),
            "fleet": len(task_vars["ansible_play_hosts_all"]) > 1,
        }
        damaged = plan["id"] == host["current"] and not host["intact"]
        if plan["id"] not in host["releases"] or (damaged and "source" in self._task.args):
            arguments["archive"] = self._transfer(self._renderer(host, task_vars), plan["id"])
        return self._execute_module("drydock.stack.release", module_args=arguments, task_vars=task_vars)

    def _renderer(self, host, task_vars):
        try:
            return renderer(self._templar, task_vars, host, Path(self._task.args["source"]))
        except SourceError as error:
            raise AnsibleActionFail(str(error)) from error

    def _transfer(self, bundle, identity):
        """Send the release as one file and return its path on the host."""
        with tempfile.TemporaryDirectory(dir=C.DEFAULT_LOCAL_TMP) as folder:
            archive = Path(folder) / "release.tar.gz"
            if not write_release(archive, bundle, identity):
                raise AnsibleActionFail(
                    f"{bundle.source.root} or a variable has changed since the release {identity} was planned; "
                    "run the same again."
                )
            self._make_tmp_path()
            remote = self._connection._shell.join_path(self._connection._shell.tmpdir, archive.name)
            self._transfer_file(str(archive), remote)
            self._fixup_perms2((self._connection._shell.tmpdir, remote))
            return remote


def write_release(archive, bundle, identity):
    """Write the release as a bundle; tell whether it is the one of that identity, also where its source is being changed."""
    files = bundle.files()
    if bundle.identity(files) != identity:
        return False
    try:
        write_bundle(archive, bundle.entries(files, identity))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, BundleError):
        return False
    except OSError as error:
        raise AnsibleActionFail(
            f"The release {identity} cannot be bundled: {error.filename or archive}: {error.strerror}; give read access to it, "
            "and room where Ansible keeps its temporary files."
        ) from error
    return bundled_hash(archive, "source") == bundle.source.content_hash
