# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The engine of a host, asked through its own command line, so that contexts and socket permissions count as they do there."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.drydock.stack.plugins.module_utils import engine

# Seconds; removing a large image on a slow disk takes its time.
TIMEOUT = 300


class EngineError(Exception):
    """The engine cannot be asked; the text is for the operator."""


def run(*arguments, merged=False):
    """Run ``docker`` with the arguments and return code, output and error text, with ``merged`` both in the output."""
    return engine.run([engine.which("docker") or "docker", *arguments], timeout=TIMEOUT, merged=merged)


def docker(*arguments, check=True):
    """Run ``docker`` with the arguments and return what it prints.

    With ``check`` a failure raises EngineError with the end of what it complains of; without, it returns "".
    """
    code, output, error = run(*arguments)
    if code and check:
        raise EngineError(error.strip()[-500:] or f"docker {arguments[0]} ended with {code}")
    return "" if code else output


def inspect(*arguments):
    """Run a ``docker … inspect`` and return its list; what does not exist is left out of it."""
    output = run(*arguments)[1]
    return json.loads(output) if output.strip() else []


def volumes():
    """Return the names of all volumes; unlike C(inspect) it raises EngineError where the engine does not answer."""
    return docker("volume", "ls", "--quiet").split()


def info():
    """Return versions, folder, platform, processors and memory in bytes of the engine; raise EngineError where none answers."""
    found = engine.look()
    if found["state"] != "running":
        raise EngineError(found["reason"] or f"it is {found['state']}")
    kept = {key: found[key] for key in ("compose", "buildx", "root", "rootless", "platform", "processors", "memory")}
    return {"server": found["version"], **kept}


def together(**calls):
    """Run the functions side by side and return their results under the same names."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = {name: pool.submit(call) for name, call in calls.items()}
        return {name: future.result() for name, future in futures.items()}
