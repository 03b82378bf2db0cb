"""What a family has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.backbone import Backbone
from pipelines.encode import Batch
from pipelines.methods.dept import Inputs


@dataclass(frozen=True)
class SlotView:
    """What a family needs of a slot beyond its input embeddings.

    Attributes:
        classes: Number of classes.
        head: The classification head (encoders).
        words: Token ids of each class's label word (other families).
    """

    classes: int
    head: Mapping[str, Tensor] = field(default_factory=dict)
    words: Sequence[Tensor] = ()


class Embed(Protocol):
    """A method's function from word embeddings to input embeddings, its slots already bound."""

    def __call__(self, tokens: Tensor, mask: Tensor, slot_of_row: Tensor, text: Tensor | None = None) -> Inputs:
        """See `pipelines.methods.dept.input_embeddings`."""


class Family(Protocol):
    """Scores and losses of one family."""

    def losses(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Training loss of each row, ``(N,)``."""

    def scores(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Score of each class for each row, ``(N, C)``; −inf beyond a slot's own classes.

        A softmax over a row gives the classes' probabilities.
        """


def word_log_likelihood(logits: Tensor, words: Tensor, real: Tensor) -> Tensor:
    """Mean log-likelihood per token of label words.

    Args:
        logits: Predictions for each token of the word, ``(N, T, V)``.
        words: Token ids, ``(N, T)``.
        real: Tokens that count, bool, ``(N, T)``.
    """
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    token = -F.cross_entropy(exact.transpose(1, 2), words, reduction="none")
    return torch.where(real, token, 0).sum(1) / real.sum(1)


def gold_words(batch: Batch, slots: Sequence[SlotView]) -> list[Tensor]:
    """The label word of each row."""
    return [slots[k].words[c] for k, c in zip(batch.slot.tolist(), batch.labels.tolist(), strict=True)]


def every_word(batch: Batch, slots: Sequence[SlotView]) -> tuple[Tensor, list[Tensor], Tensor]:
    """Each row once per class of its slot: the row's index, the class's word, the class's index."""
    pairs = [(n, c) for n, k in enumerate(batch.slot.tolist()) for c in range(slots[k].classes)]
    slot = batch.slot.tolist()
    device = batch.slot.device
    return (
        torch.tensor([n for n, _ in pairs], device=device),
        [slots[slot[n]].words[c] for n, c in pairs],
        torch.tensor([c for _, c in pairs], device=device),
    )


def scatter_scores(values: Tensor, row: Tensor, column: Tensor, rows: int, slots: Sequence[SlotView]) -> Tensor:
    """Scores by row and class from one value per pair of them."""
    table = values.new_full((rows, max(slot.classes for slot in slots)), -torch.inf)
    return table.index_put((row, column), values)
