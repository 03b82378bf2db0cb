"""The Optuna study: what comes first, what it is told, what a budget derives."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from orchestrator.outcomes import Outcomes
from orchestrator.search import Budget, Choice, Range, Search, Space, Start
from pipelines.halving import Halving
from pipelines.run import Job, PackRun, Report
from pipelines.slot import Quality, Status
from pipelines.spec import SlotSpec
from tests.orchestrator.test_packs import spec
from tests.pipelines.tiny import Tiny, toy_data, toy_spec

STARTS = (Start("scratch", 20, 16), Start("dept-minilm-mnli/3", 10, 8))


def space(**changes: object) -> Space:
    usual = {
        "starts": STARTS,
        "m": Range(5, 20, 40),
        "r": Range(4, 16, 32),
        "alpha1": Range.around(0.05, 50, 3),
        "alpha2": Range.around(1e-3, 50, 3),
    }
    return Space(**(usual | changes))  # type: ignore[arg-type]


def report(config: int, seed: int, status: Status, score: float, step: int) -> Report:
    quality = Quality(score, -0.5)
    slot: SlotSpec = spec(config, seed)
    return Report(slot, step, status, 0.1, quality, quality, step)


def test_published_settings_come_first_from_each_start_in_its_own_sizes() -> None:
    search = Search(space(), seed=0)
    assert [search.ask(i) for i in range(2)] == [
        Choice("scratch", 20, 16, 0.05, 1e-3),
        Choice("dept-minilm-mnli/3", 10, 8, 0.05, 1e-3),
    ]


def test_the_rest_lies_in_the_space_and_repeats_with_the_seed() -> None:
    def asked(seed: int) -> list[Choice]:
        search = Search(space(), seed)
        return [search.ask(i) for i in range(8)]

    choices = asked(3)
    assert choices == asked(3)
    assert choices != asked(4)
    for choice in choices:
        assert choice.start in {start.ref for start in STARTS}
        assert 5 <= choice.m <= 40
        assert 4 <= choice.r <= 32
        assert (type(choice.m), type(choice.r)) == (int, int)
        assert 0.001 <= choice.alpha1 <= 0.15
        assert 2e-5 <= choice.alpha2 <= 3e-3


def test_a_budget_derives_the_rank() -> None:
    search = Search(space(m=Range(5, 20, 100), r=Budget(rows=100, s=256, d=768)), seed=0)
    first = search.ask(0)
    assert (first.m, first.r) == (20, 60)
    for i in range(1, 6):
        choice = search.ask(i)
        assert choice.m * 768 + (256 + 768) * choice.r <= 76_800
        assert "r" not in search.study.trials[i].params


def test_what_is_fixed_stays_fixed() -> None:
    search = Search(space(m=Range.fixed(12), alpha1=Range.fixed(0.3)), seed=0)
    assert {(c.m, c.alpha1) for c in (search.ask(i) for i in range(5))} == {(12, 0.3)}


def test_outcomes_are_told_as_what_they_are() -> None:
    search, outcomes = Search(space(), seed=0), Outcomes()
    for config in range(4):
        search.ask(config)
        outcomes.expect(config, 2)
    outcomes.update([report(c, s, "training", 0.2 + 0.1 * c, 2) for c in range(4) for s in range(2)])
    outcomes.update([report(0, s, "finished", 0.5 + 0.2 * s, 4) for s in range(2)])
    outcomes.update([report(1, s, "dropped", 0.4, 4) for s in range(2)])
    outcomes.update([report(2, 0, "diverged", 0.4, 3), report(2, 1, "dropped", 0.4, 3)])
    outcomes[3].reason = "the worker process died"
    search.tell([outcomes[c] for c in (2, 0, 3, 1)])
    trials = search.study.trials
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL,
    ]  # fmt: skip
    objective = Quality(0.6, -0.5).objective
    assert trials[0].value == pytest.approx(objective)
    assert trials[0].intermediate_values == pytest.approx({2: Quality(0.2, -0.5).objective, 4: objective})
    assert trials[1].value == pytest.approx(Quality(0.4, -0.5).objective)
    assert isinstance(search.study.sampler, optuna.samplers.TPESampler)


def test_the_objective_ranks_by_score_then_likelihood() -> None:
    worse, tied, better = Quality(0.5, -0.2), Quality(0.5, -0.1), Quality(0.5625, -3.0)
    assert worse < tied < better
    assert worse.objective < tied.objective < better.objective


def test_a_pack_with_halving_is_told_as_it_went(tiny: Tiny) -> None:
    """Real slots, two draws each: the study's states, last values and steps are those of the pack."""
    backbone = tiny("bert")
    data = {"0": toy_data(backbone), "1": toy_data(backbone, seed=1)}
    rates = [0.05, 0.02, 1e38, 0.01]  # the third diverges
    specs = [
        toy_spec(key=f"{c}/{seed}", config=c, data=str(seed), seed=seed, alpha1=rate, steps=8, eval_every=2)
        for c, rate in enumerate(rates)
        for seed in range(2)
    ]
    run = PackRun(backbone, specs, Job("tiny", "", data, halving=Halving.over(8, 2)), keep=False)
    search, outcomes = Search(space(), seed=0), Outcomes()
    for config in range(4):
        search.ask(config)
        outcomes.expect(config, 2)
    while not run.done:
        outcomes.update(run.advance())
    search.tell([outcomes[config] for config in range(4)])
    trials = search.study.trials
    assert trials[2].state == TrialState.FAIL
    states = [trials[config].state for config in (0, 1, 3)]
    assert sorted(state.name for state in states) == ["COMPLETE", "PRUNED", "PRUNED"]
    for config in (0, 1, 3):
        slots = [slot for slot in run.pack.slots if slot.spec.config == config]
        assert len({slot.step for slot in slots}) == 1
        last = max(trials[config].intermediate_values)
        assert last == slots[0].step == (8 if trials[config].state == TrialState.COMPLETE else last)
        best = [slot.best.quality.objective for slot in slots if slot.best]
        assert trials[config].value == pytest.approx(sum(best) / 2, abs=1e-12)
        assert trials[config].intermediate_values[last] == trials[config].value
    assert len({trials[config].value for config in (0, 1, 3)}) == 3  # the likelihood breaks ties
