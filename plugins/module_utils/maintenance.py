# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""Maintenance: the files that close the front door of a stack, and the secret that leads through it all the same."""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path

from ansible_collections.drydock.stack.plugins.module_utils.release import make_folders, sync_folder, write_durably

HEADER = "X-Maintenance-Bypass"
# What templates/Caddyfile.j2 takes for a secret; it is the name of a file.
SECRET = re.compile(r"[A-Za-z0-9_-]{20,}")


def flag(root: Path) -> Path:
    """Return the file whose presence closes the front door."""
    return root / "proxy" / "live" / "maintenance"


def secret(root: Path) -> str:
    """Return the secret of the stack, "" where none was made."""
    file = secret_file(root)
    return file.read_text().strip() if file.is_file() else ""


def secret_file(root: Path) -> Path:
    """Return the file that keeps the secret."""
    return root / "secrets" / "maintenance_bypass"


def headers(root: Path) -> dict[str, str]:
    """Return the header that leads through maintenance, {} where there is no secret that can."""
    found = secret(root)
    return {HEADER: found} if SECRET.fullmatch(found) else {}


def since(root: Path) -> str:
    """Return when maintenance began by the host's clock, such as 2026-01-31T23:59:59Z, "" where it is off."""
    try:
        began = flag(root).stat().st_mtime
    except FileNotFoundError:
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began))


def left_closed(root: Path) -> bool:
    """Tell whether a run has closed the front door for as long as it takes; where none is at work, one that was cut off."""
    return flag(root).is_file() and flag(root).stat().st_size > 0


def page(root: Path) -> bytes:
    """Return the page that is shown, b"" where there is none."""
    file = root / "proxy" / "maintenance" / "index.html"
    return file.read_bytes() if file.is_file() else b""


def lacking(root: Path, wanted: bytes, retry_after: int, meanwhile: bool = False) -> list[str]:
    """Return what has to be put right for the front door to be closed with the page; raises ValueError for a useless secret.

    ``meanwhile`` is for a run that opens it again itself.
    """
    found = secret(root)
    if found and not SECRET.fullmatch(found):
        raise ValueError(
            f"{secret_file(root)} holds no secret of at least 20 letters, digits, '_' and '-'; remove it, and one is made."
        )
    return [
        *(["page"] if page(root) != wanted else []),
        *(["retry_after"] if _names(root / "proxy" / "maintenance" / "retry_after") != [str(retry_after)] else []),
        *(["bypass"] if not found or _names(root / "proxy" / "bypass") != [found] else []),
        *(["closed"] if not flag(root).exists() or (left_closed(root) and not meanwhile) else []),
    ]


def close(root: Path, wanted: bytes, retry_after: int, meanwhile: bool = False) -> None:
    """Close the front door with the page, and ``retry_after`` seconds; requests in flight are not touched.

    ``meanwhile`` is for a run that opens it again itself: the flag says so, for the next run, should this one be cut off.
    """
    make_folders(root)
    if not secret(root):
        write_durably(secret_file(root), secrets.token_urlsafe(32).encode(), 0o400)
    if page(root) != wanted:
        write_durably(root / "proxy" / "maintenance" / "index.html", wanted, 0o644)
    _leave(root / "proxy" / "maintenance" / "retry_after", str(retry_after))
    _leave(root / "proxy" / "bypass", secret(root))
    # The last one: who comes then finds all the rest. One that is there keeps its time.
    if not flag(root).exists():
        write_durably(flag(root), b"by a run\n" if meanwhile else b"", 0o644)
    elif left_closed(root) and not meanwhile:
        os.truncate(flag(root), 0)


def open_up(root: Path) -> None:
    """Open the front door; page and secret stay for the next time."""
    flag(root).unlink(missing_ok=True)
    sync_folder(flag(root).parent)


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []


def _leave(folder: Path, name: str) -> None:
    """Leave the one empty file in the folder."""
    (folder / name).touch(mode=0o644)
    for file in folder.iterdir():
        if file.name != name:
            file.unlink()
    sync_folder(folder)
