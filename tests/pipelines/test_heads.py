import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.heads import HIDDEN, initial_head, logits, pool


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.lists(st.lists(st.sampled_from([0, 1, 2]), min_size=6, max_size=6), min_size=1, max_size=4))
def test_pool(segments: list[list[int]]) -> None:
    hidden = draw(len(segments), 6, 5)
    pooled = pool(hidden, torch.tensor(segments, dtype=torch.uint8))
    assert pooled.shape == (len(segments), 2, 5)
    for n, row in enumerate(segments):
        for part in (1, 2):
            own = [hidden[n, i] for i in range(6) if row[i] == part]
            if not own:
                assert not pooled[n, part - 1].any()
                continue
            mean = torch.stack(own).mean(0)
            torch.testing.assert_close(pooled[n, part - 1], mean / mean.norm() * math.sqrt(5))


def test_gradient_of_an_empty_segment_is_zero_and_finite() -> None:
    hidden = draw(1, 3, 4).requires_grad_()
    pool(hidden, torch.tensor([[0, 1, 0]])).sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()
    assert not hidden.grad[0, 0].any()
    assert hidden.grad[0, 1].any()


@pytest.mark.parametrize(("segments", "features"), [(1, 6), (2, 24)])
def test_initial_head(segments: int, features: int) -> None:
    head = initial_head(6, segments, 3, torch.Generator().manual_seed(0))
    shapes = {"hidden.weight": (HIDDEN, features), "hidden.bias": (HIDDEN,), "output.weight": (3, HIDDEN)}
    assert {name: tuple(tensor.shape) for name, tensor in head.items()} == {**shapes, "output.bias": (3,)}
    for name, inputs in (("hidden.weight", features), ("output.weight", HIDDEN)):
        bound = 1 / math.sqrt(inputs)
        assert 0.9 * bound < float(head[name].abs().max()) <= bound
    same, other = (initial_head(6, segments, 3, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert all(torch.equal(head[name], same[name]) for name in head)
    assert not torch.equal(head["hidden.weight"], other["hidden.weight"])


def test_logits_of_a_single_text_ignore_the_second_segment() -> None:
    head = {name: t.double() for name, t in initial_head(6, 1, 3, torch.Generator().manual_seed(0)).items()}
    pooled = draw(4, 2, 6)
    changed = pooled.clone()
    changed[:, 1] += 1
    assert logits(head, pooled).shape == (4, 3)
    assert torch.equal(logits(head, pooled), logits(head, changed))


def test_logits_of_a_pair_by_hand() -> None:
    head = {name: t.double() for name, t in initial_head(2, 2, 2, torch.Generator().manual_seed(0)).items()}
    u, v = [1.5, -0.5], [0.25, 2.0]
    features = [*u, *v, 1.25, 2.5, 0.375, -1.0]
    hidden = [
        sum(w * x for w, x in zip(row, features, strict=True)) + b
        for row, b in zip(head["hidden.weight"].tolist(), head["hidden.bias"].tolist(), strict=True)
    ]
    active = [x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in hidden]
    wanted = [
        sum(w * x for w, x in zip(row, active, strict=True)) + b
        for row, b in zip(head["output.weight"].tolist(), head["output.bias"].tolist(), strict=True)
    ]
    assert logits(head, torch.tensor([[u, v]], dtype=torch.float64))[0].tolist() == pytest.approx(wanted, abs=1e-12)
