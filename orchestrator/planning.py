"""What the planners of all commands share: reports become outcomes, MLflow runs and progress."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from rich.markup import escape

from orchestrator.outcomes import Outcome, Outcomes
from orchestrator.session import Session
from orchestrator.worker import Crash, PackPlan
from pipelines.checkpoint import PackState
from pipelines.run import Report
from pipelines.spec import SlotSpec

log = logging.getLogger(__name__)


class RecordedPlanner(ABC):
    """A planner whose configurations are each a run in MLflow."""

    def __init__(self, running: Session[Any]) -> None:
        self.recorder = running.recorder
        self.live = live = running.live
        self.checkpoints = running.checkpoints
        self.outcomes = Outcomes()
        self.failures: dict[str, str] = {}
        self._names: dict[int, str] = {}
        self.recorder.heartbeat.progress = lambda: (live.done, live.total, live.best)

    @abstractmethod
    def generation(self) -> Sequence[PackPlan]:
        """The next packs; none when the work is done."""

    def replays(self, plan: PackPlan) -> bool:
        """Whether a pack that had ended before the command was cut off need not be trained again."""
        return True

    @abstractmethod
    def on_end(self, outcome: Outcome) -> None:
        """A configuration has finished on all its seeds, or was pruned."""

    def next_generation(self) -> Sequence[PackPlan]:
        """The next packs, less those whose end is on record.

        A pack is trained again as a whole unless all of it had ended: halving compares the configurations of a pack.
        """
        while plans := self.generation():
            if left := [plan for plan in plans if not self._replay(plan)]:
                return [replace(plan, saved=(*plan.saved, *self._saved(plan))) for plan in left]
        return []

    def _saved(self, plan: PackPlan) -> tuple[bytes, ...]:
        """Where the pack stood when the command was cut off; nothing in a new command.

        What its slots reported then, this process was not told.
        """
        saved = self.checkpoints.newest(plan.configs)
        if saved:
            log.info("%s: going on from checkpoints", ", ".join(self.name(config) for config in plan.configs))
        return tuple(PackState.parse(data).untold().dump() for data in saved)

    def _replay(self, plan: PackPlan) -> bool:
        records = {config: self.recorder.outcome(config) for config in plan.configs}
        if not self.replays(plan) or not all(records.values()):
            return False
        for config, record in records.items():
            outcome = Outcome.recorded(config, [spec for spec in plan.specs if spec.config == config], record or {})
            self.outcomes.put(outcome)
            if outcome.state == "failed":
                self._fail(outcome)
            else:
                self.live.finished(config, outcome.state)
                self.on_end(outcome)
        self.live.advance(0, skipped=plan.steps)
        return True

    def launch(
        self, config: int, name: str, specs: Sequence[SlotSpec], params: Mapping[str, Any], tags: Mapping[str, Any]
    ) -> None:
        """A configuration is about to be trained."""
        self._names[config] = name
        self.outcomes.expect(config, len(specs))
        self.live.launched(config, name, specs[0].steps, len(specs))
        self.recorder.start(config, name, params, tags)

    def on_reports(self, reports: Sequence[Report]) -> None:
        """Log an evaluation and close the configurations that ended with it."""
        for outcome in self.outcomes.update(reports):
            self.recorder.metrics(outcome.config, outcome.step, _metrics(outcome))
            if outcome.chosen:
                self.live.evaluated(outcome.config, outcome.step, outcome.dev_score)
            if outcome.state == "failed":
                outcome.reason = "the loss or its gradient became infinite or NaN: lower the learning rates"
                self._fail(outcome)
            elif outcome.state != "training":
                self.live.finished(outcome.config, outcome.state)
                self.on_end(outcome)

    def on_placed(self, plan: PackPlan, node: str) -> None:
        """Note where configurations train."""
        for config in plan.configs:
            self.recorder.tag(config, "node", node)

    def on_failure(self, plan: PackPlan, crash: Crash) -> None:
        """A configuration's worker crashed for good."""
        (config,) = plan.configs
        self.outcomes[config].reason = crash.reason
        self.recorder.attach(config, "traceback.txt", crash.traceback)
        self._fail(self.outcomes[config])

    def on_checkpoint(self, configs: Collection[int], data: bytes) -> None:
        """Keep it."""
        self.checkpoints.save(configs, data)

    @abstractmethod
    def on_results(self, configs: Collection[int], data: bytes) -> None:
        """A pack of a search has ended; a planner that searches keeps the best of it."""

    def on_warning(self, text: str) -> None:
        """Say what a worker warned of."""
        log.warning(text)

    def on_progress(self, steps: int, skipped: int = 0) -> None:
        """Move the bar."""
        self.live.advance(steps, skipped)

    def name(self, config: int) -> str:
        """What a configuration is called."""
        return self._names[config]

    def _fail(self, outcome: Outcome) -> None:
        config, name = outcome.config, self.name(outcome.config)
        if name not in self.failures:
            self.failures[name] = reason = outcome.reason or "unknown"
            self.live.finished(config, "failed")
            self.live.say(f"[red]{escape(name)} failed[/red]: {escape(reason)}")
            self.recorder.finish(config, "failed", reason, outcome=outcome.record())


def _metrics(outcome: Outcome) -> dict[str, float]:
    reports = [report for report in outcome.reports if report.dev]
    if not reports:
        return {}
    values = {
        "dev_score": fmean(r.dev.score for r in reports if r.dev),
        "dev_log_likelihood": fmean(r.dev.log_likelihood for r in reports if r.dev),
        "objective": outcome.objective,
    }
    if outcome.step:
        values["train_loss"] = fmean(report.loss for report in reports)
    return values
