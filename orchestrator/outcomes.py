"""What is known of each configuration while its slots report, one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import nan
from statistics import fmean
from typing import Any, Literal

from pipelines.judging import AGREEMENT, UNREAD
from pipelines.run import Final, Report
from pipelines.slot import Quality
from pipelines.spec import SlotSpec

State = Literal["training", "finished", "pruned", "failed"]


@dataclass
class Outcome:
    """One configuration: the latest report of each of its slots (its seeds), and how its objective went.

    Attributes:
        config: The configuration's number.
        expected: How many slots it has.
        latest: Latest report by slot key.
        history: (step, mean objective so far) at each evaluation.
        reason: Why it failed, if it did.
    """

    config: int
    expected: int
    latest: dict[str, Report] = field(default_factory=dict)
    history: list[tuple[int, float]] = field(default_factory=list)
    reason: str | None = None

    @property
    def reports(self) -> list[Report]:
        """Latest reports, in the order of the seeds."""
        return [self.latest[key] for key in sorted(self.latest)]

    @property
    def state(self) -> State:
        """Finished only when every slot has finished."""
        states = {report.status for report in self.latest.values()}
        if self.reason or "diverged" in states:
            return "failed"
        if len(self.latest) < self.expected or "training" in states:
            return "training"
        return "pruned" if "dropped" in states else "finished"

    @property
    def step(self) -> int:
        """Steps of the slot that went furthest."""
        return max((report.step for report in self.latest.values()), default=0)

    @property
    def chosen(self) -> bool:
        """Whether dev rows chose the checkpoints; without, there is neither an objective nor a dev score."""
        return any(report.best for report in self.latest.values())

    @property
    def objective(self) -> float:
        """Mean over the slots of the objective of their best checkpoints."""
        return fmean(report.best.objective for report in self.latest.values() if report.best)

    @property
    def dev_score(self) -> float:
        """Mean over the slots of the dev metric of their best checkpoints."""
        qualities = [r.final.dev if r.final and r.final.dev else r.best for r in self.latest.values()]
        return fmean(quality.score for quality in qualities if quality)

    @property
    def test_scores(self) -> dict[int, float]:
        """Test metric of each slot that was tested, by seed."""
        return {r.spec.seed: r.final.test.score for r in self.reports if r.final is not None and r.final.test}

    @property
    def test_metrics(self) -> dict[str, float]:
        """Mean over the tested slots of every metric on test, by its name in a run: ``test_f1``, ..."""
        found = [r.final.metrics for r in self.reports if r.final is not None]
        names = dict.fromkeys(name for metrics in found for name in metrics)
        return {
            name if name in (AGREEMENT, UNREAD) else f"test_{name}": fmean(m[name] for m in found if name in m)
            for name in names
        }

    def record(self) -> dict[str, Any]:
        """All but tensors, as plain values; `recorded` reads it."""
        slots = {
            key: {
                "step": report.step,
                "status": report.status,
                "best": asdict(report.best) if report.best else None,
                "best_step": report.best_step,
                "test": asdict(report.final.test) if report.final and report.final.test else None,
                "metrics": dict(report.final.metrics) if report.final else {},
                "dev": asdict(report.final.dev) if report.final and report.final.dev else None,
            }
            for key, report in self.latest.items()
        }
        return {"slots": slots, "history": self.history, "reason": self.reason}

    @classmethod
    def recorded(cls, config: int, specs: Sequence[SlotSpec], record: Mapping[str, Any]) -> Outcome:
        """An outcome as it was recorded; its reports have no tensors."""
        outcome = cls(config, len(specs), reason=record["reason"])
        outcome.history = [(step, value) for step, value in record["history"]]
        for spec in specs:
            if slot := record["slots"].get(spec.key):
                test, dev = (Quality(**slot[name]) if slot[name] else None for name in ("test", "dev"))
                outcome.latest[spec.key] = Report(
                    spec=spec,
                    step=slot["step"],
                    status=slot["status"],
                    loss=nan,
                    dev=None,
                    best=Quality(**slot["best"]) if slot["best"] else None,
                    best_step=slot["best_step"],
                    final=Final({}, test, slot["metrics"], dev) if test else None,
                )
        return outcome


class Outcomes:
    """Configurations by number."""

    def __init__(self) -> None:
        self._by_config: dict[int, Outcome] = {}

    def __getitem__(self, config: int) -> Outcome:
        return self._by_config[config]

    def expect(self, config: int, slots: int) -> None:
        """A configuration of so many slots is about to be trained."""
        self._by_config[config] = Outcome(config, slots)

    def put(self, outcome: Outcome) -> None:
        """A configuration's outcome is known from before."""
        self._by_config[outcome.config] = outcome

    def update(self, reports: Iterable[Report]) -> list[Outcome]:
        """Take in the reports of an evaluation; returns the configurations they were about."""
        touched: dict[int, list[Report]] = defaultdict(list)
        for report in reports:
            touched[report.spec.config].append(report)
        outcomes = []
        for config, own in sorted(touched.items()):
            outcome = self._by_config[config]
            outcome.latest |= {report.spec.key: report for report in own}
            # a pack that crashed went back, to its last checkpoint or its start
            outcome.history = [(step, value) for step, value in outcome.history if step < outcome.step]
            if outcome.state != "failed" and all(report.best for report in outcome.latest.values()):
                outcome.history.append((outcome.step, outcome.objective))
            outcomes.append(outcome)
        return outcomes


def said_of_answers(metrics: Mapping[str, float]) -> str:
    """For a person: how far both ways of scoring agree, and how many generated answers were none."""
    words = {AGREEMENT: "likelihood and generation give the same class in", UNREAD: "answers that could not be read:"}
    return "".join(f"; {text} {metrics[name]:.1%}" for name, text in words.items() if name in metrics)
