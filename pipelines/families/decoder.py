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
from pipelines.methods.dept import Inputs


class Decoder:
    """See `pipelines.families.base.Family`."""

    def losses(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Minus the mean log-likelihood per token of each row's label word or target."""
        return -self._word_likelihood(backbone, batch, embed, gold_words(batch, slots))

    def scores(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Mean log-likelihood per token of every label word; prompt and text are read once, whatever the classes."""
        row, words, column = every_word(batch, slots)
        ids = pad_sequence(list(words), batch_first=True).to(batch.ids.device)
        width = torch.tensor([len(word) for word in words], device=ids.device)[:, None]
        real = torch.arange(ids.shape[1], device=ids.device) < width
        inputs = self._read(backbone, batch, embed)
        further = ids.shape[1] > 1
        read = backbone.model(
            inputs_embeds=inputs.embeddings.to(backbone.dtype),
            attention_mask=inputs.mask.long(),
            position_ids=inputs.positions,
            use_cache=further,
            logits_to_keep=1,
        )
        logits = read.logits[row]
        if further:  # what was read of a text is remembered for each of its words
            read.past_key_values.reorder_cache(row)
            place = torch.arange(1, ids.shape[1], device=ids.device)
            after = backbone.model(
                inputs_embeds=backbone.word_embeddings(ids[:, :-1]),
                attention_mask=torch.cat([inputs.mask[row], real[:, :-1]], 1).long(),
                position_ids=inputs.positions[row, -1:] + place,
                past_key_values=read.past_key_values,
                use_cache=True,
            ).logits
            logits = torch.cat([logits, after], 1)
        return scatter_scores(word_log_likelihood(logits, ids, real), row, column, len(batch.slot), slots)

    def generate(
        self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView], limit: int
    ) -> list[list[int]]:
        """The greedy continuation of prompt and text, which are padded on the left; its tokens get no update."""
        inputs = self._read(backbone, batch, embed)
        embeddings = inputs.embeddings.to(backbone.dtype)
        return greedy(backbone, limit, inputs_embeds=embeddings, attention_mask=inputs.mask.long())

    def _read(self, backbone: Backbone, batch: Batch, embed: Embed) -> Inputs:
        """Prompt and text, padded on the left: all texts end together."""
        lengths = batch.mask.sum(1, keepdim=True)
        place = torch.arange(batch.ids.shape[1], device=batch.ids.device)
        ids = batch.ids.gather(1, (place + lengths) % batch.ids.shape[1])  # the padding comes round to the front
        return embed(backbone.word_embeddings(ids), place >= batch.ids.shape[1] - lengths, batch.slot)

    def _word_likelihood(self, backbone: Backbone, batch: Batch, embed: Embed, words: Sequence[Tensor]) -> Tensor:
        lengths = batch.mask.sum(1)
        sequences = [
            torch.cat([own[:length], word.to(batch.ids.device)])
            for own, length, word in zip(batch.ids, lengths.tolist(), words, strict=True)
        ]
        # padded on the left: all words end together, and the model's own output layer is asked for their places alone
        ids = pad_sequence(sequences, batch_first=True, padding_side="left")
        width = torch.tensor([len(word) for word in words], device=ids.device)[:, None]
        left = torch.arange(ids.shape[1], 0, -1, device=ids.device)  # tokens from each place to the end
        mask = left <= lengths[:, None] + width
        inputs = embed(backbone.word_embeddings(ids), mask, batch.slot, mask & (left > width))
        T = int(width.max())
        logits = backbone.model(
            inputs_embeds=inputs.embeddings.to(backbone.dtype),
            attention_mask=inputs.mask.long(),
            position_ids=inputs.positions,
            use_cache=False,
            logits_to_keep=T + 1,
        ).logits[:, :-1]  # the token before predicts
        return word_log_likelihood(logits, ids[:, -T:], left[-T:] <= width)
