# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The containers of a stack, by their names, and what they tell of themselves."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils import docker_cli

LOG_LINES = 30
HEALTH_CHECKS = 3


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
    _, output, errors = docker_cli.run("logs", "--tail", str(LOG_LINES), container)
    checks = (found["State"].get("Health") or {}).get("Log") or []
    return {
        "state": state(found),
        "log": [line for line in f"{output}\n{errors}".splitlines() if line.strip()][-LOG_LINES:],
        "health": [check["Output"].strip() for check in checks[-HEALTH_CHECKS:]],
    }


def state(found: dict[str, Any]) -> str:
    """Say in words how a container is."""
    told = found["State"]
    if told["Status"] == "running" and found["RestartCount"]:
        return f"running again, {found['RestartCount']} times started anew after it ended with {told['ExitCode']}"
    if told["Status"] in ("exited", "dead", "restarting"):
        killed = ", killed for want of memory" if told["OOMKilled"] else ""
        return f"{told['Status']} with {told['ExitCode']}{killed}"
    return told["Status"]


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
