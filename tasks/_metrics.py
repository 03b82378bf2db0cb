"""Metrics by the benchmarks' own definitions, as small exact code; every value is a fraction in [-1, 1].

A task names its metrics joined by ``+`` (``accuracy+f1``), as GLUE and SuperGLUE report some tasks by two; the first is
the primary one, by which configurations are chosen. A prediction of -1 means "no label recognised" and is always wrong.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from tasks._errors import TaskError, did_you_mean

Metric = Callable[[Sequence[int], Sequence[int]], float]


def accuracy(predictions: Sequence[int], labels: Sequence[int]) -> float:
    """Return the share of equal pairs."""
    return sum(p == y for p, y in zip(predictions, labels, strict=True)) / len(labels)


def _f1_of(cls: int, predictions: Sequence[int], labels: Sequence[int]) -> float:
    hits = sum(p == y == cls for p, y in zip(predictions, labels, strict=True))
    total = sum(p == cls for p in predictions) + sum(y == cls for y in labels)
    return 2 * hits / total if total else 0.0


def f1(predictions: Sequence[int], labels: Sequence[int]) -> float:
    """Return the F1 of class 1 in a binary task (GLUE's MRPC and QQP); 0 where nothing is or was predicted positive."""
    return _f1_of(1, predictions, labels)


def macro_f1(predictions: Sequence[int], labels: Sequence[int]) -> float:
    """Return the plain mean of F1 over the classes that occur in labels or predictions (SuperGLUE's CB)."""
    classes = (set(labels) | set(predictions)) - {-1}
    return sum(_f1_of(cls, predictions, labels) for cls in classes) / len(classes)


def matthews(predictions: Sequence[int], labels: Sequence[int]) -> float:
    """Return Matthews' correlation (GLUE's CoLA), in its form for any number of classes; 0 where it is undefined."""
    n = len(labels)
    predicted, actual = Counter(predictions), Counter(labels)
    hits = sum(p == y for p, y in zip(predictions, labels, strict=True))
    covariance = hits * n - sum(predicted[cls] * actual[cls] for cls in actual)
    spread = (n * n - sum(c * c for c in predicted.values())) * (n * n - sum(c * c for c in actual.values()))
    return covariance / math.sqrt(spread) if spread else 0.0


METRICS: Mapping[str, Metric] = MappingProxyType(
    {"accuracy": accuracy, "f1": f1, "macro_f1": macro_f1, "matthews": matthews}
)
"""Metric name -> function of (predictions, labels)."""


def check_metric(metric: str, n_classes: int) -> tuple[str, ...]:
    """Return the names in ``metric``; raise ``TaskError`` where one is unknown or does not fit the classes."""
    names = tuple(metric.split("+"))
    for name in names:
        if name not in METRICS:
            raise TaskError(f"unknown metric {name!r}: metrics are {', '.join(METRICS)}{did_you_mean(name, METRICS)}")
        if name == "f1" and n_classes != 2:
            raise TaskError(f"metric 'f1' is for two classes, the task has {n_classes}: use 'macro_f1'")
    return names


def primary_metric(metric: str) -> str:
    """Return the name by which configurations are chosen: the first in ``metric``."""
    return metric.split("+")[0]


def score(metric: str, predictions: Sequence[int], labels: Sequence[int], n_classes: int) -> dict[str, float]:
    """Return metric name -> value (a fraction, not percent) for every name in ``metric``, the primary one first.

    ``labels`` are ids in ``range(n_classes)``; ``predictions`` too, or -1 for "no label recognised".

    Raises:
        TaskError: for an unknown metric, no rows, different lengths, or an id out of range.
    """
    names = check_metric(metric, n_classes)
    if len(predictions) != len(labels):
        raise TaskError(f"{len(predictions)} predictions for {len(labels)} labels: give one per row")
    if not labels:
        raise TaskError("no rows to score: give at least one")
    predicted, actual = [int(p) for p in predictions], [int(y) for y in labels]
    for kind, values, low in (("prediction", predicted, -1), ("label", actual, 0)):
        if min(values) < low or max(values) >= n_classes:
            bad = next(v for v in values if not low <= v < n_classes)
            raise TaskError(f"{kind} {bad} is out of range: ids of {n_classes} classes are 0 to {n_classes - 1}")
    return {name: METRICS[name](predicted, actual) for name in names}
