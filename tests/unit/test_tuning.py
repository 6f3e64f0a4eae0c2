"""Sizes that follow from the machine."""

from __future__ import annotations

import pytest
from ansible_collections.drydock.stack.plugins.module_utils.tuning import (
    bytes_of,
    connected,
    connections,
    postgres,
    quantised,
    shm_size,
    workers,
)
from hypothesis import given
from hypothesis import strategies as st

MEGABYTE = 1024**2


@pytest.mark.parametrize(
    ("cpus", "megabytes", "expected"),
    [
        (1, 1024, 1),
        (2, 1024, 2),
        (4, 8192, 4),
        (1.9, 8192, 1),
        (0.5, 8192, 1),
        (8, 64 + 3 * 150, 3),
        (8, 64 + 3 * 150 - 1, 2),
        (8, 10, 1),
    ],
)
def test_workers(cpus: float, megabytes: int, expected: int) -> None:
    assert workers(cpus, megabytes * MEGABYTE) == expected


@pytest.mark.parametrize(("most", "pool", "expected"), [(70, 15, 2), (69, 15, 1), (10, 15, 1), (130, 15, 4)])
def test_workers_that_a_database_has_connections_for(most: int, pool: int, expected: int) -> None:
    assert connected(most, pool) == expected


@given(st.floats(0.01, 1024), st.integers(0, 2**42))
def test_workers_fit(cpus: float, memory: int) -> None:
    found = workers(cpus, memory)
    assert isinstance(found, int) and found >= 1
    assert found == 1 or (found <= cpus and (64 + 150 * found) * MEGABYTE <= memory)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        *(("512m", 512 * MEGABYTE), ("1.5g", 1536 * MEGABYTE), ("1024", 1024), ("6M", 6 * MEGABYTE), ("2GiB", 2048 * MEGABYTE)),
        *(("1kb", 1024), ("1 k", 1024), ("10b", 10), ("1T", 1024**4)),
    ],
)
def test_bytes_of(size: str, expected: int) -> None:
    assert bytes_of(size) == expected


@pytest.mark.parametrize("size", ["", "m", "-1m", "1.m", "1x", "1ib", "1 000", "1m\n", "9" * 400, "٣m"])
def test_bytes_of_refuses(size: str) -> None:
    with pytest.raises(ValueError, match="is no size; use a number and a unit"):
        bytes_of(size)


GIGABYTE = 1024 * MEGABYTE


@pytest.mark.parametrize("gigabytes", [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128])
@pytest.mark.parametrize("kept_by_the_kernel", [0.02, 0.03, 0.04])
def test_a_few_megabytes_of_drift_change_nothing(gigabytes: int, kept_by_the_kernel: float) -> None:
    total = int(gigabytes * GIGABYTE * (1 - kept_by_the_kernel))
    assert len({quantised(total + drift * MEGABYTE) for drift in range(-8, 9)}) == 1


@given(st.integers(1, 2**45))
def test_quantised_keeps_four_fifths(size: int) -> None:
    assert 0.8 * size <= quantised(size) <= size
    assert quantised(quantised(size)) == quantised(size)


@pytest.mark.parametrize(
    ("count", "pool", "expected"), [(1, 15, 100), (3, 15, 100), (4, 15, 150), (1, 45, 100), (1, 46, 150), (8, 15, 250)]
)
def test_connections(count: int, pool: int, expected: int) -> None:
    assert connections(count, pool) == expected


@given(st.integers(1, 64), st.integers(1, 100))
def test_connections_suffice_for_two_slots(count: int, pool: int) -> None:
    assert connections(count, pool) >= 2 * count * pool + 10


def test_postgres_is_the_web_profile() -> None:
    # What PGTune gives for version 15, web, 4 GB, 2 processors, 200 connections, SSD, but for the last four.
    assert postgres(4 * GIGABYTE, 2, 200, 15) == {
        "max_connections": "200",
        "shared_buffers": "1024MB",
        "effective_cache_size": "3072MB",
        "maintenance_work_mem": "256MB",
        "work_mem": "5041kB",
        "wal_buffers": "16MB",
        "min_wal_size": "1024MB",
        "max_wal_size": "4096MB",
        "checkpoint_completion_target": "0.9",
        "default_statistics_target": "100",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "max_worker_processes": "8",
        "huge_pages": "off",
        "jit": "off",
        "wal_compression": "lz4",
    }


def test_postgres_uses_many_processors_and_much_memory() -> None:
    found = postgres(64 * GIGABYTE, 16, 200, 18)
    assert found["max_worker_processes"] == found["max_parallel_workers"] == "16"
    assert found["max_parallel_workers_per_gather"] == found["max_parallel_maintenance_workers"] == "4"
    assert (found["huge_pages"], found["maintenance_work_mem"], found["io_method"]) == ("try", "4096MB", "worker")
    assert postgres(256 * GIGABYTE, 16, 200, 17)["maintenance_work_mem"] == "8192MB"


@pytest.mark.parametrize(
    ("major", "some", "others"),
    [
        (14, set(), {"wal_compression", "io_method"}),
        (15, {"wal_compression"}, {"io_method"}),
        (18, {"wal_compression", "io_method"}, set()),
    ],
)
def test_postgres_knows_what_a_version_has(major: int, some: set[str], others: set[str]) -> None:
    found = postgres(GIGABYTE, 2, 100, major).keys()
    assert some <= found and not others & found


@given(st.integers(6 * MEGABYTE, 2**42), st.floats(0.01, 256), st.integers(100, 1000))
def test_postgres_fits_its_memory(memory: int, cpus: float, most: int) -> None:
    found = postgres(memory, cpus, most, 18)

    def size(name: str) -> int:
        return bytes_of(found[name].replace("B", "b"))

    assert size("shared_buffers") <= memory / 4 < size("shared_buffers") + MEGABYTE
    assert size("work_mem") >= 4 * MEGABYTE - 1024
    assert 32 * MEGABYTE <= size("min_wal_size") <= size("max_wal_size") <= 4096 * MEGABYTE
    assert int(found["max_worker_processes"]) >= 4


@pytest.mark.parametrize(("gigabytes", "megabytes"), [(0.5, 256), (2, 256), (4, 512), (64, 8192), (1024, 16384)])
def test_shm_size(gigabytes: float, megabytes: int) -> None:
    assert shm_size(int(gigabytes * GIGABYTE)) == megabytes * MEGABYTE
