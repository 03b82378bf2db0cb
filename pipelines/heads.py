"""The classification head of an encoder: part of the artifact, trained with the prompt.

Sequence-classification heads of BERT-like models pool position 0, which is a prompt row once a prompt stands in
front. This one reads the text itself: each segment's tokens are averaged to u and v, normalised to length √d, and
[u, v, |u−v|, u∘v] (for a single text, u alone) goes through Linear(256), GELU and Linear(classes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

HEAD = "segments-mlp"
HIDDEN = 256

Head = Mapping[str, Tensor]


def initial_head(d: int, segments: int, classes: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Fresh weights, as `torch.nn.Linear` draws them."""
    features = d if segments == 1 else 4 * d
    return {
        **_linear("hidden", features, HIDDEN, generator),
        **_linear("output", HIDDEN, classes, generator),
    }


def _linear(name: str, inputs: int, outputs: int, generator: torch.Generator) -> dict[str, Tensor]:
    bound = 1 / math.sqrt(inputs)
    return {
        f"{name}.weight": torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator),
        f"{name}.bias": torch.empty(outputs).uniform_(-bound, bound, generator=generator),
    }


def pool(hidden: Tensor, segments: Tensor) -> Tensor:
    """Mean of each segment's tokens, normalised to length √d.

    Args:
        hidden: The encoder's last hidden states over the text, ``(N, L, d)``.
        segments: 1 or 2 for tokens of the first or second text, else 0, ``(N, L)``.

    Returns:
        Shape ``(N, 2, d)``; a segment without tokens gives zeros.
    """
    inside = torch.stack([segments == 1, segments == 2], 1).to(hidden.dtype)
    mean = inside @ hidden / inside.sum(-1, keepdim=True).clamp_min(1)
    return F.normalize(mean, dim=-1) * math.sqrt(hidden.shape[-1])


def logits(head: Head, pooled: Tensor) -> Tensor:
    """Class scores ``(N, classes)`` for pooled segments ``(N, 2, d)``."""
    u, v = pooled.unbind(1)
    single = head["hidden.weight"].shape[1] == u.shape[1]
    features = u if single else torch.cat([u, v, (u - v).abs(), u * v], -1)
    hidden = F.gelu(F.linear(features, head["hidden.weight"], head["hidden.bias"]))
    return F.linear(hidden, head["output.weight"], head["output.bias"])
