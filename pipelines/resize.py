"""Making a stored prompt fit other sizes (m, r, s) and other labels, keeping as much of it as the new sizes can hold.

Everything is computed in float64 and returned in the dtype that came in; inputs are never changed or shared.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


@torch.no_grad()
def resize_factors(
    prompt: Tensor,
    A: Tensor,
    B: Tensor,
    gamma: float,
    *,
    m: int,
    r: int,
    s: int,
    new_gamma: float,
    fresh_prompt_rows: Tensor | None,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """The prompt (m, d) and factors A (s, r), B (r, d) nearest to those given, for gamma = `new_gamma`.

    - Prompt rows: the first m are kept; missing ones are taken from `fresh_prompt_rows`, in order.
    - Rows of A: the first s are kept; missing ones are zero, so new positions start without a delta.
    - Rank: the same or a larger r leaves gamma·A·B unchanged; a smaller one gives its best rank-r approximation in the
      Frobenius norm, by SVD (of the kept rows: s is cut first).
    - A and B keep the ratio of their norms (Frobenius, over the kept rows), because AdamW's steps do not grow with the
      factors: a learning rate that suited both goes on to suit both. Hence gamma / new_gamma is split evenly too.
    - A rank that carries nothing (one that is new, or beyond the product's own rank) starts as DePT starts from
      scratch, with A uniform in ±1/sqrt(r) and B zero: a pair of zeros would never get a gradient.

    Args:
        prompt: (m0, d); m0 = 0 is allowed.
        A: (s0, r0); r0 = 0 is allowed.
        B: (r0, d).
        gamma: the factor that A·B was trained with.
        m, r, s: the sizes wanted.
        new_gamma: the factor that the result will be used with.
        fresh_prompt_rows: (at least m - m0, d), such as rows of the vocabulary; needed only when m > m0.
        generator: for the fresh columns of A.

    Raises:
        ValueError: shapes do not fit each other, a size is negative, rows to fill the prompt are missing, or
            `new_gamma` is 0 or not finite while there is a product to keep.
    """
    _check_shapes(prompt, A, B, m=m, r=r, s=s)
    new_prompt = _resize_prompt(prompt, m, fresh_prompt_rows)
    a = torch.zeros(s, A.shape[1], dtype=torch.float64, device=A.device)
    a[: A.shape[0]] = A[:s]
    b = B.to(torch.float64)
    if r == 0 or A.shape[1] == 0 or gamma == 0:
        b = torch.zeros_like(b)
    elif new_gamma == 0 or not math.isfinite(new_gamma) or not math.isfinite(gamma / new_gamma):
        raise ValueError(f"gamma={gamma} cannot become new_gamma={new_gamma}: both must be finite, the new one not 0")
    else:
        ratio = gamma / new_gamma
        scale = math.sqrt(abs(ratio))
        a, b = a * scale, b * math.copysign(scale, ratio)
    if r < a.shape[1]:
        a, b = _best_approximation(a, b, r)
    new_a = _uniform((s, r), r, generator).to(A.device)
    new_b = torch.zeros(r, B.shape[1], dtype=torch.float64, device=B.device)
    new_a[:, : a.shape[1]], new_b[: b.shape[0]] = a, b
    return new_prompt, new_a.to(A.dtype), new_b.to(B.dtype)


def _check_shapes(prompt: Tensor, A: Tensor, B: Tensor, *, m: int, r: int, s: int) -> None:
    shapes = f"prompt {tuple(prompt.shape)}, A {tuple(A.shape)}, B {tuple(B.shape)}"
    if not (prompt.ndim == A.ndim == B.ndim == 2):
        raise ValueError(f"prompt (m, d), A (s, r) and B (r, d) must be matrices, got {shapes}")
    if A.shape[1] != B.shape[0] or prompt.shape[1] != B.shape[1]:
        raise ValueError(f"prompt (m, d), A (s, r) and B (r, d) must agree in r and d, got {shapes}")
    if min(m, r, s) < 0:
        raise ValueError(f"m, r and s must be at least 0, got m={m}, r={r}, s={s}")


def _resize_prompt(prompt: Tensor, m: int, fresh: Tensor | None) -> Tensor:
    missing = m - prompt.shape[0]
    if missing <= 0:
        return prompt[:m].clone()
    if fresh is None or fresh.ndim != 2 or fresh.shape[0] < missing or fresh.shape[1] != prompt.shape[1]:
        got = "none" if fresh is None else f"shape {tuple(fresh.shape)}"
        raise ValueError(
            f"a prompt of shape {tuple(prompt.shape)} needs {missing} fresh rows of width {prompt.shape[1]} to get "
            f"m={m}, got {got}"
        )
    return torch.cat([prompt, fresh[:missing].to(prompt)])


def _best_approximation(a: Tensor, b: Tensor, r: int) -> tuple[Tensor, Tensor]:
    """Factors (s, q) and (q, d), q <= r, of the best rank-r approximation of a·b; q is its numerical rank."""
    q_a, r_a = torch.linalg.qr(a)
    q_b, r_b = torch.linalg.qr(b.T)
    u, sigma, v_t = torch.linalg.svd(r_a @ r_b.T, full_matrices=False)  # at most (r0, r0)
    if sigma.numel() == 0 or sigma[0] == 0:
        return a[:, :r], b[:r]  # the product is zero: there is nothing to rotate
    tolerance = sigma[0] * max(a.shape[0], b.shape[1]) * torch.finfo(torch.float64).eps
    rank = min(r, int((sigma > tolerance).sum()))
    root = sigma[:rank].sqrt()
    tilt = float((torch.linalg.norm(a) / torch.linalg.norm(b)).sqrt())
    return q_a @ u[:, :rank] * root * tilt, root[:, None] * (v_t[:rank] @ q_b.T) / tilt


def _uniform(shape: tuple[int, ...], fan: int, generator: torch.Generator) -> Tensor:
    """Float64 draws from ±1/sqrt(fan), on the generator's device."""
    bound = 1 / math.sqrt(max(fan, 1))
    draws = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
    return (2 * draws - 1) * bound


@torch.no_grad()
def remap_output_rows(
    weight: Tensor,
    bias: Tensor,
    mapping: Mapping[int, int],
    n_target: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """The output layer of a head for a target's labels: matched rows copied, the others fresh.

    A fresh row starts as nn.Linear starts, uniform in ±1/sqrt(width), and its bias too: its logit is near 0 beside the
    trained rows', so a label nobody has seen yet is neither favoured nor ruled out.

    Args:
        weight: (n_source, width).
        bias: (n_source,).
        mapping: target row -> source row, as `tasks.label_map` gives it.
        n_target: rows wanted.
        generator: for the fresh rows.

    Returns:
        weight (n_target, width) and bias (n_target,).

    Raises:
        ValueError: shapes do not fit, or the mapping points outside them.
    """
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        got = f"weight {tuple(weight.shape)}, bias {tuple(bias.shape)}"
        raise ValueError(f"weight must be (labels, width) and bias (labels,), got {got}")
    outside = {t: i for t, i in mapping.items() if not (0 <= t < n_target and 0 <= i < weight.shape[0])}
    if outside:
        raise ValueError(f"the mapping {outside} points outside {n_target} target and {weight.shape[0]} source rows")
    width = weight.shape[1]
    new_weight = _uniform((n_target, width), width, generator).to(weight)
    new_bias = _uniform((n_target,), width, generator).to(bias)
    for target, source in mapping.items():
        new_weight[target] = weight[source]
        new_bias[target] = bias[source]
    return new_weight, new_bias
