"""Packs on a real local Ray: order, crashes, kills."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from orchestrator.cluster import Workers, connect
from orchestrator.packs import run_packs
from orchestrator.worker import Crash, PackPlan
from pipelines.checkpoint import PackState, SlotState
from pipelines.run import Report
from pipelines.slot import Quality
from pipelines.spec import SlotSpec

pytestmark = pytest.mark.timeout(180)


def spec(config: int, seed: int = 0) -> SlotSpec:
    return SlotSpec(
        key=f"{config}/{seed}", config=config, task="t", data="d", start="scratch", m=1, r=1, s=8, gamma=1.0,
        alpha1=0.1, alpha2=0.1, head_lr=0.1, steps=4, batch=1, eval_every=2, seed=seed,
    )  # fmt: skip


@dataclass
class StubRun:
    """Pretends to train: a configuration's score is its number; some crash."""

    specs: Sequence[SlotSpec]
    raising: frozenset[int]
    dying: frozenset[int]
    dying_once: Path | None
    steps: int = 0
    done: bool = False

    def advance(self, seconds: float) -> list[Report]:
        configs = {s.config for s in self.specs}
        if configs & self.raising:
            raise RuntimeError("the loss function is broken")
        if configs & self.dying:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.dying_once and not self.dying_once.exists():
            self.dying_once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps += 2 * len(self.specs)
        self.done = self.steps >= sum(s.steps for s in self.specs)
        quality = [Quality(float(s.config), -1.0) for s in self.specs]
        return [
            Report(s, self.steps // len(self.specs), "finished" if self.done else "training", 0.5, q, q, 0)
            for s, q in zip(self.specs, quality, strict=True)
        ]

    def results(self, floors: Mapping[int, float]) -> PackState:
        good = [s for s in self.specs if s.config > floors.get(s.config, -1)]
        return PackState({s.key: SlotState({}, {}) for s in good}, frozenset())


@dataclass
class StubRunner:
    raising: frozenset[int] = frozenset()
    dying: frozenset[int] = frozenset()
    dying_once: Path | None = None

    def __call__(self, specs: Sequence[SlotSpec], keep: bool) -> StubRun:
        return StubRun(specs, self.raising, self.dying, self.dying_once)


@dataclass
class Log:
    """A planner that runs generations given to it and notes what it is told."""

    generations: list[list[PackPlan]]
    finished: list[int] = field(default_factory=list)
    failed: dict[int, Crash] = field(default_factory=dict)
    placed: list[list[int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    results: list[tuple[list[int], list[str]]] = field(default_factory=list)
    steps: int = 0
    seen_when_asked: list[int] = field(default_factory=list)

    def next_generation(self) -> list[PackPlan]:
        self.seen_when_asked.append(len(self.finished) + len(self.failed))
        return self.generations.pop(0) if self.generations else []

    def on_reports(self, reports: Sequence[Report]) -> None:
        self.finished += [report.spec.config for report in reports if report.status == "finished"]

    def on_placed(self, plan: PackPlan, node: str) -> None:
        self.placed.append(plan.configs)

    def on_failure(self, plan: PackPlan, crash: Crash) -> None:
        (config,) = plan.configs
        self.failed[config] = crash

    def on_results(self, configs: Sequence[int], data: bytes) -> None:
        self.results.append((list(configs), sorted(PackState.parse(data).slots)))

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)

    def on_progress(self, steps: int, skipped: int = 0) -> None:
        self.steps += steps + skipped


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with connect(None, 2) as found:
        yield found


def plan(*configs: int) -> PackPlan:
    return PackPlan(tuple(spec(config) for config in configs))


def test_a_generation_is_in_before_the_next_is_asked_for(workers: Workers) -> None:
    """With the results of what a search can use; those of a pack whose slots are kept came with its reports."""
    log = Log([[plan(0, 1), replace(plan(2), floors={2: 2.0})], [replace(plan(3), keep=True)]])
    run_packs(log, StubRunner(), workers)
    assert sorted(log.finished) == [0, 1, 2, 3]
    assert log.seen_when_asked == [0, 3, 4]
    assert sorted(log.placed) == [[0, 1], [2], [3]]
    assert log.steps == 16
    assert log.results == [([0, 1], ["0/0", "1/0"])]


def test_an_exception_costs_only_the_configuration_that_raised_it(workers: Workers) -> None:
    log = Log([[plan(0, 1, 2, 3)]])
    run_packs(log, StubRunner(raising=frozenset({2})), workers)
    assert sorted(log.finished) == [0, 1, 3]
    assert log.failed.keys() == {2}
    assert log.failed[2].reason == "RuntimeError: the loss function is broken"
    assert "in advance" in log.failed[2].traceback
    assert log.steps == 16


def test_a_worker_that_dies_each_time_costs_only_its_configuration(workers: Workers) -> None:
    log = Log([[plan(0, 1)], [plan(2)]])
    run_packs(log, StubRunner(dying=frozenset({1})), workers)
    assert sorted(log.finished) == [0, 2]
    assert log.failed.keys() == {1}
    assert "the worker process died" in log.failed[1].reason


def test_a_worker_killed_once_is_replaced(workers: Workers, tmp_path: Path) -> None:
    log = Log([[plan(0)]])
    run_packs(log, StubRunner(dying_once=tmp_path / "killed"), workers)
    assert (tmp_path / "killed").exists()
    assert log.finished == [0]
    assert not log.failed


def test_split_keeps_seeds_of_a_configuration_together() -> None:
    whole = PackPlan(tuple(spec(config, seed) for config in (5, 7, 9) for seed in (0, 1)), keep=True)
    halves = whole.split()
    assert [half.configs for half in halves] == [[5], [7, 9]]
    assert all(half.keep for half in halves)
    assert sorted(s.key for half in halves for s in half.specs) == sorted(s.key for s in whole.specs)
    (single,) = halves[0].split()
    assert single == halves[0]
