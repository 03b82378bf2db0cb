"""What a family has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

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
        classes: Number of classes; 0 where rows have none.
        head: The head (encoders).
        words: Token ids of each class's label word (other families).
        value_range: Least and greatest number of a regression.
    """

    classes: int
    head: Mapping[str, Tensor] = field(default_factory=dict)
    words: Sequence[Tensor] = ()
    value_range: tuple[float, float] = (0.0, 1.0)

    @property
    def outputs(self) -> int:
        """Scores of a row: one a class, or one for a number."""
        return self.classes or 1


class Embed(Protocol):
    """A method's function from word embeddings to input embeddings, its slots already bound."""

    def __call__(self, tokens: Tensor, mask: Tensor, slot_of_row: Tensor, text: Tensor | None = None) -> Inputs:
        """See `pipelines.methods.dept.input_embeddings`."""


class Family(Protocol):
    """Scores and losses of one family."""

    def losses(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Training loss of each row, ``(N,)``.

        Of a text-to-text family minus the mean log-likelihood per token of what is to be answered: a class's label
        word, or the row's own target.
        """

    def scores(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Score of each class for each row, ``(N, C)``; −inf beyond a slot's own outputs.

        A softmax over a row gives the classes' probabilities. An encoder's regression has one, the number scaled to
        [0, 1]; a text-to-text family scores classes alone.
        """

    def generate(
        self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView], limit: int
    ) -> list[list[int]]:
        """What each row is answered greedily: at most ``limit`` tokens, the end-of-sequence token the last if it came.

        Raises:
            NotImplementedError: An encoder generates nothing.
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
    """What each row is to be answered: its class's label word, or its own target."""
    rows = zip(batch.slot.tolist(), batch.labels.tolist(), batch.targets, strict=True)
    return [target if label < 0 else slots[k].words[label] for k, label, target in rows]


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


def greedy(backbone: Backbone, limit: int, *, started: int = 0, **inputs: Any) -> list[list[int]]:
    """The model's own greedy answers to inputs of its ``generate``, each cut behind its end-of-sequence token.

    The first ``started`` tokens are no part of the answer (BART's start token is its end-of-sequence token). The
    checkpoint's own habits (beams, forced first tokens, penalties) are set aside.
    """
    from transformers import GenerationConfig

    model: Any = backbone.model
    end = backbone.tokenizer.eos_token_id
    config = GenerationConfig(
        max_new_tokens=limit,
        do_sample=False,
        num_beams=1,
        eos_token_id=end,
        pad_token_id=backbone.tokenizer.pad_token_id,
        decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
    )
    habits, model.generation_config = model.generation_config, GenerationConfig()
    try:
        said: list[list[int]] = model.generate(generation_config=config, **inputs)[:, started:].tolist()
    finally:
        model.generation_config = habits
    return [ids[: ids.index(end) + 1] if end in ids else ids for ids in said]
