"""What a slot trains, before any tensor is made: its settings, and its rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipelines.encode import Encoded

Scoring = Literal["likelihood", "generation"]
ANSWER_MARGIN = 8
"""Tokens beyond the longest target after which generating stops: an answer that goes on is wrong, not cut short."""


@dataclass(frozen=True)
class SlotSpec:
    """Everything about a slot that is not a tensor; plain values, so that it travels and is logged as it is.

    Attributes:
        key: Unique within a command, stable over retries.
        config: Slots of one configuration (its seeds) share this number and are judged together.
        task: Name of the task.
        data: Which of the command's data sets its rows are from.
        start: ``scratch`` or the reference of a stored artifact.
        m: Prompt rows.
        r: Rank of the update.
        s: Text positions with an update; texts are cut there.
        gamma: Scale of A·B.
        alpha1: Learning rate of the prompt (absolute).
        alpha2: Learning rate of A and B (absolute).
        head_lr: Learning rate of an encoder's classification head.
        steps: Optimiser steps; 0 evaluates the start as it is.
        batch: Rows a step.
        eval_every: Steps between evaluations on dev.
        patience: Evaluations without improvement on dev after which training stops; 0 for never.
        warmup: Share of the steps over which the rates rise from 0.
        clip: Largest norm of the slot's gradient.
        seed: Seed of the start, the batches and everything else drawn.
        dropout: Share of the input embeddings' numbers that is zero in training; see `pipelines.dropout`.
    """

    key: str
    config: int
    task: str
    data: str
    start: str
    m: int
    r: int
    s: int
    gamma: float
    alpha1: float
    alpha2: float
    head_lr: float
    steps: int
    batch: int
    eval_every: int
    seed: int
    patience: int = 0
    warmup: float = 0.1
    clip: float = 1.0
    dropout: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@dataclass(frozen=True)
class SlotData:
    """The rows of a slot and how what is said of them is judged.

    Attributes:
        train: Rows to learn from.
        dev: Rows that choose the checkpoint and the configuration; None where the last checkpoint is taken.
        labels: Names of the classes, in the order of their ids; empty where rows have no classes.
        metrics: Names of the task's metrics; the first one chooses.
        segments: Texts in a row: 1 or 2.
        words: Token ids of each class's label word; empty for encoders.
        test: Rows nothing is chosen on, or None while searching.
        value_range: Least and greatest number of a regression; None where rows have no number.
        scoring: How a text-to-text backbone is judged while it is chosen: by the likelihood of its answers, or by what
            it generates.
    """

    train: Encoded
    dev: Encoded | None
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    segments: int
    words: tuple[tuple[int, ...], ...] = ()
    test: Encoded | None = None
    value_range: tuple[float, float] | None = None
    scoring: Scoring = "likelihood"

    @property
    def metric(self) -> str:
        """Name of the metric that chooses."""
        return self.metrics[0]

    @property
    def classes(self) -> int:
        """Number of classes; 0 where rows have none."""
        return len(self.labels)

    @property
    def outputs(self) -> int:
        """Rows of an encoder's head: one a class, or one for a number."""
        return self.classes or 1

    @property
    def answer_limit(self) -> int:
        """Tokens of the longest answer that is looked for: a label word, or somewhat more than any row's target."""
        if self.words:
            return max(map(len, self.words))
        sets = [rows for rows in (self.train, self.dev, self.test) if rows is not None]
        longest = max(rows.gold.longest_target for rows in sets)
        return longest + ANSWER_MARGIN if longest else 0
