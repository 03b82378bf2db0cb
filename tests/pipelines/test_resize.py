import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipelines.resize import remap_output_rows, resize_factors


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def source(m: int = 3, r: int = 4, s: int = 9, d: int = 7, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    return draw(m, d, seed=seed), draw(s, r, seed=seed + 1), 3 * draw(r, d, seed=seed + 2)


def resize(
    prompt: Tensor, A: Tensor, B: Tensor, gamma: float = 1.3, *, m: int, r: int, s: int, new_gamma: float = 0.7
) -> tuple[Tensor, Tensor, Tensor]:
    fresh = 100 + draw(max(m - len(prompt), 0), prompt.shape[1], seed=9)
    return resize_factors(
        prompt, A, B, gamma, m=m, r=r, s=s, new_gamma=new_gamma, fresh_prompt_rows=fresh, generator=generator(5)
    )


def best_product(product: np.ndarray, r: int) -> np.ndarray:
    """The best rank-r approximation, by NumPy and from the whole matrix."""
    u, sigma, v_t = np.linalg.svd(product, full_matrices=False)
    return np.asarray((u[:, :r] * sigma[:r]) @ v_t[:r])


sizes = st.integers(0, 6)
gammas = st.sampled_from([1.0, 8 / math.sqrt(45), 0.2, -0.5])


@given(sizes, sizes, sizes, st.integers(1, 6), sizes, sizes, sizes, gammas, gammas, st.integers(0, 99))
def test_any_sizes(
    m0: int, r0: int, s0: int, d: int, m: int, r: int, s: int, gamma: float, new_gamma: float, seed: int
) -> None:
    prompt, A, B = source(m0, r0, s0, d, seed)
    new_prompt, new_a, new_b = resize(prompt, A, B, gamma, m=m, r=r, s=s, new_gamma=new_gamma)

    assert (new_prompt.shape, new_a.shape, new_b.shape) == ((m, d), (s, r), (r, d))
    assert torch.equal(new_prompt[:m0], prompt[:m])
    assert bool((new_prompt[m0:] > 50).all())

    kept = min(s0, s)
    product = new_gamma * (new_a @ new_b).numpy()
    wanted = best_product(gamma * (A[:kept] @ B).numpy(), r)
    np.testing.assert_allclose(product[:kept], wanted, atol=1e-12)
    np.testing.assert_allclose(product[kept:], 0, atol=1e-12)

    for j in range(r):  # no rank is dead: AdamW needs one of the two factors to be non-zero
        assert s == 0 or bool(new_a[:, j].any()) or bool(new_b[j].any())


def test_same_sizes_change_nothing() -> None:
    prompt, A, B = source()
    new = resize(prompt, A, B, 1.5, m=3, r=4, s=9, new_gamma=1.5)
    for before, after in zip((prompt, A, B), new, strict=True):
        assert torch.equal(before, after)
        assert before.data_ptr() != after.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_is_kept_and_inputs_are_not_changed(dtype: torch.dtype) -> None:
    tensors = tuple(t.to(dtype).requires_grad_() for t in source())
    before = [t.detach().clone() for t in tensors]
    new = resize(*tensors, m=5, r=2, s=12)
    assert all(t.dtype == dtype and not t.requires_grad for t in new)
    assert all(torch.equal(t, b) for t, b in zip(tensors, before, strict=True))


def test_growing_adds_fresh_columns_and_zero_rows() -> None:
    _, A, B = source()
    _, new_a, new_b = resize(*source(), 2.0, m=3, r=16, s=11, new_gamma=0.5)
    torch.testing.assert_close(new_a[:9, :4], 2 * A)
    torch.testing.assert_close(new_b[:4], 2 * B)
    assert not new_b[4:].any()
    assert not new_a[9:, :4].any()
    fresh = new_a[:, 4:]
    assert fresh.abs().max() <= 1 / math.sqrt(16)
    assert fresh.abs().max() > 0.9 / math.sqrt(16)
    assert len(fresh.unique()) == fresh.numel()


@pytest.mark.parametrize(("r", "new_gamma"), [(4, 0.3), (3, 1.3), (1, 0.3), (9, 0.3)])
def test_ratio_of_the_factors_norms_is_kept(r: int, new_gamma: float) -> None:
    prompt, A, B = source()
    _, new_a, new_b = resize(prompt, A, B, m=3, r=r, s=9, new_gamma=new_gamma)
    torch.testing.assert_close(new_a[:, :4].norm() / new_b.norm(), A.norm() / B.norm())


def test_rank_deficient_product_gets_fresh_columns() -> None:
    """A source that itself had grown: its last ranks carry nothing, and must not come back as zeros."""
    prompt, A, B = resize(*source(r=2), m=3, r=8, s=9)
    _, new_a, new_b = resize(prompt, A, B, 0.7, m=3, r=5, s=9, new_gamma=0.9)
    torch.testing.assert_close(0.9 * new_a @ new_b, 0.7 * A @ B)
    assert not new_b[2:].any()
    assert bool((new_a[:, 2:].abs().amax(0) > 0.1).all())


def test_untrained_factors_stay_untrained() -> None:
    prompt, A, B = source()
    _, new_a, new_b = resize(prompt, A, torch.zeros_like(B), 1.0, m=3, r=2, s=9, new_gamma=1.0)
    assert torch.equal(new_a, A[:, :2])
    assert not new_b.any()


def test_same_seed_same_numbers() -> None:
    first, second = (resize(*source(), m=4, r=6, s=10) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"m": 5}, r"\(3, 7\) needs 2 fresh rows of width 7 to get m=5, got none"),
        ({"m": 5, "fresh_prompt_rows": draw(1, 7)}, r"got shape \(1, 7\)"),
        ({"m": 5, "fresh_prompt_rows": draw(2, 6)}, r"got shape \(2, 6\)"),
        ({"r": -1}, "r=-1"),
        ({"new_gamma": 0.0}, r"new_gamma=0\.0"),
        ({"new_gamma": math.nan}, "new_gamma=nan"),
        ({"new_gamma": math.inf}, "new_gamma=inf"),
        ({"gamma": math.inf}, "gamma=inf"),
        ({"A": draw(9, 3)}, r"A \(9, 3\)"),
        ({"B": draw(4, 6)}, r"B \(4, 6\)"),
        ({"prompt": draw(7)}, r"prompt \(7,\)"),
    ],
)
def test_refused(changes: dict[str, object], message: str) -> None:
    prompt, A, B = source()
    arguments: dict[str, object] = {"prompt": prompt, "A": A, "B": B, "gamma": 1.0, "m": 3, "r": 2, "s": 9}
    arguments |= {"new_gamma": 1.0, "fresh_prompt_rows": None, "generator": generator()}
    with pytest.raises(ValueError, match=message):
        resize_factors(**{**arguments, **changes})  # type: ignore[arg-type]


def test_remap_output_rows() -> None:
    weight, bias = draw(3, 16) + 10, draw(3) + 10
    new_weight, new_bias = remap_output_rows(weight, bias, {0: 2, 3: 0}, 4, generator())
    assert (new_weight.shape, new_bias.shape) == ((4, 16), (4,))
    assert torch.equal(new_weight[[0, 3]], weight[[2, 0]])
    assert torch.equal(new_bias[[0, 3]], bias[[2, 0]])
    assert new_weight[[1, 2]].abs().max() <= 1 / 4
    assert new_bias[[1, 2]].abs().max() <= 1 / 4
    assert len(new_weight.unique()) == new_weight.numel()
    assert torch.equal(remap_output_rows(weight, bias, {0: 2, 3: 0}, 4, generator())[0], new_weight)


def test_remap_keeps_dtype() -> None:
    new_weight, new_bias = remap_output_rows(draw(2, 4).float(), draw(2).float(), {}, 5, generator())
    assert new_weight.dtype == torch.float32
    assert new_bias.dtype == torch.float32


@pytest.mark.parametrize("mapping", [{0: 3}, {2: 0}, {-1: 0}, {0: -1}])
def test_remap_outside(mapping: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="points outside 2 target and 3 source"):
        remap_output_rows(draw(3, 4), draw(3), mapping, 2, generator())


def test_remap_shapes() -> None:
    with pytest.raises(ValueError, match=r"weight \(3, 4\), bias \(4,\)"):
        remap_output_rows(draw(3, 4), draw(4), {}, 2, generator())
