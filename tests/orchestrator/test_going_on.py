"""Real packs that are killed with -9, or for which there is no memory, go on to the same numbers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.cluster import Workers, connect
from orchestrator.packs import run_packs
from orchestrator.worker import BackboneRunner, PackPlan
from pipelines.backbone import load_backbone
from pipelines.checkpoint import PackState
from pipelines.memory import FEWEST_TOKENS
from pipelines.run import Job, PackRun, Report
from pipelines.spec import SlotSpec
from tests.orchestrator.test_packs import Log
from tests.pipelines.tiny import build_model, build_tokenizer, toy_data, toy_spec

pytestmark = pytest.mark.timeout(300)

SPECS = tuple(
    toy_spec(key=f"{config}/0", config=config, data=f"{config}", steps=12, eval_every=4, seed=config, batch=3)
    for config in range(2)
)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with connect(None, 2) as found:
        yield Workers(1, 1, found.gpus)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("bert")
    build_model("bert").save_pretrained(folder)
    build_tokenizer("encoder").save_pretrained(folder)
    backbone = load_backbone(str(folder), dtype=torch.float32)
    data = {spec.data: toy_data(backbone, rows=10, seed=spec.seed, test=4) for spec in SPECS}
    return Job(str(folder), backbone.info.fingerprint, data, dtype="float32")


@dataclass
class StepByStep:
    """A pack that takes one step a call, notes it in a file, and is killed before some of them, once each."""

    run: PackRun
    folder: Path
    deaths: tuple[int, ...]

    @property
    def done(self) -> bool:
        return self.run.done

    @property
    def steps(self) -> int:
        return self.run.steps

    def advance(self, seconds: float) -> list[Report]:
        key = self.run.pack.slots[0].spec.key.replace("/", "-")
        step = self.run.pack.slots[0].step
        mark = self.folder / f"{key}-{step}"
        if step in self.deaths and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with (self.folder / "steps").open("a") as file:
            file.write(f"{key} {step}\n")
        return self.run.advance(0)

    def state(self) -> PackState:
        return self.run.state()

    def restore(self, state: PackState) -> None:
        self.run.restore(state)


class Mortal(BackboneRunner):
    def __init__(self, job: Job, folder: Path, deaths: tuple[int, ...]) -> None:
        super().__init__(job, threads=1)
        self.folder = folder
        self.deaths = deaths

    def __call__(self, specs: Sequence[SlotSpec], keep: bool) -> Any:
        run = super().__call__(specs, keep)
        assert isinstance(run, PackRun)
        return StepByStep(run, self.folder, self.deaths)


@dataclass
class Keeping(Log):
    last: dict[str, Report] = field(default_factory=dict)
    checkpoints: list[bytes] = field(default_factory=list)

    def on_reports(self, reports: Sequence[Report]) -> None:
        super().on_reports(reports)
        self.last |= {report.spec.key: report for report in reports}

    def on_checkpoint(self, configs: Sequence[int], data: bytes) -> None:
        self.checkpoints.append(data)


def results(last: dict[str, Report]) -> dict[str, Any]:
    assert last.keys() == {spec.key for spec in SPECS}
    return {
        key: (repr((r.loss, r.best, r.final.test)), {name: t.numpy().tobytes() for name, t in r.final.tensors.items()})
        for key, r in last.items()
        if r.final
    }


def undisturbed(job: Job) -> dict[str, Report]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = PackRun(load_backbone(job.backbone, dtype=torch.float32), SPECS, job, keep=True)
    last: dict[str, Report] = {}
    while not run.done:
        last |= {report.spec.key: report for report in run.advance()}
    torch.set_num_threads(threads)
    return last


def test_a_worker_killed_twice_repeats_at_most_a_step_each_time(job: Job, workers: Workers, tmp_path: Path) -> None:
    log = Keeping([[PackPlan(SPECS, keep=True)]])
    run_packs(log, Mortal(job, tmp_path, (5, 6)), workers, checkpoint_every=0.0)
    assert log.failed == {}
    assert len(list(tmp_path.glob("0-0-*"))) == 2
    assert results(log.last) == results(undisturbed(job))
    assert log.steps == 24
    taken = (tmp_path / "steps").read_text().splitlines()
    assert len(taken) <= 13 + 2  # the start's evaluation and 12 steps, and at most one again for each death
    assert len(log.checkpoints) >= 11


class Crowded(BackboneRunner):
    """Has memory for the passes of one slot alone, however few rows they have."""

    def __call__(self, specs: Sequence[SlotSpec], keep: bool) -> Any:
        run = super().__call__(specs, keep)
        assert isinstance(run, PackRun)
        if len(specs) > 1:
            run.pack.family = NoRoom()  # type: ignore[assignment]
        return run


class NoRoom:
    """Every pass is too large."""

    def scores(self, *_: Any) -> Any:
        raise torch.OutOfMemoryError("no room for a row")


def test_a_pack_without_room_for_a_row_is_split(job: Job, workers: Workers) -> None:
    log = Keeping([[PackPlan(SPECS, keep=True)]])
    run_packs(log, Crowded(job, threads=1), workers)
    assert log.failed == {}
    # other passes than in one pack, so the same but for rounding
    for key, found in undisturbed(job).items():
        mine, alone = log.last[key].final, found.final
        assert mine
        assert alone
        for name, tensor in alone.tensors.items():
            torch.testing.assert_close(mine.tensors[name], tensor, rtol=1e-3, atol=1e-4)
    halved, split = log.warnings[:-1], log.warnings[-1]
    assert halved[0] == "out of memory: going on with 512 tokens in a pass"
    assert halved[-1] == f"out of memory: going on with {FEWEST_TOKENS} tokens in a pass"
    assert "a pack of 2 configurations crashed and runs again" in split
    assert "out of memory with 2 slots and one row in a pass (no room for a row)" in split
