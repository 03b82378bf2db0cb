"""One source trained by N workers of this machine together, which have as many threads as one worker alone.

    python -m tests.bench.parallel [--backbone minilm] [--processes 1,2] [--steps 60] [--rounds 3]

Synthetic rows of about 35 tokens, a batch of 32, an evaluation on 500 rows every 20 steps. Seconds from the first
evaluation's report to the last one's, so without start-up; medians of rounds taken in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import psutil

from orchestrator.cluster import connect
from orchestrator.packs import run_packs
from orchestrator.parallel import GroupRunner
from orchestrator.worker import BackboneRunner, PackPlan
from pipelines.backbone import describe_backbone
from pipelines.recipes import RECIPES, choose_shape
from pipelines.run import Job, Report
from pipelines.spec import SlotData, SlotSpec
from pipelines.synthetic import synthetic_rows
from tests.orchestrator.test_packs import Log

MEAN, BATCH, EVERY, DEV, S = 35, 32, 20, 500, 128


@dataclass
class Clock(Log):
    """Notes when reports come in."""

    times: list[float] = field(default_factory=list)

    def on_reports(self, reports: Sequence[Report]) -> None:
        super().on_reports(reports)
        self.times.append(time.perf_counter())


def measure(backbone: str, processes: int, steps: int) -> float:
    """Seconds for the steps and their evaluations."""
    info = describe_backbone(backbone)
    shape, recipe = choose_shape(info, s=S, m=None, r=None, budget=None), RECIPES[info.family]
    spec = SlotSpec(
        key="0", config=0, task="synthetic", data="synthetic", start="scratch", m=shape.m, r=shape.r, s=S, gamma=1.0,
        alpha1=recipe.alpha1 * info.embedding_rms, alpha2=recipe.alpha2, head_lr=recipe.head_lr, steps=steps,
        batch=BATCH, eval_every=EVERY, seed=0,
    )  # fmt: skip
    draw = np.random.default_rng(0)
    train, dev = (synthetic_rows(draw.poisson(MEAN, rows).clip(4, S - 8), seed=rows) for rows in (4000, DEV))
    words = () if info.family == "encoder" else ((17,), (23,))
    data = SlotData(train=train, dev=dev, labels=("a", "b"), metrics=("accuracy",), segments=1, words=words)
    planner = Clock([[PackPlan((spec,))]])
    with connect(None, 1, processes) as workers:
        runner = GroupRunner if processes > 1 else BackboneRunner
        run_packs(planner, runner(Job(backbone, info.fingerprint, {"synthetic": data}), workers.threads), workers)
    assert not planner.failed, planner.failed
    return planner.times[-1] - planner.times[0]


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--backbone", default="minilm")
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    took: dict[int, list[float]] = {int(number): [] for number in options.processes.split(",")}
    for _ in range(options.rounds):
        for processes, seconds in took.items():
            seconds.append(measure(options.backbone, processes, options.steps))
            print(f"{processes} workers: {seconds[-1]:.1f} s", flush=True)
    cpus = psutil.cpu_count()
    first = median(next(iter(took.values())))
    for processes, seconds in took.items():
        what = f"{options.steps} steps and {options.steps // EVERY} evaluations"
        ratio = first / median(seconds)
        print(
            f"{options.backbone}, {cpus} CPUs, {processes} workers: {median(seconds):.1f} s for {what}, x {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
