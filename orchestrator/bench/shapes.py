"""Backbones, texts and slots to measure speed on: the shapes of real ones, with random weights and tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as t

from pipelines.architecture import architecture_of
from pipelines.backbone import Backbone, BackboneInfo
from pipelines.encode import Encoded
from pipelines.locate import locate
from pipelines.methods.dept import BUDGET, rank_for_budget
from pipelines.slot import Slot
from pipelines.synthetic import synthetic_rows, synthetic_slot

LONGEST = 256
SHAPES: Mapping[str, Callable[[], Any]] = {
    "t5-small": lambda: t.T5Config(decoder_start_token_id=0),
    "t5-base": lambda: t.T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12, decoder_start_token_id=0),
    "llama-1b": lambda: t.LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8
    ),
}
CLASSES = {"encoder": t.AutoModel, "encoder-decoder": t.AutoModelForSeq2SeqLM, "decoder": t.AutoModelForCausalLM}


@dataclass(frozen=True)
class Sizes:
    """What is trained on a backbone: (m, r) of DePT, s, and the rows of a plain prompt of about as many parameters."""

    m: int
    r: int
    s: int
    plain: int

    @classmethod
    def of(cls, info: BackboneInfo) -> Sizes:
        """The usual sizes, as far as the backbone has positions for them."""
        limit = info.architecture.position_limit or 2 * LONGEST
        s = min(LONGEST, limit // 2)
        m, plain = min(20 if info.family == "encoder" else 40, limit // 4), min(BUDGET, limit // 4)
        return cls(m, 16 if info.family == "encoder" else rank_for_budget(BUDGET, m, s, info.d), s, plain)


def load(name: str, dtype: torch.dtype, attention: str, device: torch.device) -> Backbone:
    """A backbone of a shape named in `SHAPES`, or of any backbone's own, in this type; weights are random.

    Raises:
        PipelineError: If there is no such backbone.
    """
    torch.manual_seed(0)
    config = SHAPES[name]() if name in SHAPES else t.AutoConfig.from_pretrained(locate(name))
    architecture = architecture_of(config)
    with torch.device(device):
        model = CLASSES[architecture.family].from_config(config, dtype=dtype, attn_implementation=attention)
    model.requires_grad_(False).eval()
    weight = model.get_input_embeddings().weight
    rms = float(weight[:1000].float().pow(2).mean().sqrt())
    return Backbone(BackboneInfo(name, Path(), architecture, weight.shape[1], rms, "", ""), model)


def texts(rows: int, mean: int, seed: int, backbone: Backbone, s: int) -> Encoded:
    """Token ids of texts whose lengths spread around a mean as real ones do, of 4 to s tokens."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.gamma(4.0, mean / 4.0, rows).round().astype(int), 4, s)
    return synthetic_rows(lengths.tolist(), seed, backbone.vocabulary.shape[0])


def slot(backbone: Backbone, rows: Encoded, batch: int, seed: int, m: int, r: int, s: int) -> Slot:
    """A configuration on these rows that never ends."""
    return synthetic_slot(backbone, rows, m=m, r=r, s=s, batch=batch, seed=seed)
