# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""The lock of a stack: a file on its host that says who changes it, until when, and with which release.

It belongs to a run, not to a process of the host, so that it survives a lost connection. Times are the host's own, in
seconds since 1970. A lock that was given back is kept as the record of the last run.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.drydock.stack.plugins.module_utils.release import write_durably

LOCK = "lock"
LAST_RUN = "last_run"
# The folder whose own lock the steps of a run share, so that it ends with them.
STEPS = "releases"


class LockLostError(Exception):
    """The lock is no longer held by who asks; the text is for the operator."""


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Keep others on this host from reading and writing the lock meanwhile."""
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(file: Path, record: Mapping[str, Any]) -> None:
    write_durably(file, json.dumps(record, indent=2).encode() + b"\n", 0o644)


def read(root: Path, name: str = LOCK) -> dict[str, Any]:
    """Return the lock, or with LAST_RUN the record of the last run; {} where there is none."""
    try:
        return json.loads((root / name).read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        # A file that was broken by hand counts as a lock that nobody holds any longer.
        return {"token": "", "owner": "somebody unknown", "since": 0, "expires": 0}


def acquire(root: Path, record: Mapping[str, Any], now: float, lease: float, over: str = "") -> tuple[bool, dict[str, Any]]:
    """Take the lock with ``record``, which holds its ``token``; return whether it is held now, and the lock found, {} for none.

    A lock is taken over when its lease has ended, or when it is the one with the token ``over``, whose owner is known to be
    dead. ``lease`` is in seconds from ``now`` on.
    """
    with _alone(root):
        found = read(root)
        if found and found["token"] != over and found["expires"] > now:
            return False, found
        _write(root / LOCK, {**record, "since": now, "expires": now + lease})
        return True, found


def check(root: Path, token: str) -> None:
    """Raise LockLostError unless the lock is still the one with the token; who takes it over waits for this process to end.

    A step goes on where its run is killed, or where its lease ends meanwhile.
    """
    # Open as long as the process lives, and in none of its children.
    fcntl.flock(os.open(root / STEPS, os.O_RDONLY), fcntl.LOCK_SH)
    found = read(root)
    if found.get("token") != token:
        by = f"{found['owner']} has taken it over" if found else "somebody has removed it"
        raise LockLostError(f"The lock {root / LOCK} is no longer this run's: {by}. Nothing more is changed by this run.")


def leave(root: Path, token: str, found: Mapping[str, Any]) -> None:
    """Put the lock back that was found, so that the next one to take it over waits for what it left running, too."""
    with _alone(root):
        if read(root).get("token") == token:
            _write(root / LOCK, {**found, "expires": 0})


def busy(root: Path) -> bool:
    """Tell whether a step of a run that has asked for its lock still goes on here."""
    folder = os.open(root / STEPS, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(folder)
    return False


def release(root: Path, token: str, now: float) -> bool:
    """Give the lock back, and tell whether it was held."""
    with _alone(root):
        found = read(root)
        if not found or found["token"] != token:
            return False
        _write(root / LAST_RUN, {**found, "ended": now})
        (root / LOCK).unlink()
        return True
