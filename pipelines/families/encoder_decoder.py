"""Encoder-decoders (T5 and kin): the prompt is the encoder's, the label words are the decoder's."""

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


class EncoderDecoder:
    """See `pipelines.families.base.Family`."""

    def losses(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Minus the mean log-likelihood per token of each row's label word or target."""
        encoded, mask = self._encode(backbone, batch, embed)
        return -self._decode(backbone, encoded, mask, gold_words(batch, slots))

    def scores(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """Mean log-likelihood per token of every label word; the text is encoded once."""
        encoded, mask = self._encode(backbone, batch, embed)
        row, words, column = every_word(batch, slots)
        values = self._decode(backbone, encoded[row], mask[row], words)
        return scatter_scores(values, row, column, len(batch.slot), slots)

    def generate(
        self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView], limit: int
    ) -> list[list[int]]:
        """The decoder's greedy answer, without its start token."""
        from transformers.modeling_outputs import BaseModelOutput

        encoded, mask = self._encode(backbone, batch, embed)
        outputs = BaseModelOutput(last_hidden_state=encoded)
        return greedy(backbone, limit, started=1, encoder_outputs=outputs, attention_mask=mask)

    def _encode(self, backbone: Backbone, batch: Batch, embed: Embed) -> tuple[Tensor, Tensor]:
        inputs = embed(backbone.word_embeddings(batch.ids), batch.mask, batch.slot)
        embeddings, mask = inputs.embeddings.to(backbone.dtype), inputs.mask
        if backbone.info.architecture.counts_padding:
            # BART's encoder counts positions over padding and takes no ids for them: padding goes to the end
            order = (~mask).long().argsort(dim=1, stable=True)
            embeddings = embeddings.gather(1, order[..., None].expand_as(embeddings))
            mask = mask.gather(1, order)
        encoder = backbone.model.get_encoder()
        return encoder(inputs_embeds=embeddings, attention_mask=mask.long())[0], mask.long()

    def _decode(self, backbone: Backbone, encoded: Tensor, mask: Tensor, words: Sequence[Tensor]) -> Tensor:
        labels = pad_sequence(list(words), batch_first=True, padding_value=-100).to(encoded.device)
        real = labels != -100
        model = backbone.model
        start = torch.full_like(labels[:, :1], model.config.decoder_start_token_id)
        logits = model(
            encoder_outputs=(encoded,),
            attention_mask=mask,
            decoder_input_ids=torch.cat([start, labels[:, :-1].clamp_min(0)], 1),
            use_cache=False,
        ).logits
        return word_log_likelihood(logits, labels.clamp_min(0), real)
