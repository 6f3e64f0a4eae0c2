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
# Connections for operators, migrations and dumps.
OTHERS = 10
UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4, "p": 1024**5}


def bytes_of(size: str) -> int:
    """Return how many bytes a size in Docker's notation is: `512m`, `1.5g`, `1024`; raises ValueError for another.

    Source: `RAMInBytes` of docker/go-units, whose units are binary in every spelling: `1GB` is `1g` is `1GiB`.
    """
    match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) ?([kmgtp]?)(?:i?b)?", size, re.IGNORECASE)
    if not match or (size[-2:].lower() == "ib" and not match[2]):
        raise ValueError(f"{size!r} is no size; use a number and a unit, such as 512m or 2g.")
    return int(float(match[1]) * UNITS[match[2].lower()])


def workers(cpus: float, memory_bytes: int) -> int:
    """Return how many processes of uvicorn fit: max(1, min(floor(cpus), (memory - 64 MB) / 150 MB)).

    `cpus` and `memory_bytes` are what the application may use. A database on the same host takes none of them away: where the
    processors are busy it goes first, by its shares, and nearly all of what a request costs is the application's.
    Source: one process per processor is the advice of uvicorn's deployment guide; the sizes are measured.
    """
    return max(1, min(math.floor(cpus), (memory_bytes - BASE) // PER_WORKER))


def quantised(size: int) -> int:
    """Return the size of a machine's memory, rounded down to a quarter of the power of two below it.

    What a machine says of its memory drifts by a few MB from boot to boot, and what follows from it must not. Machines have
    powers of two and multiples of them, less the few percent that the kernel keeps: that is far from the next step.
    """
    step = max(1, 2 ** (size.bit_length() - 1) // 4)
    return size - size % step


def memory_limit(memory: int) -> int:
    """Return the bytes that a service without a limit of its own may use: three quarters of the host's, so that it stays up."""
    return quantised(memory) * 3 // 4


def connections(workers_per_slot: int, pool: int) -> int:
    """Return `max_connections`: 2 slots x workers x pool + 10 for operators, migrations and dumps.

    It is at least PostgreSQL's own default, and a multiple of 50, so that a worker more seldom restarts a database.
    """
    return max(100, math.ceil((2 * workers_per_slot * pool + OTHERS) / 50) * 50)


def connected(max_connections: int, pool: int) -> int:
    """Return how many workers a slot may have, so that two slots leave 10 of so many connections to others; one at least."""
    return max(1, (max_connections - OTHERS) // (2 * pool))


def postgres(memory: int, cpus: float, max_connections: int, major: int) -> dict[str, str]:
    """Return settings of PostgreSQL for a container with so many bytes of memory and processors, by name.

    Source: the web profile of PGTune (le0pard/pgtune), for a solid state disk. With M the memory and C the processors:
    shared_buffers M/4; effective_cache_size 3M/4; maintenance_work_mem min(M/16, 8 GB); work_mem (M - shared_buffers) /
    ((max_connections + max_worker_processes) x 3), at least 4 MB; max_worker_processes C from 4 on, else 8; wal_buffers 3% of
    shared_buffers, at most 16 MB; from 4 processors on max_parallel_workers C, and half of them, at most 4, for one query or
    for maintenance. Beside it: jit off, as queries of the web are shorter than their compilation; wal_compression lz4 where
    there is it (15), which halves what full pages write; io_method worker from 18 on, as Docker's seccomp profile blocks
    io_uring. min_wal_size and max_wal_size are those of the profile below 16 GB; smaller machines have smaller disks, so
    that below 4 GB of memory they are at most as large as the memory.
    """
    shared_buffers = memory // 4
    processes = math.floor(cpus) if cpus >= 4 else 8
    work_mem = max(4 * MEGABYTE, (memory - shared_buffers) // ((max_connections + processes) * 3))
    max_wal_size = max(1024 * MEGABYTE, min(4096 * MEGABYTE, memory))
    settings: dict[str, str] = {
        "max_connections": str(max_connections),
        "shared_buffers": _kilobytes(shared_buffers),
        "effective_cache_size": _kilobytes(memory * 3 // 4),
        "maintenance_work_mem": _kilobytes(min(memory // 16, 8192 * MEGABYTE)),
        "work_mem": _kilobytes(work_mem),
        "wal_buffers": _kilobytes(min(shared_buffers * 3 // 100, 16 * MEGABYTE)),
        "min_wal_size": _kilobytes(max_wal_size // 4),
        "max_wal_size": _kilobytes(max_wal_size),
        "checkpoint_completion_target": "0.9",
        "default_statistics_target": "100",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "max_worker_processes": str(processes),
        "huge_pages": "try" if shared_buffers >= 2048 * MEGABYTE else "off",
        "jit": "off",
    }
    if cpus >= 4:
        settings["max_parallel_workers"] = str(processes)
        settings["max_parallel_workers_per_gather"] = str(min(4, math.ceil(processes / 2)))
        settings["max_parallel_maintenance_workers"] = str(min(4, math.ceil(processes / 2)))
    if major >= 15:
        settings["wal_compression"] = "lz4"
    if major >= 18:
        settings["io_method"] = "worker"
    return settings


def shm_size(memory: int) -> int:
    """Return the bytes of /dev/shm of the database's container: max(256 MB, 2 x maintenance_work_mem).

    Parallel queries and parallel index builds keep what they share there; Docker's 64 MB end them with an error.
    """
    return max(256 * MEGABYTE, 2 * min(memory // 16, 8192 * MEGABYTE))


def _kilobytes(size: int) -> str:
    """Return a size in PostgreSQL's notation, in the largest unit that has no fraction."""
    kilobytes = max(64, size // 1024)
    return f"{kilobytes // 1024}MB" if kilobytes % 1024 == 0 else f"{kilobytes}kB"
