"""Tiny models with DePT adapters, and what they should compute, one row at a time and without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from torch import Tensor

from pipelines.peft_dept import DeptConfig
from tests.pipelines.tiny import KINDS, PAD, SPECIAL, V, build_model

TASK_TYPES = {"encoder": "FEATURE_EXTRACTION", "encoder-decoder": "SEQ_2_SEQ_LM", "decoder": "CAUSAL_LM"}
SIZES = {"m": 3, "r": 2, "s": 20}
START = torch.tensor([[5, 6]])
"""What the decoder of an encoder-decoder is given, for every row."""


def adapted(kind: str, *, dtype: torch.dtype = torch.float64, **changes: Any) -> PeftModel:
    """A tiny model with one adapter, "default", whose factors are all random."""
    config = DeptConfig(**{**SIZES, "task_type": TASK_TYPES[KINDS[kind]], **changes})
    model = get_peft_model(build_model(kind).to(dtype), config)
    randomise(model, "default", 0)
    return model.eval()


def randomise(model: PeftModel, adapter: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in ("dept_prompt", "dept_A", "dept_B"):
            parameter = getattr(layer_of(model), name)[adapter]
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))


def layer_of(model: PeftModel) -> Any:
    return model.base_model.layer


def texts(lengths: Sequence[int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(len(SPECIAL), V, (length,), generator=generator) for length in lengths]


def batch(rows: Sequence[Tensor], side: str = "right") -> dict[str, Tensor]:
    """Input ids and attention mask, ``(N, L)``."""
    L = max(len(row) for row in rows)
    ids, mask = torch.full((len(rows), L), PAD), torch.zeros(len(rows), L, dtype=torch.long)
    for n, row in enumerate(rows):
        own = slice(0, len(row)) if side == "right" else slice(L - len(row), L)
        ids[n, own], mask[n, own] = row, 1
    return {"input_ids": ids, "attention_mask": mask}


def decoder_inputs(kind: str, rows: int) -> dict[str, Tensor]:
    return {"decoder_input_ids": START.repeat(rows, 1)} if KINDS[kind] == "encoder-decoder" else {}


def read(model: PeftModel, kind: str, inputs: dict[str, Tensor], **kwargs: Any) -> Tensor:
    """Hidden states of an encoder, logits of the others."""
    output = model(**inputs, **decoder_inputs(kind, len(inputs["input_ids"])), **kwargs)
    return output.last_hidden_state if KINDS[kind] == "encoder" else output.logits


def naive_embeddings(model: PeftModel, ids: Tensor, text: int, adapter: str = "default") -> Tensor:
    """[P_s ; W(x) + γ·A·B] of one row, number by number; only the first `text` tokens get the update."""
    layer = layer_of(model)
    P, A, B = (getattr(layer, name)[adapter].detach() for name in ("dept_prompt", "dept_A", "dept_B"))
    words = layer.base_layer(ids).detach().clone()
    for i in range(min(text, len(ids), len(A))):
        for k in range(A.shape[1]):
            words[i] += layer.gamma[adapter] * A[i, k] * B[k]
    return torch.cat([P, words])


@contextmanager
def without_dept(model: PeftModel) -> Iterator[None]:
    """The backbone with whatever other tuners it has."""
    layer_of(model)._disable_adapters = True
    try:
        yield
    finally:
        layer_of(model)._disable_adapters = False


@torch.no_grad()
def naive_read(model: PeftModel, kind: str, ids: Tensor, text: int | None = None, adapter: str = "default") -> Tensor:
    """What the backbone without adapters makes of one row's embeddings, the prompt's places cut off."""
    embeddings = naive_embeddings(model, ids, len(ids) if text is None else text, adapter)[None]
    with without_dept(model):
        output = model.get_base_model()(inputs_embeds=embeddings, **decoder_inputs(kind, 1))
    m = len(layer_of(model).dept_prompt[adapter])
    return {"encoder": lambda: output.last_hidden_state[0, m:], "decoder": lambda: output.logits[0, m:]}.get(
        KINDS[kind], lambda: output.logits[0]
    )()
