# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""Sizes that follow from the machine."""

from __future__ import annotations

import math
import re

MEGABYTE = 1024**2
# What the application's container needs beside its workers, and what one worker of a FastAPI application takes.
BASE = 64 * MEGABYTE
PER_WORKER = 150 * MEGABYTE
UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4, "p": 1024**5}


def bytes_of(size: str) -> int:
    """Return how many bytes a size in Docker's notation is: `512m`, `1.5g`, `1024`; raises ValueError for another.

    Source: `RAMInBytes` of docker/go-units, whose units are binary in every spelling: `1GB` is `1g` is `1GiB`.
    """
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?([kmgtp]?)(?:i?b)?", size, re.IGNORECASE)
    if not match or (size[-2:].lower() == "ib" and not match[2]):
        raise ValueError(f"{size!r} is no size; use a number and a unit, such as 512m or 2g.")
    return int(float(match[1]) * UNITS[match[2].lower()])


def workers(cpus: float, memory_bytes: int, shares_host: bool) -> int:
    """Return how many processes of uvicorn fit: max(1, min(floor(cpus), (memory - 64 MB) / 150 MB)).

    `cpus` and `memory_bytes` are the limits of the application's container, or else what the host has. Where the
    database runs on the same host (`shares_host`) it is half as many, and at least 1: the rest is the database's.
    Source: one process per processor is the advice of uvicorn's deployment guide; the sizes are measured.
    """
    fitting = min(math.floor(cpus), (memory_bytes - BASE) // PER_WORKER)
    return max(1, fitting // 2 if shares_host else fitting)
