"""What pairs say, and what is read of the builder's progress."""

from __future__ import annotations

import json
import statistics

import lab as bench
import pytest
import report
import stats


def test_ratios_are_how_many_times_theirs_is_as_much():
    assert stats.ratios([1.0, 2.0], [10.0, 5.0]) == [10.0, 2.5]


def test_pairs_that_are_not_pairs_are_refused():
    with pytest.raises(ValueError, match="zip"):
        stats.ratios([1.0], [])


def test_the_interval_holds_the_median_and_is_the_same_again():
    values = [9.0, 1.0, 5.0, 6.0, 4.0, 5.5, 4.5, 5.2, 4.8]
    low, high = stats.interval(values)
    assert 4.0 <= low < statistics.median(values) < high <= 6.0
    assert stats.interval(values) == (low, high)
    assert stats.interval([3.0]) == (3.0, 3.0)


def test_pairs_are_measured_in_turn():
    order = []
    bench.pairs(lambda number: order.append(f"a{number}"), lambda number: order.append(f"b{number}"), 2)
    assert order == ["a0", "b0", "a1", "b1"]


def test_the_context_is_the_last_word_of_each_transfer():
    said = [
        {"statuses": [{"id": "transferring dockerfile:", "vertex": "d", "current": 9}]},
        {"statuses": [{"id": "transferring context:", "vertex": "a", "current": 10}]},
        {"statuses": [{"id": "transferring context:", "vertex": "a", "current": 30}]},
        {"statuses": [{"id": "transferring context:", "vertex": "b", "current": 5}]},
        {"vertexes": [{"digest": "a"}]},
    ]
    assert bench.context_bytes("".join(json.dumps(one, indent=2) for one in said)) == 35


@pytest.mark.parametrize(
    ("value", "target", "least", "word"),
    [(2, 3, False, "yes"), (4, 3, False, "**no**"), (4, 3, True, "yes"), (2, 3, True, "**no**")],
)
def test_a_line_says_whether_it_is_reached(value, target, least, word):
    line = report.line(bench.row("x", value, target, least=least, unit="MB"))
    assert line == f"| x | {value} MB | at {'least' if least else 'most'} {target} MB | {word} |  |"
