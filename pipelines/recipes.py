"""What to train with when the user does not say: the published settings, and what works on an encoder.

Rates of the prompt are given in units of the backbone's embedding RMS, because rows of different backbones differ in
size by a factor of 100. For T5 the published α1 of 0.3 is about 0.055 of its RMS, and the same ratio gives the 1e-3
that suits prompts of vocabulary rows on Llama-like models.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.architecture import FamilyName
from pipelines.backbone import BackboneInfo
from pipelines.errors import PipelineError
from pipelines.methods.dept import BUDGET, Scaling, rank_for_budget


@dataclass(frozen=True)
class Recipe:
    """Settings for one family.

    Attributes:
        alpha1: Rate of the prompt over the embedding RMS, for texts that come in pairs.
        alpha1_single: The same for single texts.
        alpha2: Rate of A and B, absolute.
        head_lr: Rate of an encoder's head.
        m: Prompt rows.
        r: Rank; None to derive it from the budget of a plain prompt of 100 rows.
        scaling: How γ follows from r.
    """

    alpha1: float
    alpha1_single: float
    alpha2: float
    head_lr: float
    m: int
    r: int | None
    scaling: Scaling


PUBLISHED = Recipe(alpha1=0.055, alpha1_single=0.055, alpha2=5e-4, head_lr=0.0, m=40, r=None, scaling="released")
ENCODER = Recipe(alpha1=0.9, alpha1_single=0.54, alpha2=1e-3, head_lr=2e-3, m=20, r=16, scaling="paper")

RECIPES: dict[FamilyName, Recipe] = {"encoder": ENCODER, "encoder-decoder": PUBLISHED, "decoder": PUBLISHED}


@dataclass(frozen=True)
class Shape:
    """Sizes of a prompt: m rows, rank r, s text positions."""

    m: int
    r: int
    s: int


def longest_text(info: BackboneInfo, wanted: int, m: int | None, word: int = 0) -> int:
    """s: as many tokens as wanted, or what a prompt of m rows leaves of the backbone's positions.

    Args:
        info: The backbone.
        wanted: Tokens the task asks for.
        m: Prompt rows; None for the recipe's.
        word: Tokens of the longest label word; they share a decoder's positions with the text.
    """
    limit = info.architecture.position_limit
    if limit is None:
        return wanted
    taken = (RECIPES[info.family].m if m is None else m) + (word if info.family == "decoder" else 0)
    return min(wanted, max(1, limit - taken))


def choose_shape(info: BackboneInfo, *, s: int, m: int | None, r: int | None, budget: int | None) -> Shape:
    """(m, r, s) from what the user gave, the budget, and the recipe, in this order.

    Raises:
        PipelineError: If they contradict each other, are over the budget, or do not fit the backbone.
    """
    recipe = RECIPES[info.family]
    if budget is not None and r is not None:
        raise PipelineError(f"--budget {budget} derives r from m: give --m and leave --r {r} out, or drop --budget")
    m = recipe.m if m is None else m
    if m < 0 or (r is not None and r < 0):
        raise PipelineError(f"m and r must not be negative, got m={m}, r={r}")
    r = recipe.r if r is None and budget is None else r
    if r is None:
        try:
            r = rank_for_budget(BUDGET if budget is None else budget, m, s, info.d)
        except ValueError as error:
            raise PipelineError(f"{error}: lower --m or raise --budget") from error
    if m + r == 0:
        raise PipelineError("m = 0 and r = 0 leave nothing to train: give --m or --r")
    info.check_length(m, s)
    return Shape(m, r, s)
