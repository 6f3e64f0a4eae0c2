# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The containers of a stack, by their names, and what they tell of themselves."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils import docker_cli

LOG_LINES = 30
HEALTH_CHECKS = 3
PAUSE = 0.2
# Seconds after a flip within which a request that has chosen its slot reaches it.
LEAST = 0.3


def name_of(stack: str, service: str) -> str:
    """Return the name that Compose gives to the one container of a service."""
    return f"{stack}-{service}-1"


def look(container: str) -> dict[str, Any]:
    """Return what `docker inspect` says of a container, {} where there is none."""
    found = docker_cli.inspect("container", "inspect", container)
    return found[0] if found else {}


def slots(stack: str) -> list[str]:
    """Return the names of the application's containers, running or not, in both slots."""
    told = docker_cli.docker(
        "ps", "--all", "--filter", f"label=com.docker.compose.project={stack}", "--filter", "label=drydock.release",
        "--filter", "label=com.docker.compose.oneoff=False", "--format", "{{ .Names }}",
    )  # fmt: skip
    return told.split()


def evidence(container: str) -> dict[str, Any]:
    """Return the last lines of a container's log and what its health check said last; both empty where there is none."""
    found = look(container)
    if not found:
        return {"state": "", "log": [], "health": []}
    _, output, _ = docker_cli.run("logs", "--tail", str(LOG_LINES), container, merged=True)
    checks = (found["State"].get("Health") or {}).get("Log") or []
    return {
        "state": state(found),
        "log": [line for line in output.splitlines() if line.strip()],
        "health": [check["Output"].strip() for check in checks[-HEALTH_CHECKS:]],
    }


def state(found: dict[str, Any]) -> str:
    """Say in words how a container is."""
    told = found["State"]
    if told["Status"] == "running" and found["RestartCount"]:
        times = f", {found['RestartCount']} times" if found["RestartCount"] > 1 else ""
        return f"running again; it has ended, and was started anew{times}"
    if told["Status"] in ("exited", "dead", "restarting"):
        killed = ", killed for want of memory" if told["OOMKilled"] else ""
        return f"{told['Status']} with {told['ExitCode']}{killed}"
    return told["Status"]


def workers(found: dict[str, Any]) -> set[int]:
    """Return the processes that uvicorn's supervisor in a container has started, by their ids on the host.

    It replaces one that ends, which the container's own state does not tell. A single worker has no supervisor, and those that
    end by themselves after so many requests (UVICORN_LIMIT_MAX_REQUESTS) are none to watch.
    """
    given = dict(variable.partition("=")[::2] for variable in found["Config"]["Env"] or [])
    if given.get("WEB_CONCURRENCY", "1") == "1" or "UVICORN_LIMIT_MAX_REQUESTS" in given:
        return set()
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # The name, in brackets, may have brackets and spaces of its own; the state and the parent follow it.
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split()[1])
    first = found["State"]["Pid"]
    # The first process is the supervisor, or the init that has started it.
    supervisors = {first, *(process for process, parent in parents.items() if parent == first)}
    return {process for process, parent in parents.items() if parent in supervisors and is_spawned(process)}


def is_spawned(process: int) -> bool:
    """Tell whether a process was started by Python's multiprocessing."""
    with contextlib.suppress(OSError):
        return b"--multiprocessing-fork" in Path("/proc", str(process), "cmdline").read_bytes()
    return False


def drain(stack: str, service: str, seconds: float) -> tuple[float, int]:
    """Wait until a service that is no longer live has answered its requests; return the seconds and how many are left.

    A request that has chosen its slot just before the flip is given a moment to reach it.
    """
    began = time.monotonic()
    time.sleep(LEAST)
    while True:
        busy = in_flight(stack, service)
        waited = time.monotonic() - began
        # A front door that does not say is given the whole time.
        if busy == 0 or waited > seconds:
            return round(waited, 1), busy or 0
        time.sleep(PAUSE)


def in_flight(stack: str, service: str) -> int | None:
    """Return how many requests the front door has sent to a service and not had answered, None where it does not say.

    Source: the admin endpoint of Caddy, which answers within its own container only.
    """
    told = docker_cli.docker(
        "exec", name_of(stack, "proxy"), "wget", "--quiet", "--output-document=-", "http://127.0.0.1:2019/reverse_proxy/upstreams",
        check=False,
    )  # fmt: skip
    try:
        upstreams = json.loads(told)
    except ValueError:
        return None
    return sum(upstream["num_requests"] for upstream in upstreams if upstream["address"].partition(":")[0] == service)
