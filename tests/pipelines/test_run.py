from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from pipelines.backbone import Backbone, load_backbone
from pipelines.errors import PipelineError
from pipelines.halving import Halving
from pipelines.pack import Pack
from pipelines.run import Job, PackRun, Report
from pipelines.slot import Slot
from pipelines.spec import SlotData, SlotSpec
from tests.pipelines.test_start import make_artifact
from tests.pipelines.tiny import TinyFolder, toy_data, toy_spec


@pytest.fixture(scope="module")
def backbone(tiny_folder: TinyFolder) -> Backbone:
    return load_backbone(str(tiny_folder("bert")), dtype=torch.float32)


@pytest.fixture(scope="module")
def data(backbone: Backbone) -> dict[str, SlotData]:
    return {
        "pairs": toy_data(backbone, classes=3, rows=12, test=7),
        "singles": toy_data(backbone, form="single", rows=8, seed=1),
    }


def make_run(
    backbone: Backbone, data: dict[str, SlotData], *specs: SlotSpec, keep: bool = False, **job: Any
) -> PackRun:
    fields: dict[str, Any] = {"backbone": "tiny", "fingerprint": backbone.info.fingerprint, "data": data}
    return PackRun(backbone, specs, Job(**{**fields, **job}), keep=keep)


def spec(key: str, **changes: Any) -> SlotSpec:
    return toy_spec(**{"key": key, "data": "pairs", "config": int(key[0]), "steps": 6, "eval_every": 2, **changes})


def run_through(run: PackRun, seconds: float = math.inf) -> list[list[Report]]:
    calls = []
    while not run.done:
        calls.append(run.advance(seconds))
        assert len(calls) < 200
    return calls


def summary(report: Report) -> tuple[object, ...]:
    numbers = (report.loss, report.dev, report.best)
    return report.spec.key, report.step, report.status, repr(numbers), report.best_step


def test_reports_of_one_slot(backbone: Backbone, data: dict[str, SlotData]) -> None:
    run = make_run(backbone, data, spec("0"))
    ((start,), *rest) = run_through(run)
    assert (start.step, start.status, start.best_step) == (0, "training", 0)
    assert math.isnan(start.loss)
    assert start.dev is not None
    assert start.dev == start.best
    assert [(r.step, r.status) for (r,) in rest] == [(2, "training"), (4, "training"), (6, "finished")]
    assert all(r.dev is not None and r.best is not None and r.best >= r.dev for (r,) in rest)
    assert all(math.isfinite(r.loss) for (r,) in rest)
    assert all(r.final is None for (r,) in rest)
    assert (run.done, run.steps) == (True, 6)
    assert run.advance() == []


def test_looking_often_changes_no_number(backbone: Backbone, data: dict[str, SlotData]) -> None:
    specs = [
        spec("0"),
        spec("1", alpha1=1.0, m=5, eval_every=3, data="singles", seed=2),
        spec("2", steps=3),
        spec("3", alpha1=1e37, alpha2=1e37, head_lr=1e37),
        spec("4", alpha1=0.0, alpha2=0.0, head_lr=0.0),
    ]
    halving = Halving((2,))
    at_once, often = (
        run_through(make_run(backbone, data, *specs, halving=halving), seconds) for seconds in (math.inf, 0)
    )
    assert [summary(r) for call in at_once for r in call] == [summary(r) for call in often for r in call]
    assert len(often) > len(at_once)
    assert all(call for call in at_once)
    assert {r.status for call in at_once for r in call} == {"training", "finished", "dropped", "diverged"}


def test_only_what_was_evaluated_or_ended_is_reported(backbone: Backbone, data: dict[str, SlotData]) -> None:
    """A slot's reports are those it would make alone, whenever its companions are evaluated."""
    alone = [summary(r) for call in run_through(make_run(backbone, data, spec("0", eval_every=3))) for r in call]
    companion = spec("1", eval_every=2, steps=5, data="singles")
    together = run_through(make_run(backbone, data, spec("0", eval_every=3), companion))
    steps = [(r.spec.key, r.step) for call in together for r in call]
    assert steps == [("0", 0), ("1", 0), ("1", 2), ("0", 3), ("1", 4), ("1", 5), ("0", 6)]
    own = [r for call in together for r in call if r.spec.key == "0"]
    assert [summary(r)[:3] for r in own] == [row[:3] for row in alone]
    assert all(r.dev is not None for r in own)


def test_a_diverged_slot_is_reported_once_and_takes_its_siblings_along(
    backbone: Backbone, data: dict[str, SlotData]
) -> None:
    absurd = {"alpha1": 1e37, "alpha2": 1e37, "head_lr": 1e37}
    calls = run_through(make_run(backbone, data, spec("0a", **absurd), spec("0b", seed=1), spec("1")))
    (end,) = [call for call in calls if any(r.status == "diverged" for r in call)]
    by_key = {r.spec.key: r for r in end}
    assert by_key["0a"].status == "diverged"
    assert by_key["0a"].dev is None
    assert by_key["0a"].best is not None  # the start, which was evaluated
    assert by_key["0a"].step < 6
    assert by_key["0b"].status == "dropped"
    assert [r.status for call in calls for r in call if r.spec.key == "1"][-1] == "finished"
    for key in ("0a", "0b"):
        assert sum(r.status != "training" for call in calls for r in call if r.spec.key == key) == 1


def test_halving_drops_at_the_rung_and_leaves_the_rest_as_they_were(
    backbone: Backbone, data: dict[str, SlotData]
) -> None:
    frozen = {"alpha1": 0.0, "alpha2": 0.0, "head_lr": 0.0}
    halving = Halving((2,))
    specs = [
        spec("0", seed=1), spec("1", seed=2), spec("2", seed=3, **frozen), spec("3", seed=4, **frozen),
    ]  # fmt: skip
    calls = run_through(make_run(backbone, data, *specs, halving=halving))
    at_rung = {r.spec.key: r for r in calls[1]}
    ranked = sorted(at_rung, key=lambda key: at_rung[key].best.objective if at_rung[key].best else 0)
    assert {r.step for r in calls[1]} == {2}
    assert {key for key in at_rung if at_rung[key].status == "dropped"} == set(ranked[:2])
    assert all(r.dev is not None for r in calls[1])
    assert {r.spec.key for call in calls[2:] for r in call} == set(ranked[2:])


def test_a_pack_that_is_kept_never_drops(backbone: Backbone, data: dict[str, SlotData]) -> None:
    specs = [spec(str(i), seed=i) for i in range(4)]
    calls = run_through(make_run(backbone, data, *specs, keep=True, halving=Halving((2, 4))))
    assert {r.status for r in calls[-1]} == {"finished"}
    assert len(calls[-1]) == 4


def test_halving_judges_a_configuration_also_on_the_seed_that_finished_before(
    backbone: Backbone, data: dict[str, SlotData]
) -> None:
    run = make_run(
        backbone, data, spec("0a", steps=1, eval_every=1), spec("0b", seed=1), spec("1", seed=2), halving=Halving((2,))
    )
    run.advance()
    assert [r.status for r in run.advance()] == ["finished"]
    early, late, _ = run.pack.slots
    for slot, score in ((early, -9.0), (late, 2.0)):  # the mean is below any real score, the late one above
        assert slot.best is not None
        slot.best.quality = replace(slot.best.quality, score=score)
    assert {r.spec.key: r.status for r in run.advance()} == {"0b": "dropped", "1": "training"}


def test_results_that_are_kept(backbone: Backbone, data: dict[str, SlotData]) -> None:
    """The tensors handed out are the best checkpoint: they give its dev quality again, and the test quality told."""
    specs = [spec("0", alpha1=2.0, alpha2=0.5, head_lr=0.3, steps=8), spec("1", data="singles", seed=3)]
    calls = run_through(make_run(backbone, data, *specs, keep=True))
    last = {r.spec.key: r for call in calls for r in call}
    assert all(r.final is None for call in calls[:-1] for r in call if r.status == "training")
    for own in specs:
        report, rows = last[own.key], data[own.data]
        assert report.final is not None
        assert report.best is not None
        tensors = report.final.tensors
        assert all(t.dtype == torch.float32 and not t.requires_grad for t in tensors.values())
        again = Slot(own, rows, tensors, backbone.device)
        pack = Pack(backbone, [again])
        found = pack.evaluate([again], [rows.dev])[0].quality
        assert found.score == report.best.score
        assert found.log_likelihood == pytest.approx(report.best.log_likelihood, abs=1e-5)
        if rows.test is None:
            assert report.final.test is None
        else:
            (on_test,) = pack.evaluate([again], [rows.test])
            assert report.final.test is not None
            assert report.final.test.score == on_test.quality.score
    first = last["0"]
    assert first.dev is not None
    assert first.best_step < 8
    assert first.best != first.dev  # otherwise the last tensors would pass for the best


def test_zero_shot(backbone: Backbone, data: dict[str, SlotData]) -> None:
    artifact = make_artifact()
    own = spec("0", steps=0, start="source/1", m=4, r=3)
    run = make_run(backbone, data, own, keep=True, starts={"source/1": artifact})
    ((report,),) = run_through(run)
    assert (report.step, report.status, report.best_step, run.steps) == (0, "finished", 0, 0)
    assert report.final is not None
    assert report.final.test is not None
    assert all(torch.equal(report.final.tensors[name], artifact.tensors[name]) for name in artifact.tensors)


def test_zero_shot_beside_slots_that_train(backbone: Backbone, data: dict[str, SlotData]) -> None:
    calls = run_through(make_run(backbone, data, spec("0", steps=0), spec("1")))
    assert [[r.spec.key for r in call] for call in calls] == [["0", "1"], ["1"], ["1"], ["1"]]


def test_patience_ends_a_slot_early(backbone: Backbone, data: dict[str, SlotData]) -> None:
    """At a rate of 0 nothing improves."""
    frozen = {"alpha1": 0.0, "alpha2": 0.0, "head_lr": 0.0}
    run = make_run(backbone, data, spec("0", steps=100, patience=2, **frozen))
    calls = run_through(run)
    assert [(r.step, r.status) for (r,) in calls] == [(0, "training"), (2, "training"), (4, "finished")]
    assert calls[-1][0].best_step == 0


def test_a_start_that_is_missing_is_no_scratch(backbone: Backbone, data: dict[str, SlotData]) -> None:
    with pytest.raises(KeyError, match="source/9"):
        make_run(backbone, data, spec("0", start="source/9"), starts={"source/1": make_artifact()})


def test_too_long_for_the_backbone(backbone: Backbone, data: dict[str, SlotData]) -> None:
    with pytest.raises(PipelineError, match=r"m \+ s = 25 \+ 40 = 65 is over the 64 positions of bert"):
        make_run(backbone, data, spec("0", m=20), spec("1", m=25, s=40))


def test_without_dev_rows_the_last_checkpoint_is_taken(backbone: Backbone, data: dict[str, SlotData]) -> None:
    """Its companion in the pack is chosen by dev as ever, and its numbers are those of training alone."""
    sets = {**data, "blind": replace(data["pairs"], dev=None)}
    run = make_run(backbone, sets, spec("0", data="blind"), spec("1"), keep=True)
    last = {report.spec.key: report for call in run_through(run) for report in call}
    blind = last["0"]
    assert (blind.status, blind.step, blind.best_step) == ("finished", 6, 6)
    assert blind.dev is None
    assert blind.best is None
    assert last["1"].best is not None
    assert blind.final is not None
    assert blind.final.test is not None

    alone = make_run(backbone, data, spec("0", data="pairs", eval_every=1))
    run_through(alone)
    (slot,) = alone.pack.slots
    assert all(
        torch.allclose(blind.final.tensors[name], tensor.detach().float(), rtol=0, atol=1e-6)
        for name, tensor in slot.params.items()
    )


def test_without_dev_rows_a_start_is_tested_as_it_is(backbone: Backbone, data: dict[str, SlotData]) -> None:
    run = make_run(backbone, {"pairs": replace(data["pairs"], dev=None)}, spec("0", steps=0), keep=True)
    ((report,),) = run_through(run)
    assert (report.status, report.best_step) == ("finished", 0)
    assert report.final is not None
    assert report.final.test is not None
