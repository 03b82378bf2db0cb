"""Packed equals alone, whatever the companions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipelines.backbone import Backbone
from pipelines.encode import Batch, encode
from pipelines.errors import PipelineError
from pipelines.families import FAMILIES
from pipelines.judging import Said, judge
from pipelines.pack import Pack
from pipelines.slot import Slot
from pipelines.spec import Scoring, SlotData
from tasks import Example, Rows
from tests.pipelines.tiny import (
    FAMILY_KINDS,
    Tiny,
    build_tokenizer,
    random_tensors,
    toy_data,
    toy_slot,
    toy_spec,
    toy_task,
    train,
)

ABSURD = 1e307


@dataclass(frozen=True)
class Config:
    """A slot's settings, and its fate if it is a companion."""

    m: int
    r: int
    s: int
    form: str
    classes: int
    steps: int
    batch: int
    eval_every: int
    alpha: float
    seed: int
    longest: int
    patience: int = 0
    scoring: Scoring = "likelihood"
    dropout: float = 0.0
    fate: str = "lives"  # or "dropped", "diverges" by its rate, "poisoned": starts from numbers that are not finite


configs = st.builds(
    Config,
    m=st.integers(0, 4),
    r=st.integers(0, 3),
    s=st.sampled_from([4, 9, 24]),
    form=st.sampled_from(["single", "pair", "regression", "span"]),
    classes=st.integers(2, 3),
    steps=st.integers(1, 5),
    batch=st.integers(1, 5),
    eval_every=st.integers(1, 3),
    alpha=st.sampled_from([1e-3, 0.05, 1.0]),
    seed=st.integers(0, 5),
    longest=st.sampled_from([2, 10]),
    patience=st.integers(0, 1),
    scoring=st.sampled_from(["likelihood", "likelihood", "generation"]),
    dropout=st.sampled_from([0.0, 0.0, 0.3]),
    fate=st.sampled_from(["lives", "lives", "dropped", "diverges", "poisoned"]),
)


def make_slot(backbone: Backbone, config: Config, key: str) -> Slot:
    rate = ABSURD if config.fate == "diverges" else config.alpha
    spec = toy_spec(
        key=key, m=config.m, r=config.r, s=config.s, steps=config.steps, batch=config.batch, seed=config.seed,
        eval_every=config.eval_every, alpha1=rate, alpha2=rate, head_lr=rate, patience=config.patience,
        dropout=config.dropout,
    )  # fmt: skip
    encoder = backbone.info.family == "encoder"
    form = "regression" if encoder and config.form == "span" else config.form
    data = toy_data(
        backbone,
        form=form,
        scoring=config.scoring,
        classes=config.classes,
        s=config.s,
        seed=config.seed,
        longest=config.longest,
    )
    slot = toy_slot(backbone, spec, data)
    if config.fate == "poisoned":
        with torch.no_grad():
            for name, value in (("prompt", math.nan), ("A", math.inf), ("B", -math.inf)):
                slot.params[name].fill_(value)
    return slot


def assert_same(one: Slot, other: Slot) -> None:
    assert (one.step, one.status, one.stale) == (other.step, other.status, other.stale)
    for name, tensor in one.params.items():
        torch.testing.assert_close(tensor, other.params[name], rtol=0, atol=1e-10)
    assert one.best is not None
    assert other.best is not None
    assert one.best.step == other.best.step
    for name, tensor in one.best.tensors.items():
        torch.testing.assert_close(tensor, other.best.tensors[name], rtol=0, atol=1e-10)
    assert one.best.quality.objective == pytest.approx(other.best.quality.objective, abs=1e-10)
    assert one.loss == pytest.approx(other.loss, abs=1e-10)


def check_packed(
    backbone: Backbone, target: Config, companions: Sequence[Config], place: int, chunk_tokens: int
) -> list[Slot]:
    alone = make_slot(backbone, target, "target")
    train(backbone, [alone])
    packed = make_slot(backbone, target, "target")
    others = [make_slot(backbone, config, f"companion {i}") for i, config in enumerate(companions)]
    slots = [*others[:place], packed, *others[place:]]
    dropped = {slot.spec.key: 1 for slot, config in zip(others, companions, strict=True) if config.fate == "dropped"}
    train(backbone, slots, chunk_tokens=chunk_tokens, drop_at=dropped)
    assert_same(packed, alone)
    return others


@pytest.mark.parametrize("kind", [*FAMILY_KINDS, "bart"])
@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example is readable as it is, and shrinking slow
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    # at a rate of 1, AdamW on this encoder turns a difference of 1e-16 into one of 1e-10
    target=configs.filter(lambda config: config.m + config.r > 0).map(
        lambda config: replace(config, fate="lives", alpha=min(config.alpha, 0.01))
    ),
    companions=st.lists(configs, min_size=1, max_size=4),
    place=st.integers(0, 4),
    chunk_tokens=st.sampled_from([1, 40, 4096]),
)
def test_packed_equals_alone(
    tiny: Tiny, kind: str, target: Config, companions: list[Config], place: int, chunk_tokens: int
) -> None:
    check_packed(tiny(kind), target, companions, place, chunk_tokens)


BASE = Config(m=3, r=2, s=24, form="pair", classes=3, steps=4, batch=4, eval_every=2, alpha=0.05, seed=1, longest=6)


@pytest.mark.parametrize("kind", FAMILY_KINDS)
def test_every_fate_of_a_companion_comes_to_pass(tiny: Tiny, kind: str) -> None:
    companions = [
        replace(BASE, m=5, fate="diverges", steps=9),
        replace(BASE, m=0, r=3, form="single", steps=2, seed=2),
        replace(BASE, r=0, classes=2, s=9, steps=9, fate="dropped", longest=10),
        replace(BASE, steps=9, eval_every=1, patience=1, alpha=1.0, seed=3),
    ]
    others = check_packed(tiny(kind), BASE, companions, 2, 4096)
    assert [slot.status for slot in others] == ["diverged", "finished", "dropped", "finished"]
    diverged, early, dropped, patient = others
    assert (early.step, dropped.step) == (2, 1)
    assert diverged.step < 9
    assert patient.step > 0


@pytest.mark.parametrize("kind", FAMILY_KINDS)
def test_training_moves_the_target(tiny: Tiny, kind: str) -> None:
    """Otherwise the comparisons above would hold for nothing."""
    slot = make_slot(tiny(kind), BASE, "target")
    before = random_tensors(slot.spec, slot.data, tiny(kind).info.family, slot.spec.seed)
    train(tiny(kind), [slot])
    for name in ("prompt", "A", "B"):
        assert float((slot.params[name] - before[name]).detach().abs().max()) > 1e-2


def test_the_loss_is_the_mean_over_the_slots_own_rows(tiny: Tiny) -> None:
    """Checked at a rate of 0, where the loss of a step is that of the start."""
    backbone = tiny("bert")
    slots = [
        make_slot(backbone, replace(BASE, alpha=0.0, batch=batch, steps=1, seed=seed), f"{seed}")
        for seed, batch in enumerate([6, 6])
    ]
    train(backbone, slots, chunk_tokens=30)
    for slot in slots:
        (scores,) = Pack(backbone, [slot]).scores([slot], [slot.data.train])
        labels = torch.from_numpy(slot.data.train.labels)
        assert slot.loss == pytest.approx(float(-scores.log_softmax(-1)[torch.arange(6), labels].mean()), abs=1e-12)


@pytest.mark.parametrize("kind", FAMILY_KINDS)
def test_scores_of_several_slots_and_sets(tiny: Tiny, kind: str) -> None:
    """Each slot's own set in its own order, with its own classes, in float64."""
    backbone = tiny(kind)
    slots = [make_slot(backbone, replace(BASE, classes=c, m=m, seed=c), str(c)) for c, m in ((2, 0), (3, 4))]
    sets = [slots[0].data.train, slots[1].data.dev]
    together = Pack(backbone, slots, chunk_tokens=20).scores(slots, sets)
    assert [tuple(scores.shape) for scores in together] == [(6, 2), (5, 3)]
    for slot, rows, scores in zip(slots, sets, together, strict=True):
        (alone,) = Pack(backbone, [slot]).scores([slot], [rows])
        assert scores.dtype == torch.float64
        assert scores.isfinite().all()
        assert len(scores.unique()) > len(scores)  # rows differ
        torch.testing.assert_close(scores, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_a_pass_has_room_for_prompt_text_and_answer(tiny: Tiny, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows whose answers are longer than their texts are not crowded into a pass, whether learned or generated."""
    backbone, task = tiny(kind), toy_task("span")
    family = backbone.info.family
    rows = Rows.of(task, "train", [Example.answered(("a", "b"), ("c " * n,)) for n in range(1, 13)], "toy")
    encoded = encode(rows, build_tokenizer(family), family, 24)
    data = SlotData(encoded, encoded, (), ("answer_f1",), 2, scoring="generation")
    slot = toy_slot(backbone, toy_spec(m=2), data)
    pack = Pack(backbone, [slot], chunk_tokens=60)
    sizes: dict[str, list[int]] = {"losses": [], "generate": []}
    for name, seen in sizes.items():
        whole = getattr(pack.family, name)

        def noted(own: Backbone, batch: Batch, *rest: Any, whole: Any = whole, seen: list[int] = seen) -> Any:
            longest = data.answer_limit if len(rest) == 3 else max(map(len, batch.targets))
            seen.append(len(batch.ids) * (2 + batch.ids.shape[1] + longest))
            return whole(own, batch, *rest)

        monkeypatch.setattr(pack.family, name, noted)
    pack.backward([slot], [(0, encoded, i) for i in range(12)])
    pack.generate([slot], [encoded])
    assert len(sizes["losses"]) > 3
    assert max(sizes["losses"]) <= 60
    assert max(sizes["generate"]) <= 120


def test_step_returns_the_slots_that_were_evaluated(tiny: Tiny) -> None:
    backbone = tiny("bert")
    slots = [make_slot(backbone, replace(BASE, steps=steps, eval_every=every), "") for steps, every in ((3, 2), (5, 3))]
    pack = Pack(backbone, slots)
    due = [[slots.index(slot) for slot in pack.step()] for _ in range(5)]
    assert due == [[], [0], [0, 1], [], [1]]
    assert pack.training == []


def test_quality(tiny: Tiny) -> None:
    data: SlotData = toy_data(tiny("bert"), classes=3)
    slot = toy_slot(tiny("bert"), toy_spec(), data)
    assert data.dev.labels.tolist() == [0, 1, 2, 0, 1]
    scores = torch.tensor([[2.0, 0, 0], [0, 3, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
    found = judge(slot.data, data.dev.gold, Said(scores), lambda ids: []).quality
    assert found.score == pytest.approx(3 / 5)
    right = [(2, 2, 0, 0), (3, 3, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (1, 0, 1, 0)]
    by_hand = [own - math.log(sum(math.exp(value) for value in row)) for own, *row in right]
    assert found.log_likelihood == pytest.approx(sum(by_hand) / 5, abs=1e-6)


@pytest.mark.parametrize(("kind", "longest_s"), [("bert", 60), ("llama", 57), ("gpt2", 57)])
def test_prompt_text_and_a_decoders_label_word_must_fit_the_positions(tiny: Tiny, kind: str, longest_s: int) -> None:
    backbone = tiny(kind)
    data = toy_data(backbone, classes=3)  # the longest label word has three tokens
    fitting = toy_slot(backbone, toy_spec(m=4, s=longest_s), data)
    Pack(backbone, [fitting])
    with pytest.raises(PipelineError, match=f"m \\+ s = 4 \\+ {longest_s + 1}.* = 65 is over the 64 positions"):
        Pack(backbone, [fitting, toy_slot(backbone, toy_spec(m=4, s=longest_s + 1), data)])


@pytest.mark.parametrize("kind", FAMILY_KINDS)
def test_numbers_that_are_not_finite_stay_in_their_slot(tiny: Tiny, kind: str) -> None:
    """They come in the middle of training, while their slot still trains, in each of its tensors in turn."""
    backbone = tiny(kind)
    alone = make_slot(backbone, BASE, "target")
    train(backbone, [alone])
    for name in ("prompt", "A", "B"):
        for value in (math.nan, math.inf, -math.inf):
            packed, other = make_slot(backbone, BASE, "target"), make_slot(backbone, replace(BASE, seed=2), "other")
            pack = Pack(backbone, [other, packed])
            pack.judge(pack.slots)
            pack.step()
            with torch.no_grad():
                other.params[name].view(-1)[1] = value
            while pack.training:
                pack.step()
            assert other.status == "diverged"
            assert_same(packed, alone)


class Full:
    """A family whose passes run out of memory where a test wants it."""

    def __init__(self, backbone: Backbone, rows: int, error: Exception, late: bool) -> None:
        self.family = FAMILIES[backbone.info.family]
        self.rows, self.error, self.late = rows, error, late
        self.raised = 0

    def __getattr__(self, name: str) -> Any:
        def work(backbone: Backbone, batch: Any, *rest: Any) -> Any:
            if len(batch.slot) > self.rows and not self.late:
                self.raised += 1
                raise self.error
            values = getattr(self.family, name)(backbone, batch, *rest)
            if len(batch.slot) > self.rows:  # the backward pass is what does not fit
                self.raised += 1
                values.register_hook(self._fail) if values.requires_grad else None
            return values

        return work

    def _fail(self, gradient: Any) -> None:
        raise self.error


MEMORY_ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", MEMORY_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("late", [False, True], ids=["forward", "backward"])
def test_out_of_memory_halves_the_pass_and_changes_no_number(tiny: Tiny, error: Exception, late: bool) -> None:
    """Rows of other lengths are in other passes, some of which have left gradients when one does not fit."""
    backbone = tiny("bert")
    configs = [replace(BASE, seed=seed, longest=longest, dropout=0.2) for seed, longest in ((1, 2), (2, 10))]
    alone = [make_slot(backbone, config, str(config.seed)) for config in configs]
    for slot in alone:
        train(backbone, [slot])
    packed = [make_slot(backbone, config, str(config.seed)) for config in configs]
    pack = Pack(backbone, packed, chunk_tokens=128)
    pack.family = full = Full(backbone, 3, error, late)
    pack.judge(packed)
    while pack.training:
        pack.step()
    assert full.raised
    assert pack.chunk_tokens < 128
    for one, other in zip(packed, alone, strict=True):
        assert_same(one, other)


def test_a_row_that_does_not_fit_ends_the_pack_and_leaves_no_gradient(tiny: Tiny) -> None:
    slots = [make_slot(tiny("bert"), BASE, "")]
    pack = Pack(tiny("bert"), slots)
    pack.family = Full(tiny("bert"), 0, MEMORY_ERRORS[0], late=False)
    with pytest.raises(PipelineError, match=r"out of memory with 1 slots and one row in a pass.*CUDA out of memory"):
        pack.step()
    assert all(parameter.grad is None for parameter in slots[0].params.values())


def test_other_errors_are_not_taken_for_a_lack_of_memory(tiny: Tiny) -> None:
    pack = Pack(tiny("bert"), [make_slot(tiny("bert"), BASE, "")])
    pack.family = Full(tiny("bert"), 0, RuntimeError("shapes cannot be multiplied"), late=False)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        pack.step()
    assert pack.family.raised == 1
