# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""Who listens on a TCP port of this host."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import subprocess
from pathlib import Path

LISTEN = "0A"


def holder(port, own_container=""):
    """Return who has the port, as ``address:port``, ``:port`` or ``[address]:port``, or "" where it is free.

    A port that the container ``own_container`` publishes counts as free.
    """
    bound, _, number = port.rpartition(":")
    wanted = ipaddress.ip_address(bound.strip("[]") or "0.0.0.0")  # noqa: S104 (compared, not bound)
    inodes = [inode for found, inode in listeners(int(number)) if clash(found, wanted)]
    if not inodes:
        return ""
    publishers = {name for name, address in published(int(number)) if clash(address, wanted)}
    if publishers:
        others = sorted(publishers - {own_container})
        return f"the container {others[0]}" if others else ""
    return process_of(inodes[0])


def clash(one, other):
    """Tell whether two listening addresses exclude each other; an unspecified one (0.0.0.0, ::) takes in all."""
    return one == other or one.is_unspecified or other.is_unspecified


def listeners(number):
    """Yield the address and the socket's inode of everything that listens on the TCP port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        lines = Path(table).read_text().splitlines()[1:] if Path(table).exists() else []
        for fields in (line.split() for line in lines):
            local, port = fields[1].split(":")
            if fields[3] == LISTEN and int(port, 16) == number:
                yield decode(local), fields[9]


def decode(text):
    """Return the address that /proc/net/tcp writes as hexadecimal words in the host's byte order."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    return ipaddress.ip_address(b"".join(words))


def published(number):
    """Yield name and address of every running container that publishes the TCP port of the host."""
    try:
        told = subprocess.run(
            ["docker", "ps", "--filter", f"publish={number}", "--format", "{{ .Names }} {{ .Ports }}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return
    for name, _, ports in (line.partition(" ") for line in told.stdout.splitlines()):
        for address in re.findall(rf"(\S+):{number}->[0-9]+/tcp", ports):
            yield name, ipaddress.ip_address(address.strip("[]"))


def process_of(inode):
    """Return the process that has the socket, as ``name (pid 123)``, or a general word where it cannot be known."""
    for process in Path("/proc").glob("[0-9]*"):
        if f"socket:[{inode}]" in descriptors(process):
            return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return "another process"


def descriptors(process):
    """Yield what the process has open; nothing where it is gone meanwhile, or not ours to look at."""
    try:
        links = list((process / "fd").iterdir())
    except OSError:
        return
    for link in links:
        with contextlib.suppress(OSError):
            yield str(link.readlink())
