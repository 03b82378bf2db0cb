"""From what a family says of a slot's rows, and what is right, to metrics and a checkpoint's quality."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pipelines.gold import Gold
from pipelines.slot import Quality
from pipelines.spec import SlotData
from tasks import score, score_answers, score_values

AGREEMENT, UNREAD = "scoring_agreement", "unread_share"
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Said:
    """What a family says of N rows, in their order, on the CPU.

    Attributes:
        scores: Of each class, ``(N, C)``, or an encoder's number, ``(N, 1)``; None for a text-to-text backbone's rows
            without classes.
        likelihood: Mean log-likelihood per token of each row's target, ``(N,)``; None where there are scores.
        generated: Token ids of each row's greedy answer; None where nothing was generated.
    """

    scores: Tensor | None = None
    likelihood: Tensor | None = None
    generated: Sequence[Sequence[int]] | None = None


@dataclass(frozen=True)
class Judgement:
    """How good a slot is on some rows.

    Attributes:
        quality: What checkpoints are compared by.
        metrics: Every metric of the task. Where answers were generated also ``unread_share``, the rows whose answer
            was no class or no number; where classes were scored both ways also ``scoring_agreement``, the rows in
            which both ways give the same class.
    """

    quality: Quality
    metrics: Mapping[str, float] = field(default_factory=dict)


def judge(data: SlotData, gold: Gold, said: Said, read: Callable[[Sequence[Sequence[int]]], list[str]]) -> Judgement:
    """Judge what was said of rows; ``read`` turns generated token ids into texts.

    Classes are those of the highest score or, with the scoring ``generation``, those whose label words were generated.
    Numbers and answers in words are what was generated; where nothing was, because answers are scored by their
    likelihood while a slot is chosen, the metric's place is taken by the targets' geometric-mean probability per token.
    """
    if data.classes:
        return _judge_classes(data, gold, said)
    if said.scores is not None:
        return _judge_numbers(data, gold, said.scores)
    assert said.likelihood is not None
    likelihood = float(said.likelihood.double().mean())
    if said.generated is None:
        return Judgement(Quality(math.exp(likelihood), likelihood))
    texts = read(said.generated)
    if data.value_range is None:
        metrics = score_answers("+".join(data.metrics), texts, gold.answers)
    else:
        numbers = [read_number(text, data.value_range) for text in texts]
        middle = sum(data.value_range) / 2
        metrics = score_values(
            "+".join(data.metrics), [middle if n is None else n for n in numbers], gold.values.tolist()
        ) | {UNREAD: numbers.count(None) / len(numbers)}
    return Judgement(Quality(metrics[data.metric], likelihood), metrics)


def read_class(ids: Sequence[int], words: Sequence[Sequence[int]]) -> int:
    """The class whose label word a generated answer begins with, token by token; -1 for none.

    Where one word begins with another, the longer one counts. An encoder-decoder's label words end in the
    end-of-sequence token, so that its answer has to end there, too.
    """
    found = [c for c, word in enumerate(words) if tuple(ids[: len(word)]) == tuple(word)]
    return max(found, key=lambda c: len(words[c]), default=-1)


def read_number(text: str, value_range: tuple[float, float]) -> float | None:
    """The first number in a text, moved into the range; None if there is none."""
    found = NUMBER.search(text)
    low, high = value_range
    return None if found is None else min(max(float(found[0]), low), high)


def _judge_classes(data: SlotData, gold: Gold, said: Said) -> Judgement:
    assert said.scores is not None
    labels, scores = gold.labels, said.scores.double().numpy()
    with np.errstate(invalid="ignore"):  # of a slot that diverged
        likelihood = (scores[np.arange(len(labels)), labels] - np.logaddexp.reduce(scores, axis=1)).mean()
    predicted, extra = scores.argmax(-1).tolist(), {}
    if said.generated is not None:
        answered = [read_class(ids, data.words) for ids in said.generated]
        extra[AGREEMENT] = sum(a == b for a, b in zip(predicted, answered, strict=True)) / len(answered)
        extra[UNREAD] = answered.count(-1) / len(answered)
        if data.scoring == "generation":
            predicted = answered
    groups = gold.groups.tolist() or None
    metrics = score("+".join(data.metrics), predicted, labels.tolist(), data.classes, groups)
    return Judgement(Quality(metrics[data.metric], float(likelihood)), metrics | extra)


def _judge_numbers(data: SlotData, gold: Gold, scores: Tensor) -> Judgement:
    assert data.value_range is not None
    low, high = data.value_range
    scaled, values = scores[:, 0].double(), torch.from_numpy(gold.values)
    error = float((scaled - (values - low) / (high - low)).square().mean())
    if not math.isfinite(error):  # a slot that diverged: no metric is defined, and the slot ends by the likelihood
        return Judgement(Quality(0.0, -math.inf))
    metrics = score_values("+".join(data.metrics), (low + scaled * (high - low)).tolist(), values.tolist())
    return Judgement(Quality(metrics[data.metric], -error), metrics)
