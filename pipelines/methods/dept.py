"""DePT's arithmetic, once: from token embeddings to input embeddings, for one slot or for many.

Decomposed Prompt Tuning (Shi & Lipani, ICLR 2024, https://arxiv.org/abs/2309.05173) puts a short soft prompt in front
of the text and adds a low-rank update to the text's frozen word embeddings::

    [P_s ; W(x) + γ·A[:L]·B]        P_s (m, d)   A (s, r)   B (r, d)

Row ``i`` of ``A·B`` belongs to the ``i``-th *real* text token, counted over the mask, so neither the padding side nor
the batch's length changes a number. Prompt rows and label tokens get no update. ``r = 0`` is plain prompt tuning and
``m = 0`` the update alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Scaling = Literal["released", "paper"]


@dataclass(frozen=True)
class Factors:
    """What one slot learned, or is learning.

    Attributes:
        prompt: ``P_s``, shape ``(m, d)``.
        A: Shape ``(s, r)``: one row per text position.
        B: Shape ``(r, d)``.
        gamma: The scale of ``A·B``; see `scale`.
    """

    prompt: Tensor
    A: Tensor
    B: Tensor
    gamma: float

    def __post_init__(self) -> None:
        (_, d), (_, r) = self.prompt.shape, self.A.shape
        if self.B.shape != (r, d):
            raise ValueError(
                f"B must have shape (r, d) = ({r}, {d}) to go with A {tuple(self.A.shape)} "
                f"and prompt {tuple(self.prompt.shape)}, got {tuple(self.B.shape)}"
            )

    @property
    def m(self) -> int:
        """Prompt rows."""
        return self.prompt.shape[0]


@dataclass(frozen=True)
class Inputs:
    """What the backbone is given, for N rows of prompt length M (the longest in the batch) and text length L.

    Attributes:
        embeddings: Shape ``(N, M + L, d)``.
        mask: Shape ``(N, M + L)``, True where the backbone may look. Shorter prompts are padded on the left.
        positions: Shape ``(N, M + L)``: each row counts its own prompt and text from 0; padding stands at 0.
        prompt_length: M.
    """

    embeddings: Tensor
    mask: Tensor
    positions: Tensor
    prompt_length: int


def scale(r: int, scaling: Scaling = "released") -> float:
    """γ for rank ``r``: 8/√r as the released code has it, or 1 as the paper has it."""
    if scaling == "paper" or r == 0:
        return 1.0
    return 8.0 / math.sqrt(r)


def rank_for_budget(budget: int, m: int, s: int, d: int) -> int:
    """The largest r with ``m·d + (s + d)·r`` at most ``budget·d``: the size of a plain prompt of ``budget`` rows.

    Raises:
        ValueError: If the prompt alone is over the budget.
    """
    if not 0 <= m <= budget:
        raise ValueError(f"m must lie between 0 and the budget of {budget} prompt rows, got m={m}")
    return (budget - m) * d // (s + d)


def parameter_count(m: int, r: int, s: int, d: int) -> int:
    """Trained values in ``P_s``, ``A`` and ``B``."""
    return m * d + (s + d) * r


def initial_factors(
    m: int, r: int, s: int, *, gamma: float, vocabulary: Tensor, generator: torch.Generator, gaussian: bool = False
) -> Factors:
    """Fresh factors: ``P_s`` from the vocabulary's rows, A random, B zero, so that training starts at no update.

    Args:
        m: Prompt rows.
        r: Rank.
        s: Text positions that get an update.
        gamma: The scale of ``A·B``.
        vocabulary: The frozen word embeddings, shape ``(V, d)``; m of its rows are drawn without replacement.
        generator: The source of randomness, on the CPU.
        gaussian: A from N(0, 1) as the paper has it, instead of uniform in ±1/√r as released.

    Raises:
        ValueError: If the vocabulary has fewer than m rows.
    """
    V, d = vocabulary.shape
    if m > V:
        raise ValueError(f"m={m} prompt rows cannot be drawn from a vocabulary of {V} rows: lower m")
    rows = torch.randperm(V, generator=generator)[:m]
    prompt = vocabulary[rows.to(vocabulary.device)].to("cpu", torch.float32)
    A = torch.empty(s, r)
    if gaussian:
        A.normal_(generator=generator)
    elif r:
        A.uniform_(-1 / math.sqrt(r), 1 / math.sqrt(r), generator=generator)
    return Factors(prompt.clone(), A, torch.zeros(r, d), gamma)


def input_embeddings(
    tokens: Tensor, mask: Tensor, factors: Sequence[Factors], slot_of_row: Tensor, text: Tensor | None = None
) -> Inputs:
    """Prompt and update for a batch whose rows may belong to different slots.

    Args:
        tokens: Word embeddings, shape ``(N, L, d)``.
        mask: Real tokens, bool, shape ``(N, L)``; padding may stand on either side.
        factors: One per slot; m, r and s may differ.
        slot_of_row: Index into ``factors`` for each row, int64, shape ``(N,)``.
        text: Tokens that get the update, bool, shape ``(N, L)``; all real ones if None. A decoder's label tokens
            are real but not text.

    Returns:
        Embeddings in the factors' dtype, with their mask and positions. Text beyond a slot's s gets no update.
    """
    d = tokens.shape[-1]
    updated = mask if text is None else mask & text
    order = updated.long().cumsum(1)  # 1 for the first text token: row 0 of the table is the update of none
    used = int(order.max()) if order.numel() else 0
    deltas = [f.gamma * (f.A[:used] @ f.B) for f in factors]
    table = torch.cat([deltas[0].new_zeros(1, d), *deltas])
    lengths = [delta.shape[0] for delta in deltas]
    first = torch.tensor([sum(lengths[:k]) for k in range(len(lengths))], device=tokens.device)
    length = torch.tensor(lengths, device=tokens.device)
    has_update = updated & (order <= length[slot_of_row, None])
    index = torch.where(has_update, first[slot_of_row, None] + order, 0)
    embedded = tokens + F.embedding(index, table)

    M = max(f.m for f in factors)
    prompts = torch.stack([F.pad(f.prompt, (0, 0, M - f.m, 0)) for f in factors])
    rows = F.embedding(slot_of_row, prompts.flatten(1)).view(len(slot_of_row), M, d)
    m = torch.tensor([f.m for f in factors], device=tokens.device)[slot_of_row]
    in_prompt = torch.arange(M, device=tokens.device) >= (M - m)[:, None]
    full = torch.cat([in_prompt, mask], 1)
    positions = torch.where(full, full.long().cumsum(1) - 1, 0)
    return Inputs(torch.cat([rows, embedded], 1), full, positions, M)
