"""What the modules about Docker Engine share: finding it, asking it, judging it. Standard library only."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# A shell without login leaves the sbin folders out, and dockerd lives there.
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
PID_FILE = "/var/run/docker.pid"
# Seconds; an engine that hangs must not hang the play.
ANSWER_TIMEOUT = 30
CREDENTIALS = re.compile(r"(://)[^/@\s\"]+@")


def environment() -> dict[str, str]:
    """Return the environment for every call: plain English, and a PATH with all the folders."""
    path = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    path += [folder for folder in FOLDERS if folder not in path]
    return {**os.environ, "LC_ALL": "C.UTF-8", "PATH": os.pathsep.join(path)}


def which(name: str) -> str | None:
    """Return the path of an executable, None where there is none."""
    return shutil.which(name, path=environment()["PATH"])


def run(
    arguments: list[str],
    timeout: float = ANSWER_TIMEOUT,
    merged: bool = False,
    more: Mapping[str, str] | None = None,
    text: str = "",
) -> tuple[int, str, str]:
    """Run a command; return its code, output and error text. No such command is 127, no answer in time is 124.

    With `merged` the output holds both, in the order in which they were written. `more` are variables of its environment, and
    `text` is its input.
    """
    try:
        done = subprocess.run(
            arguments,
            check=False,
            encoding="utf-8",
            env={**environment(), **(more or {})},
            errors="replace",
            **({"input": text} if text else {"stdin": subprocess.DEVNULL}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"{arguments[0]} did not answer within {timeout:g} s"
    except OSError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout, done.stderr or ""


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version starts with: `v2.26.1-4` is (2, 26, 1); () where there is none."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def last_line(text: str) -> str:
    """Return the last line that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def masked(text: str) -> str:
    """Hide the credentials of addresses such as `http://user:password@proxy`."""
    return CREDENTIALS.sub(r"\1***@", text)


def read_info() -> tuple[int, dict[str, Any], str]:
    """Ask the engine; return the client's code, what it knows, and why the engine did not answer."""
    code, output, error = run([which("docker") or "docker", "info", "--format", "{{ json . }}"])
    try:
        info = json.loads(output)
    except ValueError:
        info = {}
    if not isinstance(info, dict):
        info = {}
    return code, info, last_line("\n".join([*(info.get("ServerErrors") or []), error]))


def answers() -> bool:
    """Say whether an engine answers."""
    return bool(read_info()[1].get("ServerVersion"))


def look() -> dict[str, Any]:
    """Describe the host's engine.

    `state` is one of running, stopped (installed, not reachable), forbidden (no permission on its socket) and absent.
    Versions are text as their owners write it, empty where the part is missing.
    """
    client, daemon = which("docker"), which("dockerd")
    code, info, reason = read_info() if client else (127, {}, "")
    client_info = info.get("ClientInfo") or {}
    plugins = {plugin.get("Name"): plugin.get("Version", "") for plugin in client_info.get("Plugins") or []}
    version = info.get("ServerVersion") or ""
    if version:
        state = "running"
    elif "permission denied" in reason.lower():
        state = "forbidden"
    elif daemon:
        state = "stopped"
        found = re.search(r"version ([^\s,]+)", run([daemon, "--version"])[1])
        version = found.group(1) if found else ""
    else:
        state = "absent"
    registries = info.get("RegistryConfig") or {}
    return {
        "state": state,
        "reason": masked(reason) if state != "running" else "",
        "version": version,
        "compose": plugins.get("compose", ""),
        "buildx": plugins.get("buildx", ""),
        "client": client or "",
        "client_code": code,
        "root": info.get("DockerRootDir") or "",
        "platform": f"{info.get('OSType')}/{info.get('Architecture')}" if info.get("ServerVersion") else "",
        "processors": info.get("NCPU") or 0,
        "memory": info.get("MemTotal") or 0,
        "daemon": daemon or "",
        "live_restore": bool(info.get("LiveRestoreEnabled")),
        "log_driver": info.get("LoggingDriver") or "",
        "mirrors": [masked(mirror) for mirror in registries.get("Mirrors") or []],
        "rootless": "name=rootless" in (info.get("SecurityOptions") or []),
        "swarm": ((info.get("Swarm") or {}).get("LocalNodeState") or "inactive") != "inactive",
        "user_id": os.geteuid(),
        "summary": f"Engine {version}, Compose {plugins.get('compose', '')}, Buildx {plugins.get('buildx', '')}"
        if version
        else "No engine yet",
    }


def judge(engine: dict[str, Any], minimum: dict[str, str]) -> list[str]:
    """Say what is wrong with an engine that is there, each as `<part> is <found>; <wanted> or later is wanted`."""
    if engine["state"] not in ("running", "stopped"):
        return []
    if not engine["client"]:
        return ["the command docker is missing"]
    problems = []
    for part, name in (("version", "Engine"), ("compose", "Compose"), ("buildx", "Buildx")):
        wanted = minimum.get(part, "0")
        if not engine[part]:
            problems.append(f"{name} is missing; {wanted} or later is wanted")
        elif numbers(engine[part]) < numbers(wanted):
            problems.append(f"{name} is {engine[part]}; {wanted} or later is wanted")
    return problems


def merge(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the current settings with the wanted ones in them; the order of the keys stays."""
    result = dict(current)
    if "log-driver" in wanted and wanted["log-driver"] != current.get("log-driver"):
        result.pop("log-opts", None)
    for key, value in wanted.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        elif isinstance(value, dict):
            result[key] = merge({}, value)
        else:
            result[key] = value
    return result


def former(path: Path) -> Path:
    """Return the file that keeps the settings that the engine knows while those in the path wait for it."""
    return path.with_name(path.name + ".former")


def settled(path: Path, wanted: dict[str, Any]) -> bool:
    """Say whether the file holds the wanted settings and none of them waits for the engine; False where it is unreadable."""
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        current = json.loads(text) if text.strip() else {}
        waits = former(path).exists()
    except (OSError, ValueError):
        return False
    return isinstance(current, dict) and not waits and merge(current, wanted) == current


def process_id(pid_file: str = PID_FILE, name: str = "dockerd") -> int | None:
    """Return the id of the process that a pid file names, None unless that process is the one expected.

    The name is compared because a pid file outlives a machine that is switched off, and its number finds a new owner.
    A process without a command line has ended, and waits for a parent that does not ask for it.
    """
    try:
        pid = int(Path(pid_file).read_text(encoding="ascii"))
        command = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        alive = bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (OSError, ValueError):
        return None
    return pid if alive and command == name else None


def parts_of(pid: int, name: str) -> list[str]:
    """Return the parts of a file of a process that separates them by NUL."""
    text = Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="surrogateescape")
    return text.split("\0")[:-1]


def arguments_of(pid: int) -> list[str]:
    """Return the command line of a process; everybody may read it."""
    return parts_of(pid, "cmdline")


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with; its owner and root may read it."""
    return dict(variable.split("=", 1) for variable in parts_of(pid, "environ") if "=" in variable)
