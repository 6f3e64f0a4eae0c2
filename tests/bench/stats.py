"""What pairs of measurements say."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

RESAMPLES = 10_000


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return theirs / ours of each pair."""
    return [other / own for own, other in zip(ours, theirs, strict=True)]


def interval(values: Sequence[float], seed: int = 20) -> tuple[float, float]:
    """Return the bounds of the median in 95% of the samples drawn from the values, as many as they are, with replacement.

    Source: Efron's percentile bootstrap. The seed makes the same values give the same bounds.
    """
    draw = random.Random(seed)  # noqa: S311 (nothing is kept secret with it)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]
