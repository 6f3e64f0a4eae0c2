"""Sizes that follow from the machine."""

from __future__ import annotations

import pytest
from ansible_collections.drydock.stack.plugins.module_utils.tuning import bytes_of, workers
from hypothesis import given
from hypothesis import strategies as st

MEGABYTE = 1024**2


@pytest.mark.parametrize(
    ("cpus", "megabytes", "shares_host", "expected"),
    [
        (1, 1024, False, 1),
        (4, 8192, False, 4),
        (4, 8192, True, 2),
        (5, 8192, True, 2),
        (1.9, 8192, False, 1),
        (0.5, 8192, False, 1),
        (8, 64 + 3 * 150, False, 3),
        (8, 64 + 3 * 150 - 1, False, 2),
        (8, 64 + 3 * 150, True, 1),
        (8, 10, False, 1),
        (1, 1024, True, 1),
    ],
)
def test_workers(cpus: float, megabytes: int, shares_host: bool, expected: int) -> None:
    assert workers(cpus, megabytes * MEGABYTE, shares_host) == expected


@given(st.floats(0.01, 1024), st.integers(0, 2**42), st.booleans())
def test_workers_fit(cpus: float, memory: int, shares_host: bool) -> None:
    found = workers(cpus, memory, shares_host)
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
