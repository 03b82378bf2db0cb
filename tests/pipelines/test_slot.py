import math
from collections import Counter
from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.backbone import Backbone
from pipelines.heads import logits, pool
from pipelines.slot import Quality, Slot, batches, schedule
from tests.pipelines.tiny import Tiny, random_tensors, toy_data, toy_slot, toy_spec, train


@pytest.mark.parametrize(
    ("steps", "warmup", "factors"),
    [
        (10, 0.2, [1 / 2, 1, 8 / 9, 7 / 9, 6 / 9, 5 / 9, 4 / 9, 3 / 9, 2 / 9, 1 / 9]),
        (4, 0.0, [1, 3 / 4, 2 / 4, 1 / 4]),
        (4, 1.0, [1 / 4, 2 / 4, 3 / 4, 1]),
        (1, 0.1, [1]),
        (5, 0.6, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_schedule_by_hand(steps: int, warmup: float, factors: list[float]) -> None:
    assert [schedule(step, steps, warmup) for step in range(steps)] == pytest.approx(factors)


@given(st.integers(1, 500), st.floats(0, 1))
def test_schedule_rises_to_one_and_falls(steps: int, warmup: float) -> None:
    values = [schedule(step, steps, warmup) for step in range(steps)]
    top = values.index(max(values))
    assert values[top] == pytest.approx(1)
    assert all(0 < value <= 1 for value in values)
    assert values[: top + 1] == sorted(values[: top + 1])
    assert values[top:] == sorted(values[top:], reverse=True)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 5))
def test_batches_use_each_row_at_most_once_an_epoch(rows: int, batch: int, seed: int) -> None:
    size = min(batch, rows)
    an_epoch = rows // size
    drawn = list(islice(batches(rows, batch, seed), 3 * an_epoch))
    assert all(len(own) == size for own in drawn)
    for epoch in range(3):
        counts = Counter(i for own in drawn[epoch * an_epoch : (epoch + 1) * an_epoch] for i in own)
        assert set(counts.values()) == {1}
        assert set(counts) <= set(range(rows))
    assert drawn == list(islice(batches(rows, batch, seed), 3 * an_epoch))


def test_batches_differ_between_epochs_and_seeds() -> None:
    drawn = list(islice(batches(40, 40, 0), 2))
    assert drawn[0] != drawn[1]
    assert drawn[0] != next(batches(40, 40, 1))


def test_quality_orders_by_metric_and_then_by_likelihood() -> None:
    assert Quality(0.5, -3.0) < Quality(0.5, -2.0) < Quality(0.6, -9.0)
    assert Quality(0.5, -3.0).objective < Quality(0.5, -2.0).objective < Quality(0.5 + 1 / 500, -9.0).objective
    assert Quality(0.5, math.log(0.25)).objective == pytest.approx(0.50025)


def make_slot(backbone: Backbone, dtype: torch.dtype = torch.float64, **changes: Any) -> Slot:
    return toy_slot(backbone, toy_spec(**changes), toy_data(backbone), dtype)


def give_gradients(slot: Slot, value: float) -> None:
    for parameter in slot.params.values():
        parameter.grad = torch.full_like(parameter, value)


def test_each_group_has_its_rate(tiny: Tiny) -> None:
    """AdamW's first step is the rate times the sign of the gradient."""
    slot = make_slot(tiny("bert"), alpha1=0.5, alpha2=0.25, head_lr=0.125, steps=10, warmup=0.2)
    before = {name: parameter.detach().clone() for name, parameter in slot.params.items()}
    give_gradients(slot, 2.0)
    slot.update(1.0)
    rates = {"prompt": 0.5, "A": 0.25, "B": 0.25}
    for name, parameter in slot.params.items():
        moved = (before[name] - parameter.detach()) / schedule(0, 10, 0.2)
        torch.testing.assert_close(moved, torch.full_like(moved, rates.get(name, 0.125)), rtol=1e-4, atol=0)
        assert parameter.grad is None
    assert (slot.step, slot.loss, slot.status) == (1, 1.0, "training")


@pytest.mark.parametrize(("loss", "gradient"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_a_step_that_is_not_finite_ends_the_slot_and_changes_nothing(tiny: Tiny, loss: float, gradient: float) -> None:
    slot = make_slot(tiny("bert"))
    before = {name: parameter.detach().clone() for name, parameter in slot.params.items()}
    give_gradients(slot, gradient)
    slot.update(loss)
    assert (slot.status, slot.step) == ("diverged", 0)
    assert all(torch.equal(before[name], parameter) for name, parameter in slot.params.items())
    assert all(parameter.grad is None for parameter in slot.params.values())


@pytest.mark.parametrize("rate", [1e38, 1e300, math.inf, math.nan])
def test_a_rate_beyond_the_optimisers_reach_ends_the_slot(tiny: Tiny, rate: float) -> None:
    slot = make_slot(tiny("bert"), torch.float32, alpha2=rate)
    give_gradients(slot, 1.0)
    slot.update(1.0)
    assert (slot.status, slot.step) == ("diverged", 0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_make_no_checkpoint(tiny: Tiny, value: float) -> None:
    """Whatever the metric: predictions from NaN are all the first class, which may be right by chance."""
    slot = make_slot(tiny("bert"))
    slot.judge(Quality(0.5, -0.6))
    slot.judge(Quality(1.0, value))
    assert slot.status == "diverged"
    assert slot.best is not None
    assert slot.best.quality == slot.dev == Quality(0.5, -0.6)


def test_best_checkpoint_is_a_copy_that_comes_back(tiny: Tiny) -> None:
    slot = make_slot(tiny("bert"))
    first = {name: parameter.detach().clone() for name, parameter in slot.params.items()}
    slot.judge(Quality(0.5, -0.6))
    give_gradients(slot, 1.0)
    slot.update(1.0)
    slot.judge(Quality(0.5, -0.7))
    assert slot.best is not None
    assert (slot.best.step, slot.stale, slot.dev) == (0, 1, Quality(0.5, -0.7))
    assert not torch.equal(first["prompt"], slot.params["prompt"])
    slot.restore_best()
    assert all(torch.equal(first[name], parameter) for name, parameter in slot.params.items())
    slot.judge(Quality(0.5, -0.5))
    assert (slot.best.step, slot.stale) == (1, 0)


def test_patience_counts_evaluations_without_improvement(tiny: Tiny) -> None:
    slot = make_slot(tiny("bert"), patience=2, steps=100)
    for quality, status in (
        (Quality(0.5, -1.0), "training"),
        (Quality(0.5, -1.0), "training"),
        (Quality(0.6, -2.0), "training"),
        (Quality(0.5, -0.1), "training"),
        (Quality(0.6, -2.0), "finished"),
    ):
        assert slot.status == "training"
        slot.judge(quality)
        assert slot.status == status


def test_due_at_evaluations_and_at_the_end(tiny: Tiny) -> None:
    slot = make_slot(tiny("bert"), steps=5, eval_every=2)
    due = []
    for _ in range(5):
        give_gradients(slot, 1.0)
        slot.update(1.0)
        due.append(slot.due)
    assert due == [False, True, False, True, True]
    slot.status = "dropped"
    assert not slot.due


def test_tensors_are_the_slots_own_copy(tiny: Tiny) -> None:
    backbone = tiny("bert")
    spec, data = toy_spec(), toy_data(backbone)
    tensors = random_tensors(spec, data, "encoder")
    slots = [Slot(spec, data, tensors, backbone.device, torch.float64) for _ in range(2)]
    give_gradients(slots[0], 1.0)
    slots[0].update(1.0)
    assert not torch.equal(slots[0].params["A"], tensors["A"])
    assert torch.equal(slots[1].params["A"], tensors["A"])
    assert slots[0].dtype == torch.float64
    assert Slot(spec, data, tensors, backbone.device).dtype == torch.float32
    assert set(slots[0].head) == {"hidden.weight", "hidden.bias", "output.weight", "output.bias"}


@pytest.mark.parametrize("clip", [0.05, 1e9])
def test_training_equals_a_plain_loop(tiny: Tiny, clip: float) -> None:
    """One slot on an encoder, against rows read one by one, with torch's AdamW, warm-up, decay and clipping."""
    backbone = tiny("bert")
    data = toy_data(backbone, classes=3, rows=5)
    spec = toy_spec(steps=6, batch=8, warmup=1 / 3, clip=clip, eval_every=100)
    slot = toy_slot(backbone, spec, data)
    start = random_tensors(spec, data, "encoder", spec.seed)
    p = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    head = {name.removeprefix("head."): tensor for name, tensor in p.items() if name.startswith("head.")}
    rates = [([p["prompt"]], 0.05), ([p["A"], p["B"]], 0.02), (list(head.values()), 0.01)]
    optimizer = torch.optim.AdamW([{"params": own, "lr": rate} for own, rate in rates], weight_decay=0.0)
    norms = []
    for factor in [1 / 2, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5]:
        loss = torch.zeros((), dtype=torch.float64)
        for i, label in enumerate(data.train.labels.tolist()):
            place = slice(int(data.train.offsets[i]), int(data.train.offsets[i + 1]))
            ids = torch.from_numpy(data.train.ids[place]).long()
            words = backbone.model.get_input_embeddings()(ids) + spec.gamma * p["A"][: len(ids)] @ p["B"]
            hidden = backbone.model(inputs_embeds=torch.cat([p["prompt"], words])[None]).last_hidden_state
            segments = torch.from_numpy(data.train.segments[place])[None]
            scores = logits(head, pool(hidden[:, spec.m :], segments))[0]
            loss = loss - scores.log_softmax(-1)[label] / 5
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(list(p.values()), clip)))
        for group, (_, rate) in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        optimizer.step()
    assert all((norm > clip) == (clip == 0.05) for norm in norms)

    train(backbone, [slot])
    assert (slot.step, slot.status) == (6, "finished")
    assert slot.loss == pytest.approx(float(loss.detach()), abs=1e-9)
    for name, parameter in slot.params.items():
        torch.testing.assert_close(parameter, p[name], rtol=0, atol=1e-9)
        assert float((parameter - start[name]).detach().abs().max()) > 1e-3
