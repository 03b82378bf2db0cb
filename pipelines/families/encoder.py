"""Encoders (BERT and kin): the text's pooled segments go through the slot's own head."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from pipelines import heads
from pipelines.backbone import Backbone
from pipelines.encode import Batch
from pipelines.families.base import Embed, SlotView


class Encoder:
    """See `pipelines.families.base.Family`."""

    def losses(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Cross-entropy of each row."""
        return F.cross_entropy(self.scores(backbone, batch, embed, slots), batch.labels, reduction="none")

    def scores(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """The head's logits."""
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
        scores = pooled.new_full((len(pooled), max(slot.classes for slot in slots)), float("-inf"))
        for k, slot in enumerate(slots):
            rows = (batch.slot == k).nonzero()[:, 0]
            if len(rows):
                logits = heads.logits(slot.head, pooled[rows])
                missing = scores.shape[1] - slot.classes
                scores = scores.index_copy(0, rows, F.pad(logits, (0, missing), value=float("-inf")))
        return scores
