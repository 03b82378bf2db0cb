"""Decoders (Llama and kin): prompt, text and label word in one sequence; the word gets no update."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pipelines.backbone import Backbone
from pipelines.encode import Batch
from pipelines.families.base import (
    Embed,
    SlotView,
    every_word,
    gold_words,
    greedy,
    scatter_scores,
    word_log_likelihood,
)


class Decoder:
    """See `pipelines.families.base.Family`."""

    def losses(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Minus the mean log-likelihood per token of each row's label word or target."""
        row = torch.arange(len(batch.slot), device=batch.slot.device)
        return -self._word_likelihood(backbone, batch, embed, row, gold_words(batch, slots))

    def scores(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Mean log-likelihood per token of every label word."""
        row, words, column = every_word(batch, slots)
        values = self._word_likelihood(backbone, batch, embed, row, words)
        return scatter_scores(values, row, column, len(batch.slot), slots)

    def generate(
        self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView], limit: int
    ) -> list[list[int]]:
        """The greedy continuation of prompt and text, which are padded on the left; its tokens get no update."""
        lengths = batch.mask.sum(1, keepdim=True)
        place = torch.arange(batch.ids.shape[1], device=batch.ids.device)
        ids = batch.ids.gather(1, (place + lengths) % batch.ids.shape[1])  # the padding comes round to the front
        mask = place >= batch.ids.shape[1] - lengths
        inputs = embed(backbone.word_embeddings(ids), mask, batch.slot)
        embeddings = inputs.embeddings.to(backbone.dtype)
        return greedy(backbone, limit, inputs_embeds=embeddings, attention_mask=inputs.mask.long())

    def _word_likelihood(
        self, backbone: Backbone, batch: Batch, embed: Embed, row: Tensor, words: Sequence[Tensor]
    ) -> Tensor:
        lengths = batch.mask.sum(1)[row]
        sequences = [
            torch.cat([batch.ids[n, :length], word.to(batch.ids.device)])
            for n, length, word in zip(row.tolist(), lengths.tolist(), words, strict=True)
        ]
        # padded on the left: all words end together, and the model's own output layer is asked for their places alone
        ids = pad_sequence(sequences, batch_first=True, padding_side="left")
        width = torch.tensor([len(word) for word in words], device=ids.device)[:, None]
        left = torch.arange(ids.shape[1], 0, -1, device=ids.device)  # tokens from each place to the end
        mask = left <= lengths[:, None] + width
        inputs = embed(backbone.word_embeddings(ids), mask, batch.slot[row], mask & (left > width))
        T = int(width.max())
        logits = backbone.model(
            inputs_embeds=inputs.embeddings.to(backbone.dtype),
            attention_mask=inputs.mask.long(),
            position_ids=inputs.positions,
            use_cache=False,
            logits_to_keep=T + 1,
        ).logits[:, :-1]  # the token before predicts
        return word_log_likelihood(logits, ids[:, -T:], left[-T:] <= width)
