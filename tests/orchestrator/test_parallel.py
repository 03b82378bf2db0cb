"""Several real workers train a pack together, to one worker's numbers; one of them killed with -9, to their own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import psutil
import pytest
import ray
import torch

from orchestrator.cluster import Workers, connect
from orchestrator.packs import run_packs
from orchestrator.parallel import GroupRunner
from orchestrator.worker import PackPlan
from pipelines.backbone import load_backbone
from pipelines.run import Job, PackRun, Report
from tests.orchestrator.test_going_on import Keeping
from tests.pipelines.tiny import TinyFolder, toy_data, toy_spec

pytestmark = pytest.mark.timeout(300)

TOLERANCE = 1e-5
"""Slots train in float32; tests/pipelines/test_parallel.py compares in float64."""

SPECS = tuple(
    toy_spec(
        key=f"{config}/0",
        config=config,
        data=f"{config}",
        steps=300,
        eval_every=20,
        seed=config,
        batch=5 - 2 * config,
        alpha1=1e-3,
        alpha2=1e-3,
        head_lr=1e-3,
    )
    for config in range(2)
)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with connect(None, 1, parallel=2) as found:
        yield replace(found, threads=1)


@pytest.fixture(scope="module")
def job(tiny_folder: TinyFolder) -> Job:
    folder = str(tiny_folder("bert"))
    backbone = load_backbone(folder, dtype=torch.float64)
    data = {spec.data: toy_data(backbone, rows=10, seed=spec.seed, test=7) for spec in SPECS}
    return Job(folder, backbone.info.fingerprint, data, dtype="float64", attention="eager")


@pytest.fixture(scope="module")
def together(workers: Workers, job: Job) -> dict[str, Report]:
    """What two workers came to."""
    planner = Keeping([[PackPlan(SPECS, keep=True)]])
    run_packs(planner, GroupRunner(job, 1), workers)
    assert not planner.failed
    return planner.last


def test_two_workers_come_to_ones_numbers(job: Job, together: dict[str, Report]) -> None:
    backbone = load_backbone(job.backbone, dtype=torch.float64, attention=job.attention)
    alone = PackRun(backbone, SPECS, job, keep=True)
    expected: dict[str, Report] = {}
    while not alone.done:
        expected |= {report.spec.key: report for report in alone.advance(math.inf)}
    assert together.keys() == expected.keys()
    for key, report in together.items():
        by_one = expected[key]
        assert (report.step, report.status, report.best_step) == (by_one.step, by_one.status, by_one.best_step)
        assert report.final is not None
        assert by_one.final is not None
        assert report.loss == pytest.approx(by_one.loss, abs=TOLERANCE)
        for found, wanted in ((report.best, by_one.best), (report.final.test, by_one.final.test)):
            assert found is not None
            assert wanted is not None
            assert found.score == wanted.score
            assert found.log_likelihood == pytest.approx(wanted.log_likelihood, abs=TOLERANCE)
        assert report.final.metrics == pytest.approx(by_one.final.metrics, abs=TOLERANCE)
        for name, tensor in report.final.tensors.items():
            torch.testing.assert_close(tensor, by_one.final.tensors[name], rtol=0, atol=10 * TOLERANCE)


@dataclass
class Killing(Keeping):
    """Kills a worker with -9 once there is a checkpoint from half the way."""

    victim: str = ""
    killed: int = 0

    def on_checkpoint(self, configs: Sequence[int], data: bytes) -> None:
        super().on_checkpoint(configs, data)
        if not self.killed and all(report.step >= 100 for report in self.last.values()):
            (found,) = [
                process
                for process in psutil.Process().children(recursive=True)
                if self.victim in (process.cmdline() or [""])[0].removeprefix("ray::")
            ]
            found.kill()
            self.killed = found.pid


@pytest.mark.parametrize("victim", ["Member", "Trainable"])
def test_a_killed_worker_costs_no_number(workers: Workers, job: Job, together: dict[str, Report], victim: str) -> None:
    planner = Killing([[PackPlan(SPECS, keep=True)]], victim=victim)
    run_packs(planner, GroupRunner(job, 1), workers, checkpoint_every=0)
    assert planner.killed
    assert not planner.failed
    assert planner.last.keys() == together.keys()
    for key, report in planner.last.items():
        expected = together[key]
        assert report.final is not None
        assert expected.final is not None
        assert (report.loss, report.best, report.final.test) == (expected.loss, expected.best, expected.final.test)
        assert all(torch.equal(tensor, expected.final.tensors[name]) for name, tensor in report.final.tensors.items())


def test_what_failed_in_another_worker_is_said(workers: Workers, job: Job) -> None:
    folder = job.backbone

    def files() -> str:
        if "Member" in str(ray.get_runtime_context().get_task_name()):
            raise OSError("no space left on device")
        return folder

    planner = Keeping([[PackPlan(SPECS[:1], keep=True)]])
    run_packs(planner, GroupRunner(replace(job, files=files), 1), workers)
    (crash,) = planner.failed.values()
    assert "another process of the group failed: OSError: no space left on device" in crash.reason
