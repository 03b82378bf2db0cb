"""Rows and slots that mean nothing, for measuring: speed and memory hang on sizes alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pipelines.backbone import Backbone
from pipelines.encode import Encoded
from pipelines.gold import Gold
from pipelines.heads import initial_head
from pipelines.slot import Slot
from pipelines.spec import SlotData, SlotSpec

FIRST_WORD, LAST_WORD = 10, 1000
"""Token ids are drawn between these, as far as the vocabulary goes."""


def synthetic_rows(lengths: Sequence[int], seed: int, vocabulary: int = LAST_WORD) -> Encoded:
    """Single texts of these lengths in tokens, of two classes, drawn by the seed."""
    rng = np.random.default_rng(seed)
    tokens = int(np.sum(lengths))
    return Encoded(
        ids=rng.integers(min(FIRST_WORD, vocabulary - 1), vocabulary, tokens).astype(np.int32),
        segments=np.ones(tokens, np.uint8),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        gold=Gold.of_classes(rng.integers(0, 2, len(lengths))),
        truncated=0,
    )


def synthetic_slot(
    backbone: Backbone, rows: Encoded, *, m: int, r: int, s: int, batch: int, seed: int = 0, rate: float = 1e-3
) -> Slot:
    """A configuration on such rows, never evaluated, whose update is not zero."""
    generator = torch.Generator().manual_seed(seed)
    d, family = backbone.info.d, backbone.info.family
    tensors = {
        "prompt": torch.randn(m, d, generator=generator) * backbone.info.embedding_rms,
        "A": torch.randn(s, r, generator=generator),
        "B": torch.randn(r, d, generator=generator) * backbone.info.embedding_rms / 10,
    }
    if family == "encoder":
        tensors |= {f"head.{name}": value for name, value in initial_head(d, 1, 2, generator).items()}
    spec = SlotSpec(
        key=str(seed), config=seed, task="synthetic", data="synthetic", start="scratch", m=m, r=r, s=s, gamma=1.0,
        alpha1=rate, alpha2=rate, head_lr=rate, steps=10**6, batch=batch, eval_every=10**6, seed=seed,
    )  # fmt: skip
    words = () if family == "encoder" else ((17,), (23,))
    data = SlotData(train=rows, dev=rows, labels=("a", "b"), metrics=("accuracy",), segments=1, words=words)
    return Slot(spec, data, tensors, backbone.device)
