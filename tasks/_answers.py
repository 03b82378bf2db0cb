"""Metrics of answers in words: exact match and F1 over all gold answers, as SQuAD's own script counts them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """Return an answer as SQuAD compares it: lower case, no ASCII punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> float:
    """Return the share of predictions that equal one of their gold answers, both normalised."""
    right = (
        normalised(said) in {normalised(answer) for answer in golds}
        for said, golds in zip(predictions, answers, strict=True)
    )
    return sum(right) / len(answers)


def answer_f1(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> float:
    """Return the mean over rows of the best F1, in normalised words, against any of a row's gold answers."""
    best = (max(_f1(said, answer) for answer in golds) for said, golds in zip(predictions, answers, strict=True))
    return sum(best) / len(answers)


def _f1(said: str, answer: str) -> float:
    """F1 of two bags of words; where either is empty after normalising, 0, as in SQuAD's script of version 1.1."""
    words, gold = normalised(said).split(), normalised(answer).split()
    shared = sum((Counter(words) & Counter(gold)).values())
    return 2 * shared / (len(words) + len(gold)) if shared else 0.0


ANSWER_METRICS: Mapping[str, Callable[[Sequence[str], Sequence[Sequence[str]]], float]] = MappingProxyType(
    {"exact_match": exact_match, "answer_f1": answer_f1}
)
"""Metric name -> function of (predicted answers, for each row the gold answers)."""
