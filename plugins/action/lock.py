# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

import getpass
import os
import socket
import time
import uuid
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()
PAUSE = 2
MODULE = "drydock.stack.lock"


class ActionModule(ActionBase):
    """Wait for the lock of a stack; documented in plugins/modules/lock.py."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.get("state", "held") != "held":
            return self._execute_module(MODULE, module_args=arguments, task_vars=task_vars)
        wait = float(arguments.get("wait", 300))
        end, told = time.monotonic() + wait, False
        arguments |= {"token": uuid.uuid4().hex, "owner": this_run()}
        while True:
            result = self._execute_module(MODULE, module_args=arguments, task_vars=task_vars)
            holder = result.get("holder")
            if result.get("failed") or not holder:
                return result
            if known_dead(holder):
                arguments["over"] = holder["token"]
                continue
            if time.monotonic() > end:
                raise AnsibleActionFail(
                    f"{described(holder, arguments['root'])}, and fastapi_lock_wait, {wait:g} s, is over. "
                    f"Wait for that run, or where it is dead: rm {arguments['root']}/lock"
                )
            if not told:
                display.display(f"{described(holder, arguments['root'])}; waiting for at most {wait:g} s", color="yellow")
                told = True
            time.sleep(PAUSE)


def described(holder, root):
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(holder["since"]))
    return (
        f"The stack in {root} is being changed by {holder['owner']}, process {holder.get('pid', '?')}, since {since} by the "
        f"host's clock, with the release {holder.get('release') or '?'}; its lease ends in {holder['remaining']:.0f} s"
    )


def this_run():
    """Say who this run is: the process of ansible-playbook, whose child this is, and where a process id means this process."""
    pid = os.getppid()
    return {"owner": f"{user()}@{socket.gethostname()}", "controller": controller(), "pid": pid, "started": started(pid)}


def user():
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def controller():
    """Return what tells this system apart from every other one, one that was restarted or is a container beside it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def started(pid):
    """Return when a process began, in ticks since the start of the system, or "" where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def known_dead(holder):
    """Tell whether the process that holds a lock ran on this very system, and has ended."""
    return bool(holder.get("controller")) and holder["controller"] == controller() and started(holder["pid"]) != holder["started"]
