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

BUDGET = 100
"""Rows of the plain prompt whose parameters the published settings match: 76,800 numbers for d = 768."""


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

    @property
    def r(self) -> int:
        """Rank of the update."""
        return self.A.shape[1]

    @property
    def s(self) -> int:
        """Text positions that have an update."""
        return self.A.shape[0]


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
    prompt = vocabulary_rows(m, vocabulary, generator).to("cpu", torch.float32).clone()
    A, B = initial_A(s, r, generator=generator, gaussian=gaussian), torch.zeros(r, vocabulary.shape[1])
    return Factors(prompt, A, B, gamma)


def vocabulary_rows(m: int, vocabulary: Tensor, generator: torch.Generator) -> Tensor:
    """m rows of the word embeddings ``(V, d)``, drawn without replacement.

    Raises:
        ValueError: If there are fewer.
    """
    V = vocabulary.shape[0]
    if m > V:
        raise ValueError(f"m={m} prompt rows cannot be drawn from a vocabulary of {V} rows: lower m")
    return vocabulary[torch.randperm(V, generator=generator)[:m].to(vocabulary.device)]


def initial_A(s: int, r: int, *, generator: torch.Generator, gaussian: bool = False) -> Tensor:  # noqa: N802
    """A fresh A, float32, ``(s, r)``: uniform in ±1/√r as released, or from N(0, 1) as the paper has it."""
    A = torch.empty(s, r)
    if gaussian:
        A.normal_(generator=generator)
    elif r:
        A.uniform_(-1 / math.sqrt(r), 1 / math.sqrt(r), generator=generator)
    return A


@dataclass(frozen=True)
class Stacked:
    """Factors of K slots laid out for batches whose rows may belong to any of them; see `stack`.

    Attributes:
        prompts: Shape ``(K, M, d)`` with M the longest prompt; shorter ones are padded on the left.
        updates: Shape ``(1 + S_1 + ... + S_K, d)``: a zero row, then γ·A·B of one slot after another.
        m: Prompt rows of each slot, int64, shape ``(K,)``.
        first: Where each slot's updates begin, less one: row ``first[k] + i`` is slot k's i-th, counted from 1.
        length: Rows of each slot's update, int64, shape ``(K,)``.
    """

    prompts: Tensor
    updates: Tensor
    m: Tensor
    first: Tensor
    length: Tensor


def update_of(factors: Factors, used: int | None = None) -> Tensor:
    """γ·A·B, ``(s, d)``: its first rows if a batch's longest text has but ``used`` tokens."""
    return factors.gamma * (factors.A[:used] @ factors.B)


def stack(prompts: Sequence[Tensor], updates: Sequence[Tensor]) -> Stacked:
    """Lay the prompts ``(m, d)`` and updates ``(s, d)`` of several slots side by side; m and s may differ."""
    device, d = updates[0].device, updates[0].shape[1]
    lengths = [update.shape[0] for update in updates]
    M = max(prompt.shape[0] for prompt in prompts)
    return Stacked(
        prompts=torch.stack([F.pad(prompt, (0, 0, M - prompt.shape[0], 0)) for prompt in prompts]),
        updates=torch.cat([updates[0].new_zeros(1, d), *updates]),
        m=torch.tensor([prompt.shape[0] for prompt in prompts], device=device),
        first=torch.tensor([sum(lengths[:k]) for k in range(len(lengths))], device=device),
        length=torch.tensor(lengths, device=device),
    )


def text_order(mask: Tensor, text: Tensor | None = None) -> Tensor:
    """Which row of A·B each token gets, counted from 1; 0 for tokens that get none.

    Args:
        mask: Real tokens, bool, shape ``(N, L)``; padding may stand on either side.
        text: Tokens that get the update, bool, shape ``(N, L)``; all real ones if None. A decoder's label tokens
            are real but not text.

    Returns:
        int64, shape ``(N, L)``.
    """
    updated = mask if text is None else mask & text
    return torch.where(updated, updated.long().cumsum(1), 0)


def add_updates(tokens: Tensor, order: Tensor, stacked: Stacked, slot_of_row: Tensor) -> Tensor:
    """``W(x) + γ·A·B``: word embeddings ``(N, L, d)`` with each token's update, by its order in the text.

    Text beyond a slot's s gets none. See `text_order` for ``order`` and `input_embeddings` for the rest.
    """
    has_update = (order > 0) & (order <= stacked.length[slot_of_row, None])
    index = torch.where(has_update, stacked.first[slot_of_row, None] + order, 0)
    return tokens + F.embedding(index, stacked.updates)


def prompt_mask(stacked: Stacked, slot_of_row: Tensor) -> Tensor:
    """Where each row has a prompt, bool, shape ``(N, M)``; shorter prompts are padded on the left."""
    M = stacked.prompts.shape[1]
    return torch.arange(M, device=slot_of_row.device) >= (M - stacked.m[slot_of_row])[:, None]


def count_positions(mask: Tensor) -> Tensor:
    """Positions from 0 over the real tokens of each row, int64; padding stands at 0."""
    return torch.where(mask, mask.long().cumsum(1) - 1, 0)


def prepend_prompts(embedded: Tensor, mask: Tensor, stacked: Stacked, slot_of_row: Tensor) -> Inputs:
    """``[P_s ; ...]``: each row's prompt in front of its embeddings ``(N, L, d)`` with their mask ``(N, L)``."""
    K, M, d = stacked.prompts.shape
    rows = F.embedding(slot_of_row, stacked.prompts.reshape(K, M * d)).view(len(slot_of_row), M, d)
    full = torch.cat([prompt_mask(stacked, slot_of_row), mask], 1)
    return Inputs(torch.cat([rows, embedded], 1), full, count_positions(full), M)


def input_embeddings(
    tokens: Tensor, mask: Tensor, factors: Sequence[Factors], slot_of_row: Tensor, text: Tensor | None = None
) -> Inputs:
    """Prompt and update for a batch whose rows may belong to different slots.

    Args:
        tokens: Word embeddings, shape ``(N, L, d)``.
        mask: Real tokens, bool, shape ``(N, L)``; padding may stand on either side.
        factors: One per slot; m, r and s may differ.
        slot_of_row: Index into ``factors`` for each row, int64, shape ``(N,)``.
        text: Tokens that get the update, bool, shape ``(N, L)``; all real ones if None.

    Returns:
        Embeddings in the factors' dtype, with their mask and positions.
    """
    order = text_order(mask, text)
    used = int(order.max()) if order.numel() else 0
    stacked = stack([f.prompt for f in factors], [update_of(f, used) for f in factors])
    return prepend_prompts(add_updates(tokens, order, stacked, slot_of_row), mask, stacked, slot_of_row)
