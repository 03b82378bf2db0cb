"""The configuration of a DePT adapter."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from peft import PeftConfig
from torch import Tensor

from pipelines.methods.dept import BUDGET, Factors, Scaling, rank_for_budget, scale

DEPT = "DEPT"

PromptInit = Literal["vocabulary", "text", "normal", "given", "stored"]
AInit = Literal["uniform", "gaussian"]


@dataclass
class DeptConfig(PeftConfig):  # type: ignore[misc]
    """Decomposed Prompt Tuning (Shi & Lipani, ICLR 2024, https://arxiv.org/abs/2309.05173).

    The backbone is given ``[P_s ; W(x) + γ·A[:L]·B]``: m trained prompt rows, then the text's frozen word embeddings
    with a trained low-rank update by position. With d the width of a word embedding, ``m·d + (s + d)·r`` numbers are
    trained. ``r=0`` is plain prompt tuning, ``m=0`` the update alone.

    Args:
        m: Prompt rows: ``P_s`` is ``(m, d)``.
        r: Rank: A is ``(s, r)`` and B ``(r, d)``. None takes what the parameters of a plain prompt of 100 rows leave:
            45 for m=40, s=256, d=768, as published.
        s: Text positions that get an update. Longer texts are read whole, the rest without update.
        scaling: How γ follows from r: ``released``, 8/√r, or ``paper``, 1. Published learning rates go with the first.
        gamma: γ itself, in place of the rule.
        prompt_init: ``vocabulary`` draws rows of the word embeddings; ``text`` repeats those of ``prompt_init_text``;
            ``normal`` draws from N(0, σ²) with σ the root mean square of the word embeddings; ``given`` takes the
            tensor of that name. ``stored`` is what the file of an adapter made by ``given`` says: zeros, until its
            tensors are loaded.
        prompt_init_text: Text for ``prompt_init="text"``, as the release starts: one text whatever the task.
        tokenizer_name_or_path: Its tokenizer; the backbone's own if None.
        prompt_init_ids: The text's token ids; filled in, so that a stored adapter never asks for the tokenizer again.
        a_init: ``uniform`` in ±1/√r as released or ``gaussian``, N(0, 1), as published. B starts at zero.
        given: For ``prompt_init="given"``: ``P_s`` ``(m, d)``, or all of the factors; m, or all of m, r, s and γ, are
            then theirs. Not stored with the config.

    Raises:
        ValueError: If a size is negative, m and r are both 0, or the initialisation lacks what it needs.
    """

    m: int = 40
    r: int | None = None
    s: int = 256
    scaling: Scaling = "released"
    gamma: float | None = None
    prompt_init: PromptInit = "vocabulary"
    prompt_init_text: str | None = None
    tokenizer_name_or_path: str | None = None
    prompt_init_ids: list[int] | None = None
    a_init: AInit = "uniform"
    modules_to_save: list[str] | None = None
    target_modules: list[str] | None = field(default=None, metadata={"help": "Found by the tuner; leave it out."})
    given: Tensor | Factors | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = DEPT
        if isinstance(self.given, Factors):
            self.m, self.r, self.s, self.gamma = self.given.m, self.given.r, self.given.s, self.given.gamma
        elif self.given is not None:
            self.m = self.given.shape[0]
        for name, kind, allowed in (
            ("scaling", self.scaling, get_args(Scaling)),
            ("prompt_init", self.prompt_init, get_args(PromptInit)),
            ("a_init", self.a_init, get_args(AInit)),
        ):
            if kind not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {kind!r}")
        for name in ("m", "r", "s"):
            size = getattr(self, name)
            if size is not None and (not isinstance(size, int) or size < 0):
                raise ValueError(f"{name} must be a whole number of at least 0, got {size!r}")
        if self.m == 0 and self.r == 0:
            raise ValueError("m = 0 and r = 0 leave nothing to train: give m or r")
        if self.gamma is not None and not math.isfinite(self.gamma):
            raise ValueError(f"gamma must be finite, got {self.gamma}")
        if self.prompt_init == "text" and not (self.prompt_init_text or self.prompt_init_ids):
            raise ValueError("prompt_init='text' needs prompt_init_text")
        if (self.prompt_init == "given") != (self.given is not None):
            raise ValueError(f"given and prompt_init='given' go together, got prompt_init={self.prompt_init!r}")

    def rank(self, d: int) -> int:
        """r, or what the budget leaves of it on word embeddings of width d."""
        return rank_for_budget(BUDGET, self.m, self.s, d) if self.r is None else self.r

    def scale(self, r: int) -> float:
        """γ for rank r."""
        return scale(r, self.scaling) if self.gamma is None else self.gamma

    def to_dict(self) -> dict[str, Any]:
        """As it is stored, without tensors."""
        given, self.given = self.given, None  # the base class copies deeply
        try:
            values: dict[str, Any] = super().to_dict()
        finally:
            self.given = given
        del values["given"], values["target_modules"]
        if self.prompt_init == "given":
            values["prompt_init"] = "stored"
        return values
