# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

import tempfile
from pathlib import Path

from ansible import constants as C  # noqa: N812 (its usual name)
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.drydock.stack.plugins.module_utils.bundle import write_bundle
from ansible_collections.drydock.stack.plugins.module_utils.source import SourceError, read_source
from ansible_collections.drydock.stack.plugins.plugin_utils.render import Renderer
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import public

SLOTS = ("blue", "green")
MIGRATE = ["alembic", "upgrade", "head"]


class ActionModule(ActionBase):
    """Put a release on the host; documented in plugins/modules/release.py."""

    TRANSFERS_FILES = True
    _VALID_ARGS = frozenset({"source", "host"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        host = self._task.args["host"]
        settings = public(self._templar, task_vars)
        try:
            source = read_source(Path(self._task.args["source"]), settings["fastapi_workdir"], settings["fastapi_app"])
        except SourceError as error:
            raise AnsibleActionFail(str(error)) from error
        renderer = Renderer(self._templar, task_vars, settings, host, source)
        files = renderer.files()
        slot, identity, entries = self._choose(renderer, files, host)
        live = host["services"].get(f"app-{slot}", {})
        converged = host["current"] == identity and host["live"] == slot and self._runs_as_expected(host, slot, identity)
        result = {
            "id": identity,
            "slot": slot,
            "folder": f"{settings['fastapi_root']}/releases/{identity}",
            "image": renderer.image(files),
            "revision": source.revision,
            "dirty": source.dirty,
            "remote": source.remote,
            "migrate": self._migrate_command(settings, source),
            "running": live.get("release") == identity and live.get("status") == "running",
            "converged": converged,
            "changed": False,
        }
        if converged:
            return result
        installed = self._install(settings, identity, entries, task_vars, known=identity in host["releases"])
        return {**installed, **result, "changed": installed.get("changed", False)}

    def _choose(self, renderer, files, host):
        """Return slot, id and entries: those of the live slot where it runs this very release, else the other slot's."""
        live = host["live"]
        if live:
            identity, entries = renderer.release(files, live)
            if host["services"].get(f"app-{live}", {}).get("release") == identity:
                return live, identity, entries
        slot = next(slot for slot in SLOTS if slot != live)
        return (slot, *renderer.release(files, slot))

    def _runs_as_expected(self, host, slot, identity):
        """Tell whether just the services of the current release run, healthy, as its compose file has them.

        The application is known by its release; Compose's own hash of it does not take its env_file in.
        """
        services, expected = host["services"], dict(host["expected"])
        app = services.get(f"app-{slot}", {})
        expected.pop(f"app-{slot}", None)
        return (
            app.get("release") == identity
            and set(services) == {f"app-{slot}", *expected}
            and not host["orphans"]
            and all(service["status"] == "running" for service in services.values())
            and all(service["health"] in ("healthy", "") for service in services.values())
            and all(services[name]["hash"] == wanted for name, wanted in expected.items())
        )

    def _migrate_command(self, settings, source):
        return settings.get("fastapi_migrate_command", MIGRATE if source.migrations else [])

    def _install(self, settings, identity, entries, task_vars, known):
        arguments = {
            "root": settings["fastapi_root"],
            "id": identity,
            "database_password": settings.get("fastapi_database_password"),
        }
        if not known:
            arguments["archive"] = self._transfer(entries)
        installed = self._execute_module("drydock.stack.release", module_args=arguments, task_vars=task_vars)
        if installed.get("failed"):
            raise AnsibleActionFail(installed.get("msg", "The release could not be put on the host."), result=installed)
        return installed

    def _transfer(self, entries):
        """Send the entries as one file and return its path on the host."""
        with tempfile.TemporaryDirectory(dir=C.DEFAULT_LOCAL_TMP) as folder:
            archive = Path(folder) / "release.tar.gz"
            write_bundle(archive, entries)
            self._make_tmp_path()
            remote = self._connection._shell.join_path(self._connection._shell.tmpdir, archive.name)
            self._transfer_file(str(archive), remote)
            self._fixup_perms2((self._connection._shell.tmpdir, remote))
            return remote
