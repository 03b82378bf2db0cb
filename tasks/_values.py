"""Metrics of predicted numbers: Pearson's and Spearman's correlation, as GLUE reports STS-B."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType


def pearson(predictions: Sequence[float], values: Sequence[float]) -> float:
    """Return Pearson's correlation; 0 where one side is constant, for which it is undefined."""
    n = len(values)
    mean_p, mean_v = math.fsum(predictions) / n, math.fsum(values) / n
    off_p, off_v = [p - mean_p for p in predictions], [v - mean_v for v in values]
    spread = math.sqrt(math.fsum(p * p for p in off_p)) * math.sqrt(math.fsum(v * v for v in off_v))
    constant = len(set(predictions)) == 1 or len(set(values)) == 1
    if constant or not spread:
        return 0.0
    return math.fsum(p * v for p, v in zip(off_p, off_v, strict=True)) / spread


def spearman(predictions: Sequence[float], values: Sequence[float]) -> float:
    """Return Spearman's correlation: Pearson's of the ranks, equal numbers sharing the mean of their ranks."""
    return pearson(_ranks(predictions), _ranks(values))


def _ranks(numbers: Sequence[float]) -> list[float]:
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    ranks = [0.0] * len(numbers)
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and numbers[order[last + 1]] == numbers[order[first]]:
            last += 1
        for place in range(first, last + 1):
            ranks[order[place]] = (first + last) / 2
        first = last + 1
    return ranks


VALUE_METRICS: Mapping[str, Callable[[Sequence[float], Sequence[float]], float]] = MappingProxyType(
    {"pearson": pearson, "spearman": spearman}
)
"""Metric name -> function of (predicted numbers, gold numbers)."""
