"""Does halving find as good a configuration as training all of them to the end, and what does it save?

    python -m tests.bench.halving [--targets sst2,qqp] [--searches 5] [--first 0] [--trials 12] [--json FILE]

For each search: the same configurations, proposed by Optuna on the same rows in packs of 4, once all to the end and
once with halving as `orchestrator fewshot` has it; the configuration chosen by dev is trained again and tested. Printed
are the differences of the two test scores with Student's 95% interval over the searches, and the ratio of the passes:
rows through the backbone forward, and again backward, in training and in evaluations on dev. No Ray, no store.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from scipy.stats import t as student
from torch import Tensor

from orchestrator.bench.places import own_store
from orchestrator.outcomes import Outcomes
from orchestrator.search import Search
from orchestrator.settings import SCRATCH, FewshotSettings
from orchestrator.setup import set_up
from orchestrator.space import search_space
from pipelines.backbone import Backbone, load_backbone
from pipelines.encode import Batch
from pipelines.families import Embed, Family, SlotView
from pipelines.halving import Halving
from pipelines.run import Job, PackRun
from pipelines.spec import SlotSpec

PACK = 4


class Counted:
    """A family that counts rows: one for a forward pass, one more for the backward pass."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.passes = 0

    def losses(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        self.passes += 2 * len(batch.labels)
        return self.family.losses(backbone, batch, embed, slots)

    def scores(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        self.passes += len(batch.labels)
        return self.family.scores(backbone, batch, embed, slots)


@dataclass
class Arm:
    """One way to search: its passes, the optimiser steps of its slots, and the outcomes."""

    passes: int
    steps: int
    outcomes: Outcomes
    failed: int

    def leader(self, configs: Sequence[int]) -> int:
        """The configuration that the command would choose."""
        finished = [c for c in configs if self.outcomes[c].state == "finished"]
        return max(finished, key=lambda config: (self.outcomes[config].objective, -config))


def search(backbone: Backbone, job: Job, configs: Sequence[Sequence[SlotSpec]]) -> Arm:
    """Train configurations in packs, as the job's halving says."""
    arm = Arm(0, 0, Outcomes(), 0)
    for first in range(0, len(configs), PACK):
        pack = configs[first : first + PACK]
        for specs in pack:
            arm.outcomes.expect(specs[0].config, len(specs))
        run = PackRun(backbone, [spec for specs in pack for spec in specs], job, keep=False)
        run.pack.family = counted = Counted(run.pack.family)
        while not run.done:
            arm.outcomes.update(run.advance())
        arm.passes += counted.passes
        arm.steps += run.steps
    arm.failed = sum(arm.outcomes[specs[0].config].state == "failed" for specs in configs)
    return arm


def test_score(backbone: Backbone, job: Job, specs: Sequence[SlotSpec]) -> float:
    """Mean test score of a configuration over its draws, at its best checkpoints."""
    outcomes = Outcomes()
    outcomes.expect(specs[0].config, len(specs))
    run = PackRun(backbone, specs, job, keep=True)
    while not run.done:
        outcomes.update(run.advance())
    return statistics.fmean(outcomes[specs[0].config].test_scores.values())


def compare(backbone: Backbone, settings: FewshotSettings) -> dict[str, Any]:
    """One search in both ways."""
    setup = set_up(settings, [settings.target], Console(quiet=True))
    seeds = range(settings.seed, settings.seed + settings.seeds)
    task = setup.source.task(settings.target).name
    shape = setup.shapes[task]
    draws = setup.preparer.fewshot(task, shape.s, settings.k, seeds, per_class=False, dev="k", protocol="balanced")
    proposals = Search(search_space(setup, shape, draws[0].data.segments, SCRATCH, [], None), settings.seed)
    configs = []
    for config in range(settings.trials):
        choice = proposals.ask(config)
        configs.append(
            [
                setup.spec(
                    key=f"{config}/{seed}", config=config, task=task, data=str(seed), start=choice.start,
                    m=choice.m, r=choice.r, alpha1=choice.alpha1, alpha2=choice.alpha2, seed=seed,
                )
                for seed in seeds
            ]
        )  # fmt: skip
    data = {str(seed): draw.data for seed, draw in zip(seeds, draws, strict=True)}
    full = Job(backbone=settings.backbone, fingerprint=setup.info.fingerprint, data=data)
    halved = replace(full, halving=Halving.over(settings.steps, settings.eval_every))
    arms = {"full": search(backbone, full, configs), "halving": search(backbone, halved, configs)}
    found: dict[str, Any] = {"target": settings.target, "seed": settings.seed}
    scores: dict[int, float] = {}
    for name, arm in arms.items():
        chosen = arm.leader(range(settings.trials))
        if chosen not in scores:
            scores[chosen] = test_score(backbone, full, configs[chosen])
        found[name] = {"chosen": chosen, "test": scores[chosen], "passes": arm.passes, "steps": arm.steps}
    return found


def main() -> None:
    """Print and keep the numbers."""
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--targets", default="sst2,qqp")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="begin with this search; the JSON goes on from the file's")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--data", default="sample")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    backbone = load_backbone("minilm")
    found = json.loads(options.json.read_text())["searches"] if options.first else []
    with tempfile.TemporaryDirectory() as folder, own_store(Path(folder)):
        for target in options.targets.split(","):
            for number in range(options.first, options.searches):
                settings = FewshotSettings(
                    target=target, k=16, data=options.data, start=SCRATCH, trials=options.trials, seeds=options.seeds,
                    steps=options.steps, eval_every=max(1, options.steps // 5), seed=100 * number,
                )  # fmt: skip
                found.append(compare(backbone, settings))
                print(json.dumps(found[-1]), flush=True)
    gaps = [one["halving"]["test"] - one["full"]["test"] for one in found]
    ratio = sum(one["halving"]["passes"] for one in found) / sum(one["full"]["passes"] for one in found)
    mean, half = statistics.fmean(gaps), math.nan
    if len(gaps) > 1:
        half = statistics.stdev(gaps) / math.sqrt(len(gaps)) * float(student.ppf(0.975, len(gaps) - 1))
    print(f"halving less full: {mean:+.2%} ± {half:.2%} on the test rows, {len(gaps)} searches; passes {ratio:.1%}")
    if options.json:
        result = {"searches": found, "difference": mean, "half_width": half, "passes": ratio}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
