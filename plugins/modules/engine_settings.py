#!/usr/bin/python
"""The module `drydock.stack.engine_settings`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_settings
short_description: Merges settings into Docker Engine's daemon.json
version_added: 0.1.0
author: The drydock.stack maintainers
description:
  - Sets the keys that are given and leaves every other key of the file as it is. Lists are set as given;
    dictionaries are merged; null takes a key away. Options of a log driver go when the driver changes.
  - The result is put in place only after C(dockerd --validate) has accepted it.
  - Says whether the running engine has to be restarted, or only reloaded, to apply the change. Until O(state=applied) is
    called, the file as the engine knows it is kept beside the new one, so that an interrupted run is taken up again
    and a change that the engine does not accept can be taken back with O(state=reverted).
options:
  path:
    description: The file.
    type: path
    default: /etc/docker/daemon.json
  settings:
    description: The keys to set. Used with O(state=present) only.
    type: dict
    default: {}
  state:
    description: V(present) writes, V(applied) forgets the former file, V(reverted) puts it back.
    type: str
    choices: [present, applied, reverted]
    default: present
attributes:
  check_mode:
    description: Shows what would change, writes nothing.
    support: full
  diff_mode:
    description: Shows the file before and after, without the credentials of addresses.
    support: full
"""

EXAMPLES = r"""
- name: Rotate logs
  drydock.stack.engine_settings:
    settings:
      log-driver: local
      log-opts:
        max-size: 10m
  register: settings
"""

RETURN = r"""
action:
  description: What the running engine needs to apply the change.
  type: str
  choices: [none, reload, restart]
  returned: state=present
keys:
  description: The keys whose values the running engine does not have yet.
  type: list
  elements: str
  returned: state=present
"""

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.drydock.stack.plugins.module_utils import engine

# What dockerd takes over on SIGHUP (moby/moby, daemon/reload.go). `features` is not here: it holds
# `containerd-snapshotter`, which only a start reads.
RELOADABLE = {
    "allow-nondistributable-artifacts",
    "authorization-plugins",
    "debug",
    "default-runtime",
    "insecure-registries",
    "labels",
    "live-restore",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "network-diagnostic-port",
    "registry-mirrors",
    "runtimes",
    "shutdown-timeout",
}
# A reload sets these back to their defaults when they leave the file; the others keep the value they had.
RESET_BY_RELOAD = {"max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts"}


class SettingsError(Exception):
    """The file cannot be used, or must not be written."""


def changed_keys(former: dict[str, Any], result: dict[str, Any]) -> list[str]:
    return sorted(key for key in {*former, *result} if former.get(key) != result.get(key))


def action(former: dict[str, Any], result: dict[str, Any]) -> str:
    """Say what makes an engine that runs with the former settings take over the new ones."""
    keys = changed_keys(former, result)
    if not keys:
        return "none"
    gentle = all(key in RELOADABLE and (key in result or key in RESET_BY_RELOAD) for key in keys)
    return "reload" if gentle else "restart"


def flag_of(key: str) -> set[str]:
    """Return the flags of dockerd that mean the same as a key: `insecure-registries` is `--insecure-registry`."""
    return {key, "add-" + re.sub("s$", "", key), re.sub("s$", "", re.sub("ies$", "y", key))}


def refuse_conflicts(arguments: list[str], keys: list[str], path: Path) -> None:
    """dockerd does not start, and ignores a reload, with the same setting on its command line and in the file."""
    flags = {argument.split("=", 1)[0].lstrip("-") for argument in arguments if argument.startswith("-")}
    if "H" in flags:
        flags.add("host")
    for key in keys:
        for flag in sorted(flag_of(key) & flags):
            raise SettingsError(
                f"{path} is not changed, because dockerd was started with --{flag} and accepts {key} in one place only; "
                f"take the flag away, or leave {key} to it (docker_host_daemon_settings: {{{key}: null}})."
            )


def parse(text: str, path: Path) -> dict[str, Any]:
    """Read a daemon.json; an empty file is what dockerd takes it for: no settings."""
    if not text.strip():
        return {}
    remedy = "correct it or move it away, and run again"
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{path} is not valid JSON ({error}); {remedy}.") from None
    if not isinstance(settings, dict):
        raise SettingsError(f"{path} holds a {type(settings).__name__}, not an object; {remedy}.")
    return settings


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text ({error}); correct it or move it away, and run again.") from None
    except PermissionError:
        raise SettingsError(f"{path} cannot be read by user {os.geteuid()}; run the role with become: true.") from None


def render(settings: dict[str, Any]) -> str:
    return json.dumps(settings, ensure_ascii=False, indent=2) + "\n" if settings else ""


def validate(path: Path, name: Path) -> None:
    """Ask dockerd about a file; without dockerd there is nobody to ask."""
    daemon = engine.which("dockerd")
    if not daemon:
        return
    code, output, error = engine.run([daemon, "--validate", "--config-file", str(path)])
    if code:
        said = engine.masked(engine.last_line(error or output).replace(str(path), str(name)))
        raise SettingsError(f"{name} is not put in place, because dockerd refuses it: {said}")


def write(module: AnsibleModule, path: Path, text: str) -> None:
    """Put a file in place in one step, after dockerd has seen it; a new one is readable for all, as dockerd makes it."""
    handle, temporary = tempfile.mkstemp(dir=module.tmpdir, suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    if not path.exists():
        Path(temporary).chmod(0o644)
    validate(Path(temporary), path)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    module.atomic_move(temporary, str(path))


def ensure(module: AnsibleModule, path: Path, former: Path) -> dict[str, Any]:
    before = read(path)
    current = parse(before, path)
    result = engine.merge(current, module.params["settings"])
    known = parse(read(former), former) if former.exists() else current
    todo = action(known, result)
    after = before if result == current else render(result)
    pid = engine.process_id()
    if pid is not None:
        refuse_conflicts(engine.arguments_of(pid), [key for key in changed_keys(known, result) if key in result], path)
    if after != before and not module.check_mode:
        if not former.exists():
            former.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with os.fdopen(os.open(former, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(before)
        try:
            write(module, path, after)
        except SettingsError:
            if known is current:
                former.unlink()
            raise
    elif todo == "none" and former.exists() and not module.check_mode:
        former.unlink()
    return {
        "changed": after != before or todo != "none",
        "action": todo,
        "keys": changed_keys(known, result),
        "diff": {
            "before": engine.masked(before),
            "after": engine.masked(after),
            "before_header": str(path),
            "after_header": str(path),
        },
    }


def finish(module: AnsibleModule, path: Path, former: Path) -> dict[str, Any]:
    """Forget the former file, or put it back."""
    if not former.exists():
        return {"changed": False}
    if module.check_mode:
        return {"changed": module.params["state"] == "reverted"}
    if module.params["state"] == "applied":
        former.unlink()
        return {"changed": False}
    text = read(former)
    if text:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        former.chmod(mode)
        module.atomic_move(str(former), str(path))
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        former.unlink()
    return {"changed": True}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "settings": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["present", "applied", "reverted"], "default": "present"},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    former = engine.former(path)
    try:
        done = ensure(module, path, former) if module.params["state"] == "present" else finish(module, path, former)
    except SettingsError as error:
        module.fail_json(msg=str(error))
    except PermissionError as error:
        module.fail_json(msg=f"{path} cannot be written by user {os.geteuid()} ({error}); use become: true.")
    module.exit_json(**done)


if __name__ == "__main__":
    main()
