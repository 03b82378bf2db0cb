"""Dropout on the input embeddings, the same for a slot whatever stands beside it in a pass.

Each number of a training row's input (prompt and text) is set to zero with probability p and otherwise scaled by
1 / (1 − p). Whether it is zero follows by a hash from the slot's seed, its step, the row, the place counted from the
row's own first token, and the channel alone. So a slot in a pack draws what it draws alone, on any device, however
its rows are cut into passes, and a run that goes on from a checkpoint needs no generator's state.

This is not the backbone's own dropout, which stays off: the backbone is frozen and in evaluation mode, its masks would
come from one generator for all rows of a pass, and a slot's numbers would hang on its companions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pipelines.families import Embed
from pipelines.methods.dept import Inputs

GOLDEN = 0x9E3779B9
"""2³² over the golden ratio: multiples of it spread evenly over 32 bits."""


def with_dropout(embed: Embed, rates: Tensor, keys: Tensor) -> Embed:
    """A method's function with dropout on what it gives.

    Args:
        embed: From word embeddings to input embeddings.
        rates: Probability of a zero for each row of the batch, in the embeddings' type, ``(N,)``.
        keys: What `row_keys` gives for each row, ``(N,)``.
    """

    def embed_and_drop(tokens: Tensor, mask: Tensor, slot_of_row: Tensor, text: Tensor | None = None) -> Inputs:
        inputs = embed(tokens, mask, slot_of_row, text)
        kept = kept_channels(keys, inputs.positions, inputs.embeddings.shape[-1], rates)
        scaled = inputs.embeddings / (1 - rates[:, None, None])
        return replace(inputs, embeddings=torch.where(kept, scaled, 0))

    return embed_and_drop


def row_keys(seeds: Sequence[int], steps: Sequence[int], rows: Sequence[int]) -> Tensor:
    """A 32-bit number for each row of a step, from its slot's seed and step and its place in the slot's set; int64."""
    key = torch.zeros(len(rows), dtype=torch.int64)
    for part in (seeds, steps, rows):
        key = _hash(key ^ torch.tensor([value & 0xFFFFFFFF for value in part], dtype=torch.int64))
    return key


def kept_channels(keys: Tensor, positions: Tensor, channels: int, rates: Tensor) -> Tensor:
    """Which numbers stay, bool, ``(N, L, channels)``, for rows' keys ``(N,)`` and places ``(N, L)``."""
    of_token = _hash(keys[:, None] ^ (positions * GOLDEN & 0xFFFFFFFF))
    of_channel = torch.arange(channels, device=keys.device) * GOLDEN & 0xFFFFFFFF
    threshold = (rates.double() * 2**32).long()
    return _hash(of_token[..., None] ^ of_channel) >= threshold[:, None, None]


def _hash(x: Tensor) -> Tensor:
    """The 32-bit mixer lowbias32 (Wellons, 2018, https://nullprogram.com/blog/2018/07/31/), in int64 without sign."""
    x = (x ^ (x >> 16)) * 0x7FEB352D & 0xFFFFFFFF
    x = (x ^ (x >> 15)) * 0x846CA68B & 0xFFFFFFFF
    return x ^ (x >> 16)
