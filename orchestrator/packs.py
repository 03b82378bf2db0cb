"""Runs packs on Ray Tune, one generation after another.

A Tune trial is a pack. Packs that run at once form a generation; what they found is in before the next generation is
asked for, so that a search repeats whatever finishes first. A pack that crashes is split in two and run again, until
the configuration at fault stands alone: a crash costs only the configuration that caused it. A pack whose process is
gone for the first time is run again as it was: a lost node or a killed worker is not its fault. What runs again goes
on from its last checkpoint, which came with a result.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.search import Searcher

from orchestrator.cluster import Workers
from orchestrator.remote import connected_by_client, run_from_afar
from orchestrator.scratch import scratch_folder
from orchestrator.worker import Crash, PackPlan, PackTrainable, StartPack
from pipelines.run import Report

ATTEMPTS = 2

log = logging.getLogger(__name__)


class Planner(Protocol):
    """Decides what is trained; knows nothing of Ray."""

    def next_generation(self) -> Sequence[PackPlan]:
        """The next packs, all of which may run at once; none when the work is done."""

    def on_reports(self, reports: Sequence[Report]) -> None:
        """Slots of one pack were evaluated, or ended."""

    def on_placed(self, plan: PackPlan, node: str) -> None:
        """A pack trains on the node with this IP address."""

    def on_failure(self, plan: PackPlan, crash: Crash) -> None:
        """A pack of one configuration crashed for good."""

    def on_checkpoint(self, configs: Collection[int], data: bytes) -> None:
        """The state of configurations under way, for when this process dies too."""

    def on_results(self, configs: Collection[int], data: bytes) -> None:
        """A pack of a search with these configurations has ended: those of them that are better than their floors."""

    def on_warning(self, text: str) -> None:
        """Something to look into, that stopped nothing."""

    def on_progress(self, steps: int, skipped: int = 0) -> None:
        """So many optimiser steps were done since the last call (fewer than none when a pack starts again), and so many
        need not be done any more.
        """


def run_packs(planner: Planner, start_pack: StartPack, workers: Workers, checkpoint_every: float = 60.0) -> None:
    """Train everything a planner asks for; a pack hands its state out every so many seconds."""
    if connected_by_client():
        run_from_afar(planner, start_pack, workers, checkpoint_every)
    else:
        tune_packs(planner, start_pack, workers, checkpoint_every)


def tune_packs(planner: Planner, start_pack: StartPack, workers: Workers, checkpoint_every: float) -> None:
    """The same, with Tune's controller in this process."""
    dispatcher = _Dispatcher(planner)
    trainable = tune.with_resources(
        tune.with_parameters(PackTrainable, start_pack=start_pack, checkpoint_every=checkpoint_every),
        tune.PlacementGroupFactory(
            [{"CPU": workers.threads, **({"GPU": workers.gpus} if workers.gpus else {})}] * workers.parallel
        ),
    )
    with scratch_folder("orchestrator-packs-") as folder:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_Generations(dispatcher),
                num_samples=-1,
                max_concurrent_trials=workers.count,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder),
                name="packs",
                verbose=0,
                callbacks=[_Listener(dispatcher)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # nodes share no disk
            ),
        ).fit()


class _Dispatcher:
    """Which pack runs where, and what to do with one that crashed."""

    def __init__(self, planner: Planner) -> None:
        self.planner = planner
        self.waiting: deque[PackPlan] = deque()
        self.running: dict[str, PackPlan] = {}
        self.steps: dict[str, int] = {}
        self.saved: dict[str, bytes] = {}
        self.crashes: dict[str, Crash] = {}
        self.placed: set[str] = set()
        self.failures: Counter[int] = Counter()
        self.finished = False

    def next_pack(self, trial: str) -> PackPlan | None:
        if not self.waiting and not self.running and not self.finished:
            self.waiting.extend(self.planner.next_generation())
            self.finished = not self.waiting
        if not self.waiting:
            return None
        self.running[trial] = plan = self.waiting.popleft()
        log.debug("pack %s: configurations %s, %d slots", trial, plan.configs, len(plan.specs))
        self.steps[trial] = 0
        return plan

    def on_result(self, trial: str, result: dict[str, Any]) -> None:
        for text in result["warnings"]:
            self.planner.on_warning(text)
        if crash := result.get("crash"):
            self.crashes[trial] = crash
            return
        if trial not in self.placed:
            self.placed.add(trial)
            self.planner.on_placed(self.running[trial], result["node_ip"])
        self._moved(trial, result["steps"])
        for reports in result["evaluations"].take() or ():
            if reports:
                self.planner.on_reports(reports)
        if data := result["checkpoint"].take() if "checkpoint" in result else None:
            # after the reports: what a checkpoint says was told, was told
            self.saved[trial] = data
            configs = self.running[trial].configs
            for config in configs:
                self.failures.pop(config, None)  # it came further since: a long run may lose many workers
            self.planner.on_checkpoint(configs, data)
        if data := result["results"].take() if "results" in result else None:
            self.planner.on_results(self.running[trial].configs, data)

    def on_complete(self, trial: str) -> None:
        if crash := self.crashes.pop(trial, None):
            self.on_crash(trial, crash)
        else:
            spared = self.running.pop(trial).steps - self.steps[trial]  # by early stopping and halving
            self.saved.pop(trial, None)
            self.planner.on_progress(0, skipped=spared)

    def on_crash(self, trial: str, crash: Crash, *, died: bool = False) -> None:
        plan = self.running.pop(trial)
        if data := self.saved.pop(trial, None):
            plan = replace(plan, saved=(data,))
        self._moved(trial, 0)
        self.failures.update(plan.configs)
        if len(plan.configs) == 1 and self.failures[plan.configs[0]] >= ATTEMPTS:
            self.planner.on_failure(plan, crash)
            self.planner.on_progress(0, skipped=plan.steps)
            return
        self.planner.on_warning(f"a pack of {len(plan.configs)} configurations crashed and runs again: {crash.reason}")
        if died and all(self.failures[config] == 1 for config in plan.configs):
            self.waiting.append(plan)
        else:
            self.waiting.extend(plan.split())

    def _moved(self, trial: str, steps: int) -> None:
        self.planner.on_progress(steps - self.steps[trial])
        self.steps[trial] = steps


class _NotInSnapshots:
    """Tune pickles what it was given into snapshots of its own; nothing of ours belongs there."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Generations(_NotInSnapshots, Searcher):  # type: ignore[misc]
    """Tune's view of the planner."""

    def __init__(self, dispatcher: _Dispatcher) -> None:
        super().__init__()
        self.dispatcher = dispatcher

    def suggest(self, trial_id: str) -> Any:
        plan = self.dispatcher.next_pack(trial_id)
        if plan is not None:
            return {"plan": replace(plan, saved=()), "saved": [ray.put(data) for data in plan.saved]}
        return Searcher.FINISHED if self.dispatcher.finished else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the listener is told, with the reason of an error."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a command that was cut off is not continued from Tune's own state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


class _Listener(_NotInSnapshots, tune.Callback):  # type: ignore[misc]
    """Hands Tune's events on."""

    def __init__(self, dispatcher: _Dispatcher) -> None:
        self.dispatcher = dispatcher

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.dispatcher.on_result(trial.trial_id, result)

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.dispatcher.on_complete(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        # exceptions come as results; what is left is a process that is gone
        reason = "the worker process died: it was killed, ran out of memory, or crashed in native code"
        self.dispatcher.on_crash(trial.trial_id, Crash(reason, Path(trial.error_file).read_text()), died=True)
