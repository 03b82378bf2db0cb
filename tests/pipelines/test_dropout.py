import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.dropout import kept_channels, row_keys, with_dropout
from pipelines.methods.dept import Inputs
from pipelines.pack import Pack
from tests.pipelines.tiny import Tiny, toy_data, toy_slot, toy_spec

POSITIONS = torch.arange(40).expand(64, 40)


def masks(rate: float, seed: int = 0, step: int = 0) -> torch.Tensor:
    keys = row_keys([seed] * 64, [step] * 64, range(64))
    return kept_channels(keys, POSITIONS, 128, torch.full((64,), rate, dtype=torch.float64))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_share_of_zeros(rate: float) -> None:
    """Within four standard deviations over all, and over each row, place and channel."""
    dropped = (~masks(rate)).double()
    for dims in ((), (1, 2), (0, 2), (0, 1)):
        shares = dropped.mean(dims) if dims else dropped.mean()
        n = dropped.numel() / shares.numel()
        assert float((shares - rate).abs().max()) <= 5 * (rate * (1 - rate) / n) ** 0.5


def test_masks_differ_by_seed_step_and_row_and_do_not_hang_together() -> None:
    """Two independent masks at one half agree on half of the numbers."""
    one = masks(0.5)
    others = [masks(0.5, seed=1), masks(0.5, step=1), one.roll(1, 0), one.roll(1, 1), one.roll(1, 2)]
    for other in others:
        assert float((one == other).double().mean()) == pytest.approx(0.5, abs=5 * 0.5 / one.numel() ** 0.5)


@given(st.integers(0, 2**40), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 9))
def test_a_row_draws_the_same_whatever_stands_beside_it(seed: int, step: int, row: int, shift: int) -> None:
    """Also when a longer companion pads it on the left, where places are counted from its own first token."""
    rates = torch.full((1,), 0.4, dtype=torch.float64)
    alone = kept_channels(row_keys([seed], [step], [row]), torch.arange(6)[None], 16, rates)
    beside = torch.tensor([[0] * shift + [*range(6)], [*range(shift + 6)]])
    keys = row_keys([seed, 3], [step, 5], [row, 7])
    together = kept_channels(keys, beside, 16, torch.cat([rates, rates / 2]))
    assert torch.equal(together[0, shift:], alone[0])


def test_what_stays_is_scaled_and_the_rest_has_no_gradient() -> None:
    embeddings = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    inputs = Inputs(embeddings, torch.ones(2, 5, dtype=torch.bool), torch.arange(5).expand(2, 5), 0)
    rates = torch.tensor([0.0, 0.25], dtype=torch.float64)
    embed = with_dropout(lambda *_: inputs, rates, row_keys([1, 2], [3, 4], [5, 6]))
    out = embed(embeddings, inputs.mask, torch.tensor([0, 1])).embeddings
    out.sum().backward()
    assert torch.equal(out[0], embeddings[0])
    kept = out[1] != 0
    assert 0 < int((~kept).sum()) < kept.numel()
    torch.testing.assert_close(out[1][kept], embeddings[1][kept] / 0.75)
    assert embeddings.grad is not None
    torch.testing.assert_close(embeddings.grad[1], kept.double() / 0.75)


@pytest.mark.parametrize("kind", ["bert", "t5", "llama"])
def test_only_training_drops(tiny: Tiny, kind: str) -> None:
    backbone = tiny(kind)
    data = toy_data(backbone)
    with_and_without = [toy_slot(backbone, toy_spec(dropout=rate), data) for rate in (0.5, 0.0)]
    pack = Pack(backbone, with_and_without)
    before = pack.scores(with_and_without, [data.dev] * 2)
    torch.testing.assert_close(*before, rtol=0, atol=1e-12)
    pack.step()
    dropped, plain = with_and_without
    assert dropped.loss != plain.loss
    assert not torch.equal(dropped.params["prompt"], plain.params["prompt"])
