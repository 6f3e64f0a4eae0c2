#!/usr/bin/python
"""The module `drydock.stack.engine_process`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_process
short_description: Runs dockerd on a host without a service manager
version_added: 0.1.0
author: The drydock.stack maintainers
description:
  - Starts C(dockerd) detached from everything, with its output in a log file, and waits until it answers. What an engine that
    was killed has left behind (pid files, a dead socket of containerd) is cleared away first.
  - Containers may outlive an engine that was killed. Without live-restore the next engine stops them at its start and counts
    that as the user's wish, so those with the restart policy C(unless-stopped) are started again here.
  - A restart uses the command line and the environment of the process that runs.
  - A reload sends the signal that makes it read its settings; that works under a service manager as well.
options:
  state:
    description: V(started) does nothing where an engine answers.
    type: str
    choices: [started, restarted, reloaded]
    default: started
  log:
    description: File that gets the output of C(dockerd).
    type: path
    default: /var/log/docker.log
  timeout:
    description: Seconds to wait for an answer, and for the former process to end.
    type: int
    default: 60
attributes:
  check_mode:
    description: Says what it would do, does nothing.
    support: full
"""

EXAMPLES = r"""
- name: Start the engine
  drydock.stack.engine_process:
    state: started
"""

RETURN = r"""
pid:
  description: Id of the process.
  type: int
  returned: when it runs
"""

import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import engine

LOG_LINES = 20
CONTAINERD_PID_FILE = "/var/run/docker/containerd/containerd.pid"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PROCESSES = "/proc"
# Seconds for starting the containers that outlived an engine, all together.
START_TIMEOUT = 120


class ProcessError(Exception):
    """The process does not do what it is told."""


def tail(log: str) -> str:
    """Return the last lines of the log."""
    try:
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return str(error)
    return engine.masked("\n".join(lines[-LOG_LINES:]))


def clear_remains() -> None:
    """Remove what a killed engine leaves behind and the next one stumbles over.

    A pid file whose number belongs to another process by now makes dockerd refuse to start; a socket of containerd
    without a listener makes it wait for a containerd that never comes.
    """
    for file, name in ((engine.PID_FILE, "dockerd"), (CONTAINERD_PID_FILE, "containerd")):
        if engine.process_id(file, name) is None:
            Path(file).unlink(missing_ok=True)
    if Path(CONTAINERD_SOCKET).is_socket():
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(CONTAINERD_SOCKET)
            except ConnectionRefusedError:
                Path(CONTAINERD_SOCKET).unlink()


def survivors() -> list[str]:
    """Return the ids of the containers that run, with or without an engine: each has a shim that bears its id."""
    found = []
    for process in Path(PROCESSES).glob("[0-9]*"):
        try:
            parts = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if Path(parts[0]).name.startswith("containerd-shim") and {"moby", "-id"} <= {*parts}:
            found.append(parts[parts.index("-id") + 1])
    return list(filter(None, found))


def start_again(containers: list[str]) -> None:
    """Start the containers that ran before the engine, were stopped by it and are not to stay so.

    The engine itself starts those with the policy `always`. One that it does not know belongs to another engine.
    """
    if not containers:
        return
    docker = engine.which("docker") or "docker"
    shown = "{{ .Id }} {{ .State.Running }} {{ .HostConfig.RestartPolicy.Name }}"
    states = [
        line.split() for line in engine.run([docker, "container", "inspect", "--format", shown, *containers])[1].splitlines()
    ]
    stopped = [state[0] for state in states if state[1:] == ["false", "unless-stopped"]]
    if not stopped:
        return
    code, _, error = engine.run([docker, "start", *stopped], START_TIMEOUT)
    if code:
        raise ProcessError(f"the engine runs, but not all containers that it stopped start again: {engine.last_line(error)}")


def start(arguments: list[str], environment: dict[str, str], log: str, timeout: float) -> int:
    """Start dockerd in a session of its own and wait until it answers."""
    clear_remains()
    containers = survivors()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Path(log).open("ab") as output:
        process = subprocess.Popen(
            arguments,
            cwd="/",
            env=environment,
            start_new_session=True,
            stderr=output,
            stdin=subprocess.DEVNULL,
            stdout=output,
        )
    end = time.monotonic() + timeout
    while not engine.answers():
        if process.poll() is not None:
            raise ProcessError(f"dockerd ended with {process.returncode} at its start. The end of {log}:\n{tail(log)}")
        if time.monotonic() > end:
            raise ProcessError(f"dockerd does not answer after {timeout:g} s. The end of {log}:\n{tail(log)}")
        time.sleep(0.25)
    start_again(containers)
    return process.pid


def stop(pid: int, timeout: float) -> None:
    """End a process the polite way and wait for it."""
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + timeout
    while engine.process_id() == pid:
        if time.monotonic() > end:
            raise ProcessError(f"dockerd (process {pid}) does not end within {timeout:g} s; look at what it waits for.")
        time.sleep(0.1)


def run(module: AnsibleModule) -> int:
    state, log, timeout = (module.params[name] for name in ("state", "log", "timeout"))
    pid = engine.process_id()
    if state != "started" and pid is None and engine.answers():
        raise ProcessError(
            f"an engine answers, but {engine.PID_FILE} does not name its process; restart it the way it was started."
        )
    if state == "reloaded":
        if pid is None:
            raise ProcessError("no engine runs that could be reloaded.")
        os.kill(pid, signal.SIGHUP)
        return pid
    daemon = engine.which("dockerd")
    if daemon is None:
        raise ProcessError("dockerd is not on this host; install an engine first.")
    arguments, environment = [daemon], engine.environment()
    if pid is not None:
        arguments, environment = engine.arguments_of(pid), engine.environment_of(pid)
        stop(pid, timeout)
    return start(arguments, environment, log, timeout)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "restarted", "reloaded"], "default": "started"},
            "log": {"type": "path", "default": "/var/log/docker.log"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    if module.params["state"] == "started" and engine.answers():
        module.exit_json(changed=False, pid=engine.process_id())
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        module.exit_json(changed=True, pid=run(module))
    except (ProcessError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
