"""Training that was cut off goes on to the same numbers, bit by bit."""

from __future__ import annotations

import json
import math
import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.backbone import Backbone, load_backbone
from pipelines.checkpoint import PackState, read_header
from pipelines.errors import PipelineError
from pipelines.halving import Halving
from pipelines.pack import Pack
from pipelines.run import Job, PackRun, Report
from pipelines.slot import Slot, batches
from pipelines.spec import SlotSpec
from tests.pipelines.test_run import run_through, summary
from tests.pipelines.tiny import FAMILY_KINDS, Tiny, TinyFolder, toy_data, toy_slot, toy_spec

MIXED = (
    toy_spec(key="0/0", data="pairs", steps=9, eval_every=2, batch=5),
    toy_spec(key="0/1", data="pairs", steps=9, eval_every=2, batch=5, seed=1),
    toy_spec(key="1/0", config=1, data="singles", m=5, r=0, steps=9, eval_every=3, alpha1=1.0, patience=1),
    toy_spec(key="2/0", config=2, data="pairs", m=0, r=3, steps=4, eval_every=4, seed=2),
    toy_spec(key="3/0", config=3, data="singles", steps=9, eval_every=9, alpha1=1e37, alpha2=1e37, head_lr=1e37),
    toy_spec(key="4/0", config=4, data="singles", steps=9, eval_every=2, alpha1=0.0, alpha2=0.0, head_lr=0.0),
)
"""Slots that go their own ways: one stops early, one is short, one diverges, one is dropped at the rung."""


def make_run(backbone: Backbone, specs: Sequence[SlotSpec] = MIXED, *, keep: bool = False) -> PackRun:
    data = {
        "pairs": toy_data(backbone, classes=3, rows=12, test=7),
        "singles": toy_data(backbone, form="single", rows=8, seed=1, test=3),
    }
    job = Job("tiny", backbone.info.fingerprint, data, halving=Halving((2,)))
    return PackRun(backbone, specs, job, keep=keep)


def numbers(run: PackRun) -> list[Any]:
    """All that is left of a run, down to the bits."""
    return [
        (slot.spec.key, repr(slot.state().values), {n: t.numpy().tobytes() for n, t in slot.state().tensors.items()})
        for slot in run.pack.slots
    ]


@pytest.fixture(scope="module", params=FAMILY_KINDS)
def backbone(request: pytest.FixtureRequest, tiny_folder: TinyFolder) -> Backbone:
    return load_backbone(str(tiny_folder(request.param)), dtype=torch.float32)


@pytest.mark.parametrize("keep", [False, True])
def test_cut_off_anywhere_a_pack_ends_the_same(backbone: Backbone, keep: bool) -> None:
    """At a deadline of 0 a call is a step, so the pack is cut off after every one of them."""
    whole = make_run(backbone, keep=keep)
    expected = run_through(whole, seconds=0)
    ends = {slot.status for slot in whole.pack.slots}
    assert ends >= {"finished"} | ({"diverged"} if backbone.info.family == "encoder" else set())
    assert keep or "dropped" in ends
    told = [[summary(report) for report in call] for call in expected]
    end = numbers(whole)
    for cut in range(len(expected)):
        first = make_run(backbone, keep=keep)
        for _ in range(cut):
            first.advance(0)
        data = first.state().dump()
        run_through(first, seconds=0)  # the one that goes on takes nothing from what was saved
        second = make_run(backbone, keep=keep)
        second.restore(PackState.parse(data))
        assert [[summary(r) for r in call] for call in run_through(second, seconds=0)] == told[cut:]
        assert numbers(second) == end


@pytest.mark.parametrize("keep", [False, True])
def test_who_was_told_nothing_is_told_how_every_slot_ended(backbone: Backbone, keep: bool) -> None:
    """A resumed command has a new driver, which knows of no report."""
    calls = run_through(make_run(backbone, keep=keep), seconds=0)
    for cut in (1, len(calls) // 2, len(calls) - 1):
        first = make_run(backbone, keep=keep)
        for _ in range(cut):
            first.advance(0)
        second = make_run(backbone, keep=keep)
        second.restore(PackState.parse(first.state().dump()).untold())
        assert ends(run_through(second, seconds=0)) == ends(calls)


def ends(calls: Sequence[Sequence[Report]]) -> dict[str, Any]:
    """How each slot ended, by its last report."""
    last = {report.spec.key: report for call in calls for report in call}
    return {
        key: (r.step, r.status, r.best, r.best_step, r.final and (r.final.test, r.final.tensors["prompt"].tolist()))
        for key, r in last.items()
    }


def test_in_another_process(tiny_folder: TinyFolder, tmp_path: Path) -> None:
    """All that travels is the file."""
    folders = {kind: tiny_folder(kind) for kind in FAMILY_KINDS}
    expected = {}
    for kind, folder in folders.items():
        whole = make_run(load_backbone(str(folder), dtype=torch.float32))
        for _ in range(5):
            whole.advance(0)
        (tmp_path / kind).write_bytes(whole.state().dump())
        calls = run_through(whole, seconds=0)
        expected[kind] = ([[summary(report) for report in call] for call in calls], numbers(whole))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply_async(_go_on, (folders, tmp_path)).get(timeout=120)
    assert found == expected


def _go_on(folders: dict[str, Path], saved: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    found = {}
    for kind, folder in folders.items():
        run = make_run(load_backbone(str(folder), dtype=torch.float32))
        run.restore(PackState.parse((saved / kind).read_bytes()))
        calls = run_through(run, seconds=0)
        found[kind] = ([[summary(report) for report in call] for call in calls], numbers(run))
    return found


@pytest.mark.parametrize("kind", FAMILY_KINDS)
def test_in_float64(tiny: Tiny, kind: str) -> None:
    def slots() -> list[Slot]:
        return [
            toy_slot(tiny(kind), spec, toy_data(tiny(kind), form=form))
            for form, spec in (("pair", replace(MIXED[0], alpha1=0.01)), ("single", MIXED[2]))
        ]

    whole = slots()
    pack = Pack(tiny(kind), whole)
    pack.judge(whole)
    saved = []
    while pack.training:
        saved.append([slot.state() for slot in whole])
        pack.step()
    assert len(saved) == 9
    for states in saved:
        again = slots()
        for slot, state in zip(again, states, strict=True):
            assert all(t.dtype in (torch.float64, torch.float32) for t in state.tensors.values())
            slot.restore(state)
        pack = Pack(tiny(kind), again)
        while pack.training:
            pack.step()
        for one, other in zip(again, whole, strict=True):
            assert repr(one.state().values) == repr(other.state().values)
            assert all(torch.equal(t, other.state().tensors[n]) for n, t in one.state().tensors.items())


def test_half_a_pack_goes_on_from_its_part(backbone: Backbone) -> None:
    """Packed equals alone up to rounding, so a half ends as it would have ended in the whole."""
    specs = [replace(spec, alpha1=0.01, alpha2=0.01, patience=0) for spec in MIXED[:4]]
    whole = make_run(backbone, specs, keep=True)
    for _ in range(4):
        whole.advance(0)
    saved = PackState.parse(whole.state().dump())
    run_through(whole)
    half = make_run(backbone, specs[:2], keep=True)
    half.restore(saved)
    assert half.steps == 6
    run_through(half)
    for one, other in zip(half.pack.slots, whole.pack.slots[:2], strict=True):
        assert one.best
        assert other.best
        assert one.best.quality.objective == pytest.approx(other.best.quality.objective, abs=1e-4)


def test_results_of_a_search_are_tested_by_another_pack_as_they_are(backbone: Backbone) -> None:
    searched = make_run(backbone)
    run_through(searched)
    results = PackState.parse(searched.results({}).dump())
    slots = searched.pack.slots
    unfinished = {slot.spec.config for slot in slots if slot.status != "finished"}
    finished = {slot.spec.key: slot for slot in slots if slot.spec.config not in unfinished}
    assert set() < results.slots.keys() == finished.keys() < {spec.key for spec in MIXED}
    for config in {slot.spec.config for slot in finished.values()}:
        own = {key: slot.best for key, slot in finished.items() if slot.spec.config == config}
        mean = fmean(best.quality.objective for best in own.values() if best and best.quality)
        assert not own.keys() & searched.results({config: mean}).slots.keys()
        assert own.keys() <= searched.results({config: math.nextafter(mean, -1)}).slots.keys()
    others = {key: replace(slot.spec, key=f"9/{key}", config=9) for key, slot in finished.items()}
    tested = make_run(backbone, list(others.values()), keep=True)
    tested.restore(results.as_others(others))
    reports = {report.spec.key: report for report in tested.advance()}
    assert tested.done
    for key, slot in finished.items():
        report = reports[others[key].key]
        assert slot.best
        assert report.final
        assert (report.step, report.best_step, report.best) == (slot.step, slot.best.step, slot.best.quality)
        assert report.final.test
        assert all(torch.equal(tensor, report.final.tensors[name]) for name, tensor in slot.best.tensors.items())


def test_slots_without_a_state_begin_at_their_start(backbone: Backbone) -> None:
    first = make_run(backbone, MIXED[:1])
    first.advance()
    first.advance()
    both = make_run(backbone, MIXED[:2])
    both.restore(first.state())
    assert [(r.spec.key, r.step) for r in both.advance()] == [("0/1", 0)]
    assert [(r.spec.key, r.step) for r in both.advance()] == [("0/0", 4), ("0/1", 2)]


def test_what_ended_is_not_told_again(backbone: Backbone) -> None:
    run = make_run(backbone)
    run_through(run)
    again = make_run(backbone)
    again.restore(run.state())
    assert again.done
    assert again.advance() == []
    assert again.steps == run.steps


def test_a_state_of_another_slot_is_refused(backbone: Backbone) -> None:
    run = make_run(backbone, MIXED[:1])
    run.advance()
    with pytest.raises(PipelineError, match="of another slot than '0/0'"):
        make_run(backbone, [replace(MIXED[0], alpha1=0.1)]).restore(run.state())
    state = run.state().slots["0/0"]
    lacking = replace(state, tensors={name: t for name, t in state.tensors.items() if name != "A"})
    with pytest.raises(PipelineError, match=r"lacks the tensors \['A'\]"):
        make_run(backbone, MIXED[:1]).restore(PackState({"0/0": lacking}, frozenset()))
    more = replace(state, values={**state.values, "rows": 13})
    with pytest.raises(PipelineError, match="13 training rows"):
        make_run(backbone, MIXED[:1]).restore(PackState({"0/0": more}, frozenset()))


def test_bytes_are_plain_safetensors_and_strictly_read(backbone: Backbone) -> None:
    run = make_run(backbone, MIXED[:2])
    run.advance()
    run.advance()
    data = run.state().dump()
    assert data == run.state().dump()
    assert [slot["key"] for slot in read_header(data)["slots"]] == ["0/0", "0/1"]
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert {"0/prompt", "0/optimizer/A/exp_avg", "1/best/B"} <= header.keys()
    for broken in (
        b"",
        b"abc",
        data[:100],
        data[:-1],
        b"\x80\x04K\x01.",
        data.replace(b"checkpoint-1", b"checkpoint-9"),
    ):
        with pytest.raises(PipelineError):
            PackState.parse(broken)


def test_values_survive_exactly() -> None:
    state = PackState({}, frozenset({"a", "b"}))
    assert PackState.parse(state.dump()) == state
    loss = json.loads(json.dumps({"loss": math.nan}))["loss"]
    assert math.isnan(loss)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 5), st.integers(0, 100))
def test_batches_passed_over(rows: int, batch: int, seed: int, start: int) -> None:
    whole = list(islice(batches(rows, batch, seed), start + 10))
    assert list(islice(batches(rows, batch, seed, start), 10)) == whole[start:]
