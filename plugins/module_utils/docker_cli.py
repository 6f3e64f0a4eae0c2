# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The engine of a host, asked through its own command line, so that contexts and socket permissions count as they do there."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor


class EngineError(Exception):
    """The engine cannot be asked; the text is for the operator."""


def run(*arguments):
    """Run ``docker`` with the arguments and return the finished process; raise EngineError where there is no docker."""
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise EngineError("there is no docker command") from error


def docker(*arguments, check=True):
    """Run ``docker`` with the arguments and return what it prints.

    With ``check`` a failure raises EngineError with the end of what it complains of; without, it returns "".
    """
    result = run(*arguments)
    if result.returncode and check:
        raise EngineError(result.stderr.strip()[-500:] or f"docker {arguments[0]} ended with {result.returncode}")
    return "" if result.returncode else result.stdout


def inspect(*arguments):
    """Run a ``docker … inspect`` and return its list; what does not exist is left out of it."""
    told = run(*arguments).stdout
    return json.loads(told) if told.strip() else []


def info():
    """Return what ``docker info`` says, with the plugins' versions by name; raise EngineError where no engine answers."""
    result = run("info", "--format", "{{ json . }}")
    told = json.loads(result.stdout or "{}")
    if not told.get("ServerVersion"):
        raise EngineError("; ".join(told.get("ServerErrors") or []) or result.stderr.strip()[-500:] or "no engine answers")
    plugins = {plugin["Name"]: plugin["Version"] for plugin in told.get("ClientInfo", {}).get("Plugins") or []}
    return {
        "server": told["ServerVersion"],
        "compose": plugins.get("compose", ""),
        "buildx": plugins.get("buildx", ""),
        "root": told["DockerRootDir"],
        "processors": told["NCPU"],
        "memory": told["MemTotal"],
    }


def together(**calls):
    """Run the functions side by side and return their results under the same names."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = {name: pool.submit(call) for name, call in calls.items()}
        return {name: future.result() for name, future in futures.items()}
