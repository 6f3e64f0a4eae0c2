# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""A release as one file: written on the controller, the same bytes for the same content; extracted on the host.

Hosts may have Python 3.9, and nothing but its standard library.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import posixpath
import stat
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BLOCK = 1024 * 1024


class BundleError(ValueError):
    """The entries make no bundle, or the file is none that is safe to extract."""


@dataclass(frozen=True)
class Entry:
    """A file of a bundle: `data` is its content, or the file that holds it; a symlink has `link` instead."""

    path: str
    data: bytes | Path = b""
    executable: bool = False
    link: str = ""
    mode: int | None = None

    @property
    def permissions(self) -> int:
        """Mode of the file: `mode` where it is given, else 0755 or 0644."""
        if self.link:
            return 0o777
        if self.mode is not None:
            return self.mode
        return 0o755 if self.executable else 0o644


def bundle_hash(entries: Iterable[Entry]) -> str:
    """Return the SHA-256 over path, permissions and content of the entries, whatever their order, as hexadecimal digits."""
    whole = hashlib.sha256()
    for entry in _sorted(entries):
        if entry.link:
            content = hashlib.sha256(entry.link.encode()).digest()
        elif isinstance(entry.data, bytes):
            content = hashlib.sha256(entry.data).digest()
        else:
            content = hashlib.sha256(entry.data.read_bytes()).digest()
        kind = "l" if entry.link else "f"
        whole.update(f"{kind}{entry.permissions:o} {entry.path}".encode() + b"\0" + content)
    return whole.hexdigest()


def write_bundle(destination: Path, entries: Iterable[Entry]) -> str:
    """Write the entries as a .tar.gz and return the SHA-256 of the file; the same entries give the same bytes.

    Raises BundleError for a path that is absolute, leaves the bundle or comes twice.
    """
    ordered = _sorted(entries)
    folders: set[str] = set()
    # No name, no time, no owner: nothing of the machine and the moment gets in.
    with (
        destination.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for entry in ordered:
            for folder in _parents(entry.path):
                if folder not in folders:
                    folders.add(folder)
                    archive.addfile(_member(folder, tarfile.DIRTYPE, 0o755))
            _add(archive, entry)
    digest = hashlib.sha256()
    with destination.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _sorted(entries: Iterable[Entry]) -> list[Entry]:
    found = {}
    for entry in entries:
        _check_path(entry.path)
        if entry.link:
            _check_link(entry.path, entry.link)
        if entry.path in found:
            raise BundleError(f"{entry.path} comes twice; a path stands for one file.")
        found[entry.path] = entry
    for path in found:
        for folder in _parents(path):
            if folder in found:
                raise BundleError(f"{folder} is a file and has {path} in it; a path stands for one of the two.")
    return [found[path] for path in sorted(found)]


def _parents(path: str) -> Iterator[str]:
    for index, character in enumerate(path):
        if character == "/":
            yield path[:index]


def _member(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type = kind
    member.mode = mode
    return member


def _add(archive: tarfile.TarFile, entry: Entry) -> None:
    if entry.link:
        member = _member(entry.path, tarfile.SYMTYPE, entry.permissions)
        member.linkname = entry.link
        archive.addfile(member)
        return
    # As a whole, so that a file that grows meanwhile cannot disagree with its size.
    content = entry.data if isinstance(entry.data, bytes) else entry.data.read_bytes()
    member = _member(entry.path, tarfile.REGTYPE, entry.permissions)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _check_path(path: str) -> None:
    parts = path.split("/")
    if "" in parts or "." in parts or ".." in parts or "\0" in path:
        raise BundleError(f"{path!r} is no path inside a bundle; use a relative one without '.' and '..'.")


def _check_link(path: str, target: str) -> None:
    end = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if not target or target.startswith("/") or end.split("/")[0] == ".." or "\0" in target:
        raise BundleError(f"The symlink {path!r} leads to {target!r}, out of the bundle; it must stay within.")


def extract_bundle(archive: Path, destination: Path) -> None:
    """Extract a bundle into a folder that is empty or not there yet; what is extracted is on the disk at the return.

    Raises BundleError for anything but folders, regular files and symlinks that stay inside, and where the folder
    already holds a file. What was extracted before an error stays: extract beside, then rename.
    """
    destination.mkdir(parents=True, exist_ok=True)
    if any(destination.iterdir()):
        raise BundleError(f"{destination} is not empty; a bundle is extracted into an empty folder.")
    written: list[Path] = [destination]
    links: list[tuple[Path, str]] = []
    seen: set[str] = set()
    folders = {""}
    try:
        with gzip.open(archive, "rb") as zipped, tarfile.open(fileobj=zipped, mode="r|") as bundle:
            for member in bundle:
                _check_path(member.name)
                if member.name in seen:
                    raise BundleError(f"{member.name!r} comes twice; a path stands for one file.")
                seen.add(member.name)
                path = destination / member.name
                if member.issym():
                    _check_link(member.name, member.linkname)
                    if posixpath.dirname(member.name) not in folders:
                        raise BundleError(f"The symlink {member.name!r} lies in no folder of the bundle; a folder comes first.")
                    links.append((path, member.linkname))
                elif member.isdir():
                    path.mkdir()
                    folders.add(member.name)
                    path.chmod(member.mode & 0o777)
                    written.append(path)
                elif member.isreg():
                    _write(path, bundle.extractfile(member), member.mode & 0o777)
                    written.append(path)
                else:
                    raise BundleError(f"{member.name!r} is no folder, file or symlink; a bundle holds nothing else.")
            # The checksum comes after all else, and the archive's end is found before it.
            while zipped.read(BLOCK):
                pass
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BundleError(f"{archive} is damaged: {error}; write it again.") from None
    except (FileNotFoundError, FileExistsError, NotADirectoryError) as error:
        raise BundleError(f"{error.filename} does not fit what was extracted before it; a folder comes first.") from None
    # Symlinks last: no file is written through one.
    for path, target in links:
        path.symlink_to(target)
    # One by one they stay inside; one that goes up behind another one may not.
    inside = os.path.realpath(destination) + os.sep
    for path, target in links:
        if not (os.path.realpath(path) + os.sep).startswith(inside):
            raise BundleError(f"The symlink {path.name!r} leads to {target!r}, out of the bundle; it must stay within.")
    # All is written by now, so the first of these calls does most of the work for the rest.
    for path in written:
        _sync(path)


def _write(path: Path, content: BinaryIO, mode: int) -> None:
    # Private from the first byte on, whatever the umask.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for block in iter(lambda: content.read(BLOCK), b""):
            file.write(block)
        os.fchmod(file.fileno(), stat.S_IMODE(mode))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
