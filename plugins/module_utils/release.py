# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""A release on its host: what only the host can fill in, and how its files are shown without their secrets."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from urllib.parse import quote

from ansible_collections.drydock.stack.plugins.module_utils.quoting import env_quote

# Stand in rendered files for what is known later, or on the host alone; plain text in every notation used here.
RELEASE_TOKEN = "drydock-release"
PASSWORD_TOKEN = "drydock-database-password"
PASSWORD_IN_URL_TOKEN = "drydock-database-url-password"

# The user that PostgreSQL runs as in the database's container; a file secret keeps the host's owner and mode.
POSTGRES_UID = 999

FOLDERS = {"": 0o750, "releases": 0o750, "proxy": 0o755, "proxy/live": 0o755, "secrets": 0o700, "backups": 0o700}


def make_folders(root: Path) -> None:
    """Make the stack's folders where they are missing."""
    for folder, mode in FOLDERS.items():
        path = root / folder
        if not path.is_dir():
            path.mkdir(parents=True)
            path.chmod(mode)


def write_durably(path: Path, data: bytes, mode: int, owner: int | None = None) -> None:
    """Put a file in its place as a whole, so that a crash leaves the old one or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if owner is not None:
        os.chown(partial, owner, owner)
    partial.replace(path)


def keep_password(root: Path, given: str | None) -> str:
    """Return the database's password: the one that the host keeps, else the given or a new one, which it keeps from now on."""
    file = root / "secrets" / "database_password"
    if not file.exists():
        write_durably(file, (given or secrets.token_urlsafe(32)).encode(), 0o400, POSTGRES_UID)
    return file.read_text()


def fill_password(env: str, password: str) -> str:
    """Return the text of a .env with the password in place of its tokens."""
    return env.replace(PASSWORD_IN_URL_TOKEN, quote(password, safe="")).replace(PASSWORD_TOKEN, env_quote(password)[1:-1])


def masked(env: str, other: str = "") -> str:
    """Return the text of a .env with its values hidden; those that differ from the other's are told as such."""
    others = set(other.splitlines())
    lines = []
    for line in env.splitlines():
        hidden = re.sub(r"=.*", '="***"', line)
        changed = other and "=" in line and line not in others
        lines.append(f"{hidden} (changed)" if changed else hidden)
    return "".join(f"{line}\n" for line in lines)
