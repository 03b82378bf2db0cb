"""Metrics by the benchmarks' own definitions, as small exact code; every value is a fraction in [-1, 1].

A task names its metrics joined by ``+`` (``accuracy+f1``), as GLUE and SuperGLUE report some tasks by two; the first is
the primary one, by which configurations are chosen. Predictions and gold labels are class ids, numbers or texts, by the
task's form. A predicted class of -1 means "no label recognised" and is always wrong.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence, Sized
from types import MappingProxyType

from tasks._answers import ANSWER_METRICS
from tasks._errors import TaskError, did_you_mean
from tasks._forms import Gold
from tasks._values import VALUE_METRICS

Metric = Callable[[Sequence[int], Sequence[int]], float]


def accuracy(predictions: Sequence[int], labels: Sequence[int]) -> float:
    """Return the share of equal pairs."""
    return sum(p == y for p, y in zip(predictions, labels, strict=True)) / len(labels)


def _f1_of(cls: int, predictions: Sequence[int], labels: Sequence[int]) -> float:
    hits = sum(p == y == cls for p, y in zip(predictions, labels, strict=True))
    total = sum(p == cls for p in predictions) + sum(y == cls for y in labels)
    return 2 * hits / total if total else 0.0


def f1(predictions: Sequence[int], labels: Sequence[int]) -> float:
    """Return the F1 of class 1 in a binary task (GLUE's MRPC and QQP, MultiRC's F1a).

    It is 0 where nothing is or was predicted positive.
    """
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


def question_match(predictions: Sequence[int], labels: Sequence[int], groups: Sequence[Hashable]) -> float:
    """Return the share of groups with every row right: MultiRC's exact match, a group being a question's answers."""
    right: dict[Hashable, bool] = {}
    for prediction, label, group in zip(predictions, labels, groups, strict=True):
        right[group] = right.get(group, True) and prediction == label
    return sum(right.values()) / len(right)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {"accuracy": accuracy, "f1": f1, "macro_f1": macro_f1, "matthews": matthews}
)
"""Metric name -> function of (predicted class ids, gold class ids)."""

GROUP_METRICS = MappingProxyType({"question_match": question_match})
"""Metric name -> function of (predicted class ids, gold class ids, for each row its group)."""

_KNOWN: Mapping[Gold, tuple[str, ...]] = {
    "class": (*METRICS, *GROUP_METRICS),
    "value": tuple(VALUE_METRICS),
    "answers": tuple(ANSWER_METRICS),
}


def check_metric(metric: str, gold: Gold, n_classes: int) -> tuple[str, ...]:
    """Return the names in ``metric``; raise ``TaskError`` where one is unknown or does not fit what is scored.

    Args:
        metric: names joined by ``+``.
        gold: what rows are labelled with.
        n_classes: the number of classes; 0 where rows have none.
    """
    names = tuple(metric.split("+"))
    known = _KNOWN[gold]
    for name in names:
        if name not in known:
            raise TaskError(f"unknown metric {name!r}: metrics are {', '.join(known)}{did_you_mean(name, known)}")
        if name == "f1" and n_classes != 2:
            raise TaskError(f"metric 'f1' is for two classes, the task has {n_classes}: use 'macro_f1'")
    return names


def gold_of_metric(metric: str) -> Gold | None:
    """Return what rows are labelled with where this metric is used; None for an unknown one."""
    return next((gold for gold, names in _KNOWN.items() if metric in names), None)


def primary_metric(metric: str) -> str:
    """Return the name by which configurations are chosen: the first in ``metric``."""
    return metric.split("+")[0]


def score(
    metric: str,
    predictions: Sequence[int],
    labels: Sequence[int],
    n_classes: int,
    groups: Sequence[Hashable] | None = None,
) -> dict[str, float]:
    """Return metric name -> value (a fraction, not percent) for every name in ``metric``, the primary one first.

    ``labels`` are ids in ``range(n_classes)``; ``predictions`` too, or -1 for "no label recognised". ``groups`` says
    which question each row belongs to (``Example.group``), for the metrics that count questions.

    Raises:
        TaskError: for an unknown metric, no rows, different lengths, an id out of range, or groups that are missing.
    """
    names = check_metric(metric, "class", n_classes)
    _check_sizes(predictions, labels)
    predicted, actual = [int(p) for p in predictions], [int(y) for y in labels]
    for kind, values, low in (("prediction", predicted, -1), ("label", actual, 0)):
        if min(values) < low or max(values) >= n_classes:
            bad = next(v for v in values if not low <= v < n_classes)
            raise TaskError(f"{kind} {bad} is out of range: ids of {n_classes} classes are 0 to {n_classes - 1}")
    scores = {}
    for name in names:
        if name in METRICS:
            scores[name] = METRICS[name](predicted, actual)
        elif groups is None or len(groups) != len(actual):
            raise TaskError(f"metric {name!r} needs each row's group, got {None if groups is None else len(groups)}")
        else:
            scores[name] = GROUP_METRICS[name](predicted, actual, groups)
    return scores


def score_values(metric: str, predictions: Sequence[float], values: Sequence[float]) -> dict[str, float]:
    """Return metric name -> correlation in [-1, 1] of predicted and gold numbers, the primary metric first.

    Raises:
        TaskError: for an unknown metric, no rows, different lengths, or a number that is not finite.
    """
    names = check_metric(metric, "value", 0)
    _check_sizes(predictions, values)
    for number in (*predictions, *values):
        if not math.isfinite(number):
            raise TaskError(f"{number} cannot be scored: predictions and gold values must be finite numbers")
    return {name: VALUE_METRICS[name](predictions, values) for name in names}


def score_answers(metric: str, predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return metric name -> value (a fraction) of answers in words, each scored by the best of all its gold answers.

    Raises:
        TaskError: for an unknown metric, no rows, different lengths, or a row without a gold answer.
    """
    names = check_metric(metric, "answers", 0)
    _check_sizes(predictions, answers)
    for row, golds in enumerate(answers):
        if isinstance(golds, str) or not golds:
            raise TaskError(f"the gold answers of row {row} are {golds!r}: give a list of one or more texts")
    return {name: ANSWER_METRICS[name](predictions, answers) for name in names}


def _check_sizes(predictions: Sized, gold: Sized) -> None:
    if len(predictions) != len(gold):
        raise TaskError(f"{len(predictions)} predictions for {len(gold)} labels: give one per row")
    if not len(gold):
        raise TaskError("no rows to score: give at least one")
