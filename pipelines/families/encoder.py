"""Encoders (BERT and kin): the text's pooled segments go through the slot's own head."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines import heads
from pipelines.backbone import Backbone
from pipelines.encode import Batch
from pipelines.families.base import Embed, SlotView


class Encoder:
    """See `pipelines.families.base.Family`."""

    def losses(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Cross-entropy of a row with a class; squared error of a number, scaled to [0, 1]."""
        scores = self.scores(backbone, batch, embed, slots)
        low, high = torch.tensor([slot.value_range for slot in slots], dtype=torch.float64, device=scores.device).T
        wanted = ((batch.values - low[batch.slot]) / (high - low)[batch.slot]).to(scores.dtype)
        has_class = batch.labels >= 0
        by_class = F.cross_entropy(scores, batch.labels, reduction="none", ignore_index=-1)
        return torch.where(has_class, by_class, (scores[:, 0] - wanted).square())

    def scores(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """What the head gives: logits, or a number scaled to [0, 1]."""
        inputs = embed(backbone.word_embeddings(batch.ids), batch.mask, batch.slot)
        model = backbone.model
        takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        positions = inputs.positions + backbone.info.architecture.first_position
        hidden = model(
            inputs_embeds=inputs.embeddings.to(backbone.dtype),
            attention_mask=inputs.mask.long(),
            **({"position_ids": positions} if takes_positions else {}),
        ).last_hidden_state
        pooled = heads.pool(hidden[:, inputs.prompt_length :].to(inputs.embeddings.dtype), batch.segments)
        scores = pooled.new_full((len(pooled), max(slot.outputs for slot in slots)), float("-inf"))
        for k, slot in enumerate(slots):
            rows = (batch.slot == k).nonzero()[:, 0]
            if len(rows):
                logits = heads.logits(slot.head, pooled[rows])
                missing = scores.shape[1] - slot.outputs
                scores = scores.index_copy(0, rows, F.pad(logits, (0, missing), value=float("-inf")))
        return scores

    def generate(
        self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView], limit: int
    ) -> list[list[int]]:
        """Nothing: an encoder has no words to answer with."""
        raise NotImplementedError("an encoder generates nothing")
