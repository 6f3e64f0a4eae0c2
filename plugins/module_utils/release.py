# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""A release on its host: what only the host can fill in, and how its files are shown without their secrets."""

from __future__ import annotations

import filecmp
import json
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.drydock.stack.plugins.module_utils.quoting import env_quote

# Stand in rendered files for what is known later, or on the host alone; plain text in every notation used here. No value
# of a user's holds one.
RELEASE_TOKEN = "drydock-release-5f0c7d92b1e64a3f"
SLOT_TOKEN = "drydock-slot-5f0c7d92b1e64a3f"
VOLUME_TOKEN = "drydock-volume-5f0c7d92b1e64a3f"
PASSWORD_TOKEN = "drydock-database-password-5f0c7d92b1e64a3f"
PASSWORD_IN_URL_TOKEN = "drydock-database-url-password-5f0c7d92b1e64a3f"
TOKENS = (RELEASE_TOKEN, SLOT_TOKEN, VOLUME_TOKEN, PASSWORD_TOKEN, PASSWORD_IN_URL_TOKEN)

# Below a release's folder, its files with the tokens that are filled in whenever it is put into a slot.
UNFILLED = "unfilled"
# Below a release's folder, the files that hold the application's secrets, and where it finds them in its container.
SECRETS = "secrets"
SECRETS_IN_CONTAINER = "/run/secrets"
RECORD = "release.json"
# What the build has found to be in the image, in the image and with the release.
SBOM_IN_IMAGE = "/opt/sbom/python.cdx.json"
SBOM = "python.cdx.json"
# In the stack's folder, the name of the volume that holds the live data, once it is another than the first one.
VOLUME = "volume"
# Beside it while a restore is under way: the volume that it makes, for the next run to remove.
RESTORING = "restoring"
# A link to the folder of the source that the front door serves.
STATIC = "static"

# The users that the application and PostgreSQL run as in their containers; a file secret keeps the host's owner and mode.
APP_UID = 10001
POSTGRES_UID = 999
# The user that the front door runs as.
PROXY_UID = 10002

# What a migration of Alembic is called: a variable of its module.
REVISION = re.compile(r"""^revision\b[^=\n]*=\s*\(?\s*["']([^"']+)["']""", re.MULTILINE)

SLOTS = ("blue", "green")

FOLDERS = {
    "": 0o750,
    "bin": 0o750,
    "releases": 0o750,
    "proxy": 0o755,
    "proxy/live": 0o755,
    "proxy/static": 0o755,
    "proxy/maintenance": 0o755,
    "proxy/maintenance/retry_after": 0o755,
    # The names in it are secret, and cannot be listed.
    "proxy/bypass": 0o711,
    "secrets": 0o700,
    "backups": 0o700,
    "certificates": 0o700,
}
# Of the folders whose owner is not root.
OWNERS = {"certificates": PROXY_UID}


def make_folders(root: Path) -> None:
    """Make the stack's folders where they are missing."""
    for folder, mode in FOLDERS.items():
        path = root / folder
        if not path.is_dir():
            path.mkdir(parents=True)
            path.chmod(mode)
        # Also where a run was cut off that had just made it.
        if folder in OWNERS and os.geteuid() == 0 and path.stat().st_uid != OWNERS[folder]:
            os.chown(path, OWNERS[folder], OWNERS[folder])


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
    sync_folder(path.parent)


def keep_password(root: Path, given: str | None, replaces: bool = False) -> str:
    """Return the database's password: the one that the host keeps, else the given or a new one, which it keeps from now on.

    A given one that ``replaces`` it is kept beside it, as a release has to work with it first: see ``confirm_password``.
    """
    file, new = password_files(root)
    new.unlink(missing_ok=True)
    if not file.exists():
        write_durably(file, (given or secrets.token_urlsafe(32)).encode(), 0o400, POSTGRES_UID)
    elif replaces and given and given != file.read_text():
        write_durably(new, given.encode(), 0o400, POSTGRES_UID)
    return password(root)


def next_password(root: Path, given: str | None, replaces: bool = False) -> str:
    """Return the password that ``keep_password`` is going to return, "" where it makes one."""
    file, _ = password_files(root)
    kept = file.read_text() if file.is_file() else ""
    return given if given and (replaces or not kept) else kept


def password_files(root: Path) -> tuple[Path, Path]:
    """Return where the database's password is kept, and where one is that is about to take its place."""
    return root / "secrets" / "database_password", root / "secrets" / "database_password.new"


def password(root: Path) -> str:
    """Return the database's password of the release that is being brought, "" where there is none."""
    file, new = password_files(root)
    found = new if new.is_file() else file
    return found.read_text() if found.is_file() else ""


def confirm_password(root: Path) -> None:
    """Keep the password that a release works with."""
    file, new = password_files(root)
    if new.exists():
        new.replace(file)


def drop_password(root: Path) -> None:
    """Forget a password that was to take the place of another."""
    password_files(root)[1].unlink(missing_ok=True)


def fill_password(env: str, password: str) -> str:
    """Return the text of a .env with the password in place of its tokens."""
    return env.replace(PASSWORD_IN_URL_TOKEN, quote(password, safe="")).replace(PASSWORD_TOKEN, env_quote(password)[1:-1])


def filled_secrets(folder: Path, password: str) -> dict[str, bytes]:
    """Return by path what the application's secrets of the release are, {} where they stand in its .env."""
    unfilled = folder / UNFILLED / SECRETS
    found = {}
    # As bytes: as text, line breaks would not stay what they are.
    for file in sorted(unfilled.iterdir()) if unfilled.is_dir() else []:
        data = file.read_bytes().replace(PASSWORD_IN_URL_TOKEN.encode(), quote(password, safe="").encode())
        found[f"{SECRETS}/{file.name}"] = data.replace(PASSWORD_TOKEN.encode(), password.encode())
    return found


def first_volume(name: str) -> str:
    """Return the name of the volume that a new stack has its data in."""
    return f"{name}_postgres_data"


def live_volume(root: Path, name: str) -> str:
    """Return the name of the volume that holds the live data of a stack."""
    file = root / VOLUME
    return (file.read_text().strip() if file.is_file() else "") or first_volume(name)


def ignores_volume(folder: Path, name: str, volume: str) -> str:
    """Return why the release would bring up other data than that of the volume, "" where it does not."""
    if volume == first_volume(name) or VOLUME_TOKEN in (folder / UNFILLED / "compose.yaml").read_text():
        return ""
    return (
        f"The data of {name} is in the volume {volume}, and compose.yaml.j2 of fastapi_templates does not say "
        "__fastapi_volume, so that it would bring up other data; take that part over from the collection's template."
    )


def filled(folder: Path, slot: str, password: str, volume: str) -> dict[str, bytes]:
    """Return what compose.yaml, .env and the secrets of the release are in a slot, on the volume with the data."""
    compose = (folder / UNFILLED / "compose.yaml").read_text()
    env = (folder / UNFILLED / ".env").read_text()
    compose = compose.replace(SLOT_TOKEN, slot).replace(VOLUME_TOKEN, volume)
    return {
        "compose.yaml": compose.encode(),
        ".env": fill_password(env, password).encode(),
        **filled_secrets(folder, password),
    }


def fill(folder: Path, slot: str, password: str, volume: str) -> None:
    """Put the release in a slot, on a volume: write its compose.yaml, .env and secrets out of their unfilled ones.

    A container that runs keeps the secrets that it was started with, as a file that is replaced stays mounted.
    """
    for name, data in filled(folder, slot, password, volume).items():
        if name.startswith(f"{SECRETS}/"):
            (folder / SECRETS).mkdir(mode=0o700, exist_ok=True)
            write_durably(folder / name, data, 0o400, APP_UID if os.geteuid() == 0 else None)
        else:
            write_durably(folder / name, data, 0o600 if name == ".env" else 0o644)


def publish(root: Path, folder: Path, slot: str) -> None:
    """Give the front door the files that it serves itself while the slot is live; none where the release has none."""
    place = root / "proxy" / STATIC / slot
    partial = place.with_name(f".{slot}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    # Those of the live slot are asked for meanwhile.
    if same_files(folder / STATIC, place):
        return
    if (folder / STATIC).is_dir():
        shutil.copytree(
            folder / STATIC,
            partial,
            ignore=lambda parent, names: [name for name in names if leads_elsewhere(Path(parent, name), folder / STATIC)],
        )
    shutil.rmtree(place, ignore_errors=True)
    if partial.is_dir():
        partial.rename(place)


def leads_elsewhere(path: Path, folder: Path) -> bool:
    """Tell whether a path is a link to anything but a file below the folder, which the front door would follow to its own."""
    return path.is_symlink() and not (path.is_file() and path.resolve().is_relative_to(folder.resolve()))


def same_files(one: Path, other: Path) -> bool:
    """Tell whether two folders hold the same, or are both missing."""
    if not (one.is_dir() and other.is_dir()):
        return not one.is_dir() and not other.is_dir()
    apart = filecmp.dircmp(one, other, ignore=[], hide=[])
    if apart.left_only or apart.right_only or apart.common_funny:
        return False
    files = apart.common_files
    return filecmp.cmpfiles(one, other, files, shallow=False)[0] == files and all(
        same_files(one / name, other / name) for name in apart.common_dirs
    )


def flip(root: Path, slot: str) -> bool:
    """Have the front door send requests to the slot, atomically; tell whether it did not before."""
    folder = root / "proxy" / "live"
    own, others = folder / slot, [file for file in folder.iterdir() if file.name in SLOTS and file.name != slot]
    if own.exists() and not others:
        return False
    if others:
        others[0].rename(own)
    else:
        own.touch(mode=0o644)
    sync_folder(folder)
    return True


def live(root: Path) -> list[str]:
    """Return the slots that have their file in live/; the front door takes the last one, and the first where there is none."""
    return [slot for slot in SLOTS if (root / "proxy" / "live" / slot).exists()]


def sync_folder(folder: Path) -> None:
    """Have the names in the folder reach the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def point_to(root: Path, identity: str) -> None:
    """Make a release the current one, by an atomic rename."""
    link = root / ".current.partial"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("releases") / identity)
    link.replace(root / "current")


def unknown_revisions(folder: Path, revisions: str) -> list[str]:
    """Return the revisions of the database that no migration of the release's source is.

    A revision may be a short word, such as 2, which stands in other places too.
    """
    texts = [file.read_text(errors="replace") for file in (folder / "source").rglob("*.py") if file.is_file()]
    known = {revision for text in texts for revision in REVISION.findall(text)}
    return [revision for revision in revisions.split() if revision not in known]


def recorded(folder: Path) -> dict[str, Any]:
    """Return what the record of a release says, {} where it never served."""
    file = folder / RECORD
    return json.loads(file.read_text()) if file.is_file() else {}


def without_hashes(caddyfile: str) -> str:
    """Return the text of a Caddyfile with the hashes of passwords hidden."""
    return re.sub(r"\$2[aby]\$\S+", "***", caddyfile)


def masked(env: str, other: str = "") -> str:
    """Return the text of a .env with its values hidden; those that differ from the other's are told as such."""
    # At line feeds alone: other characters that end a line for Python stand within values.
    others = set(other.split("\n"))
    lines = []
    for line in env.removesuffix("\n").split("\n"):
        hidden = re.sub(r"=.*", '="***"', line, flags=re.DOTALL)
        changed = other and "=" in line and line not in others
        lines.append(f"{hidden} (changed)" if changed else hidden)
    return "".join(f"{line}\n" for line in lines)
