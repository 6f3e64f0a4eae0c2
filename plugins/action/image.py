# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from ansible import constants as C  # noqa: N812 (its usual name)
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

MODULE = "drydock.stack.image"
FOLDER = "drydock-image-"
MEGABYTE = 10**6


class ActionModule(ActionBase):
    """Move an image between hosts; documented in plugins/modules/image.py."""

    TRANSFERS_FILES = True
    _VALID_ARGS = frozenset({"name", "state", "registry", "known", "sender", "sent"})

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = {"registry": "", "sender": "", "sent": {}, **self._task.args}
        states = {"sent": self._send, "received": self._receive, "forgotten": self._forget}
        if arguments["state"] not in states:
            raise AnsibleActionFail(f"state is {arguments['state']}; use one of {', '.join(states)}.")
        if self._task.check_mode:
            return {"changed": arguments["state"] == "received"}
        return states[arguments["state"]](arguments, task_vars)

    def _send(self, arguments, task_vars):
        began = time.monotonic()
        if arguments["registry"]:
            told = self._execute_module(MODULE, module_args=arguments, task_vars=task_vars)
            if told.get("failed"):
                return told
            way = f"{megabytes(told['size'])} MB unpacked, pushed to {arguments['registry']} in {since(began)} s"
            return {**told, "file": "", "moved": f"{arguments['name']}: {way}"}
        self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "image")
        told = self._execute_module(MODULE, module_args={**arguments, "file": remote}, task_vars=task_vars)
        if told.get("failed"):
            return told
        saved, began = since(began), time.monotonic()
        told["file"] = str(self._fetch(remote, told["size"]))
        way = (
            f"{megabytes(told['unpacked'])} MB, saved as {megabytes(told['size'])} MB with {told['packer']} in {saved} s, "
            f"brought to the controller in {since(began)} s"
            + (f"; {told['left_out']} layers are there already" if told["left_out"] else "")
        )
        return {**told, "moved": f"{arguments['name']}: {way}"}

    def _fetch(self, remote, size):
        """Bring a file of that many bytes to a private folder of this run's and return its path there."""
        folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir=C.DEFAULT_LOCAL_TMP))
        try:
            local = folder / "image"
            self._connection.fetch_file(remote, str(local))
            if local.stat().st_size != size:
                raise AnsibleActionFail(f"{local.stat().st_size} of {size} bytes came to the controller; run the same again.")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return local

    def _receive(self, arguments, task_vars):
        name, sent = arguments["name"], arguments["sent"]
        if sent.get("failed") or sent.get("name") != name or not (sent.get("digest") or Path(sent["file"]).is_file()):
            raise AnsibleActionFail(
                f"{name} was to come from {arguments['sender']}, which failed to build or to send it, so that no host changes. "
                f"Mend what is said of {arguments['sender']}, or leave it out with --limit."
            )
        began, way = time.monotonic(), "pulled"
        if not sent["digest"]:
            self._make_tmp_path()
            arguments["file"] = self._connection._shell.join_path(self._connection._shell.tmpdir, "image")
            self._transfer_file(sent["file"], arguments["file"])
            self._fixup_perms2((self._connection._shell.tmpdir, arguments["file"]), execute=False)
            way, began = f"sent in {since(began)} s, loaded", time.monotonic()
        told = self._execute_module(MODULE, module_args=arguments, task_vars=task_vars)
        if told.get("failed"):
            return told
        return {**told, "moved": f"{name}: {megabytes(told['size'])} MB from {arguments['sender']}, {way} in {since(began)} s"}

    def _forget(self, arguments, task_vars):
        file = arguments["sent"].get("file")
        if file:
            folder = Path(file).parent
            # What is told is not trusted with any other folder.
            if folder.parent == Path(C.DEFAULT_LOCAL_TMP) and folder.name.startswith(FOLDER):
                shutil.rmtree(folder, ignore_errors=True)
        return {"changed": False}


def megabytes(size):
    return f"{int(size) / MEGABYTE:.1f}"


def since(began):
    return f"{time.monotonic() - began:.1f}"
