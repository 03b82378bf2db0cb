import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipelines.methods.dept import (
    Factors,
    Inputs,
    initial_factors,
    input_embeddings,
    parameter_count,
    rank_for_budget,
    scale,
)

D = 4


def make_factors(m: int, r: int, s: int, seed: int, gamma: float = 0.7) -> Factors:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((m, D), (s, r), (r, D))
    prompt, A, B = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return Factors(prompt, A, B, gamma)


def naive_row(tokens: list[list[float]], labels: int, factors: Factors) -> list[list[float]]:
    """[P_s ; W(x) + γ·A·B] of one row without padding, number by number; its last `labels` tokens get no update."""
    P, A, B = (tensor.tolist() for tensor in (factors.prompt, factors.A, factors.B))
    rows = [list(row) for row in P]
    for i, token in enumerate(tokens):
        row = list(token)
        if i < len(A) and i < len(tokens) - labels:
            for j in range(D):
                row[j] += factors.gamma * sum(A[i][k] * B[k][j] for k in range(len(B)))
        rows.append(row)
    return rows


sizes = st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(1, 6))  # m, r, s: r > s and texts over s included
texts = st.tuples(st.integers(0, 3), st.integers(1, 8), st.integers(0, 3), st.booleans())  # slot, text, labels, side


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Factors], list[tuple[int, int, int, bool]], int]:
    slots = draw(st.lists(sizes, min_size=1, max_size=4))
    rows = draw(st.lists(texts, min_size=1, max_size=5))
    factors = [make_factors(*size, seed=n, gamma=0.3 + n) for n, size in enumerate(slots)]
    return factors, [(slot % len(slots), *rest) for slot, *rest in rows], draw(st.integers(0, 3))


def padded(rows: list[tuple[int, int, int, bool]], extra: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens, mask, text and slots of a batch with `extra` places to spare; padding holds NaN-free rubbish."""
    L = max(text + labels for _, text, labels, _ in rows) + extra
    generator = torch.Generator().manual_seed(len(rows))
    tokens = torch.randn(len(rows), L, D, generator=generator, dtype=torch.float64) * 3
    mask, text = torch.zeros(len(rows), L, dtype=torch.bool), torch.zeros(len(rows), L, dtype=torch.bool)
    for n, (_, words, labels, left) in enumerate(rows):
        first = L - words - labels if left else 0
        mask[n, first : first + words + labels] = True
        text[n, first : first + words] = True
    return tokens, mask, text, torch.tensor([slot for slot, *_ in rows])


@settings(max_examples=150, deadline=None)
@given(batches())
def test_equals_the_formula_row_by_row(
    case: tuple[list[Factors], list[tuple[int, int, int, bool]], int],
) -> None:
    factors, rows, extra = case
    tokens, mask, text, slot = padded(rows, extra)
    inputs = input_embeddings(tokens, mask, factors, slot, text)

    M = max(f.m for f in factors)
    assert inputs.prompt_length == M
    assert inputs.embeddings.shape == (len(rows), M + tokens.shape[1], D)
    assert inputs.embeddings.dtype == torch.float64
    for n, (k, words, labels, _) in enumerate(rows):
        wanted = naive_row(tokens[n][mask[n]].tolist(), labels, factors[k])
        m = factors[k].m
        assert inputs.mask[n].tolist() == [False] * (M - m) + [True] * m + mask[n].tolist()
        real = inputs.embeddings[n][inputs.mask[n]]
        torch.testing.assert_close(real, torch.tensor(wanted, dtype=torch.float64).reshape(-1, D), rtol=0, atol=1e-12)
        assert inputs.positions[n][inputs.mask[n]].tolist() == list(range(m + words + labels))
        assert not inputs.positions[n][~inputs.mask[n]].any()


@given(batches())
@settings(max_examples=40, deadline=None)
def test_without_text_every_real_token_is_updated(
    case: tuple[list[Factors], list[tuple[int, int, int, bool]], int],
) -> None:
    factors, rows, extra = case
    tokens, mask, _, slot = padded(rows, extra)
    one, other = (input_embeddings(tokens, mask, factors, slot, text) for text in (None, mask))
    assert torch.equal(one.embeddings, other.embeddings)


def real_rows(inputs: Inputs) -> list[Tensor]:
    return [row[mask] for row, mask in zip(inputs.embeddings, inputs.mask, strict=True)]


@settings(max_examples=40, deadline=None)
@given(batches())
def test_padding_side_length_and_companions_change_nothing(
    case: tuple[list[Factors], list[tuple[int, int, int, bool]], int],
) -> None:
    factors, rows, extra = case
    tokens, mask, text, slot = padded(rows, extra)
    together = real_rows(input_embeddings(tokens, mask, factors, slot, text))
    for n, (k, words, labels, left) in enumerate(rows):
        own = tokens[n][mask[n]]
        turned, turned_mask, turned_text, _ = padded([(0, words, labels, not left)], extra + 2)
        turned[0, turned_mask[0]] = own
        alone = input_embeddings(turned, turned_mask, [factors[k]], torch.tensor([0]), turned_text)
        torch.testing.assert_close(together[n], real_rows(alone)[0], rtol=0, atol=1e-13)


def test_prompt_rows_and_label_tokens_get_no_update() -> None:
    factors = make_factors(2, 3, 5, seed=1)
    tokens, mask, text, slot = padded([(0, 3, 2, False)], 1)
    inputs = input_embeddings(tokens, mask, [factors], slot, text)
    assert torch.equal(inputs.embeddings[0, :2], factors.prompt)
    assert torch.equal(inputs.embeddings[0, 5:7], tokens[0, 3:5])
    assert not torch.isclose(inputs.embeddings[0, 2:5], tokens[0, :3]).any()


def test_gradients_equal_those_of_the_formula_and_reach_all_factors() -> None:
    slots = [make_factors(2, 3, 4, seed=1), make_factors(0, 2, 6, seed=2), make_factors(3, 0, 5, seed=3)]
    rows = [(0, 3, 1, False), (1, 6, 0, True), (2, 2, 0, False), (0, 4, 0, True)]
    tokens, mask, text, slot = padded(rows, 1)

    def gradients(naively: bool) -> list[Tensor]:
        leaves = [[t.clone().requires_grad_() for t in (f.prompt, f.A, f.B)] for f in slots]
        factors = [Factors(p, a, b, f.gamma) for (p, a, b), f in zip(leaves, slots, strict=True)]
        if naively:
            total = torch.zeros((), dtype=torch.float64)
            for n, (k, words, _, _) in enumerate(rows):
                f = factors[k]
                own = tokens[n][mask[n]]
                update = torch.zeros_like(own)
                used = min(words, len(f.A))
                update[:used] = f.gamma * f.A[:used] @ f.B
                total = total + torch.cat([f.prompt, own + update]).pow(3).sum()
        else:
            inputs = input_embeddings(tokens, mask, factors, slot, text)
            total = inputs.embeddings[inputs.mask].pow(3).sum()
        total.backward()
        return [leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for own in leaves for leaf in own]

    ours, naive = gradients(False), gradients(True)
    for mine, wanted in zip(ours, naive, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-12, atol=1e-12)
    assert all(bool(g.abs().sum(-1).all()) for g in ours[:3])  # every row of the first slot's P, A and B is in use
    assert not naive[4][0].isnan().any()


def test_nothing_of_a_slot_with_nan_reaches_another() -> None:
    good, bad = make_factors(2, 2, 4, seed=1), make_factors(3, 2, 4, seed=2)
    leaves = [t.clone().requires_grad_() for t in (good.prompt, good.A, good.B)]
    factors = [Factors(*leaves, good.gamma), Factors(bad.prompt * math.nan, bad.A, bad.B * math.nan, 1.0)]
    tokens, mask, text, slot = padded([(0, 3, 0, False), (1, 4, 0, False)], 0)
    inputs = input_embeddings(tokens, mask, factors, slot, text)
    row_sums = (inputs.embeddings.pow(2) * inputs.mask[..., None]).flatten(1).sum(1)
    row_sums.sum().backward()
    assert row_sums[0].isfinite()
    assert row_sums[1].isnan()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


@pytest.mark.parametrize(("m", "r"), [(20, 60), (40, 45), (60, 30), (80, 15)])
def test_published_budget_is_exact(m: int, r: int) -> None:
    assert rank_for_budget(100, m, 256, 768) == r
    assert parameter_count(m, r, 256, 768) == 76_800


@given(st.integers(1, 200), st.data(), st.integers(1, 600), st.integers(1, 1200))
def test_rank_is_the_largest_within_the_budget(budget: int, data: st.DataObject, s: int, d: int) -> None:
    m = data.draw(st.integers(0, budget))
    r = rank_for_budget(budget, m, s, d)
    assert parameter_count(m, r, s, d) <= budget * d < parameter_count(m, r + 1, s, d)


@pytest.mark.parametrize("m", [-1, 101])
def test_prompt_over_the_budget(m: int) -> None:
    with pytest.raises(ValueError, match=f"budget of 100 prompt rows, got m={m}"):
        rank_for_budget(100, m, 256, 768)


@pytest.mark.parametrize(("r", "gamma"), [(60, 1.033), (45, 1.193), (30, 1.461), (15, 2.066)])
def test_released_scale(r: int, gamma: float) -> None:
    assert round(scale(r), 3) == gamma
    assert scale(r, "paper") == 1.0


def test_scale_without_a_rank_is_finite() -> None:
    assert scale(0) == 1.0


def initial(m: int = 5, r: int = 9, s: int = 40, seed: int = 0, gaussian: bool = False) -> tuple[Factors, Tensor]:
    vocabulary = torch.arange(12.0)[:, None].expand(12, D).to(torch.bfloat16)
    generator = torch.Generator().manual_seed(seed)
    return initial_factors(
        m, r, s, gamma=2.0, vocabulary=vocabulary, generator=generator, gaussian=gaussian
    ), vocabulary


def test_initial_factors() -> None:
    factors, vocabulary = initial()
    assert (factors.prompt.shape, factors.A.shape, factors.B.shape) == ((5, D), (40, 9), (9, D))
    assert {t.dtype for t in (factors.prompt, factors.A, factors.B)} == {torch.float32}
    drawn = factors.prompt[:, 0].tolist()
    assert torch.equal(factors.prompt, vocabulary[factors.prompt[:, 0].long()].float())
    assert len(set(drawn)) == 5
    assert not factors.B.any()
    assert 0.3 < factors.A.abs().max() <= 1 / 3
    assert factors.gamma == 2.0
    assert (factors.m, initial(m=0)[0].m) == (5, 0)


def test_initial_factors_follow_the_seed() -> None:
    one, same, other = initial(seed=1)[0], initial(seed=1)[0], initial(seed=2)[0]
    assert torch.equal(one.A, same.A)
    assert torch.equal(one.prompt, same.prompt)
    assert not torch.equal(one.A, other.A)
    assert not torch.equal(one.prompt, other.prompt)


def test_gaussian_as_published() -> None:
    A = initial(r=50, s=200, gaussian=True)[0].A
    assert abs(float(A.std()) - 1) < 0.05
    assert A.abs().max() > 3


def test_prompt_longer_than_the_vocabulary() -> None:
    with pytest.raises(ValueError, match="m=13 prompt rows cannot be drawn from a vocabulary of 12 rows"):
        initial(m=13)


def test_factors_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"B must have shape \(r, d\) = \(3, 4\).*got \(2, 4\)"):
        Factors(torch.zeros(2, 4), torch.zeros(5, 3), torch.zeros(2, 4), 1.0)
