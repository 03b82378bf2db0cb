"""`orchestrator pretrain-source`: learn a prompt on each source task and store it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich.console import Console
from rich.table import Column, Table

from orchestrator.cards import store_slot
from orchestrator.errors import RunFailedError
from orchestrator.outcomes import Outcome, said_of_answers
from orchestrator.parallel import GroupRunner
from orchestrator.planning import RecordedPlanner
from orchestrator.prepare import Prepared
from orchestrator.recorder import KIND
from orchestrator.resumed import Resumed
from orchestrator.session import Goal, Session, session
from orchestrator.settings import PretrainSettings
from orchestrator.setup import Setup, set_up
from orchestrator.worker import BackboneRunner, PackPlan
from pipelines.methods.dept import parameter_count
from pipelines.run import Job
from pipelines.spec import SlotSpec
from prompts_store import StoredPrompt

EXPERIMENT = "pretrain-source"


def pretrain_source(settings: PretrainSettings, console: Console, resumed: Resumed | None = None) -> list[StoredPrompt]:
    """Train one slot for each source task and store the best checkpoint of each.

    Returns:
        What was stored, in the order of the tasks.

    Raises:
        RunFailedError: If a task failed; the others are stored.
    """
    setup = set_up(settings, settings.tasks, console)
    tasks = {name: setup.source.task(name).name for name in settings.tasks}
    prepared = {plain: setup.preparer.full(name, setup.shapes[plain].s, settings.seed) for name, plain in tasks.items()}
    setup.check_room([*prepared.values()])
    for note in (note for p in prepared.values() for note in p.notes):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    job = Job(
        backbone=settings.backbone,
        fingerprint=setup.info.fingerprint,
        data={name: p.data for name, p in prepared.items()},
    )
    goal = Goal(
        command=EXPERIMENT,
        experiment=EXPERIMENT,
        name=",".join(prepared),
        title="pretraining",
        digests={name: p.digest for name, p in prepared.items()},
        parallel=settings.parallel,
    )
    with session(goal, setup, settings, job, console, resumed) as running:
        planner = SourcePlanner(running, setup, prepared)
        running.train(planner, GroupRunner if settings.parallel > 1 else BackboneRunner)
        _show(planner, prepared, console)
        if planner.failures:
            raise RunFailedError("; ".join(f"{name}: {reason}" for name, reason in planner.failures.items()))
    return [planner.stored[name] for name in prepared]


class SourcePlanner(RecordedPlanner):
    """One generation: every source a slot, shared out over the workers."""

    def __init__(self, running: Session[PretrainSettings], setup: Setup, prepared: Mapping[str, Prepared]) -> None:
        super().__init__(running)
        self.setup = setup
        self.prepared = prepared
        self.stored: dict[str, StoredPrompt] = {}
        self._workers = running.workers.count
        self._planned = False

    def generation(self) -> Sequence[PackPlan]:
        """All sources at first, then nothing."""
        if self._planned:
            return []
        self._planned = True
        specs = [self._spec(config, p) for config, p in enumerate(self.prepared.values())]
        for spec in specs:
            self._launch(spec)
        packs = [specs[i :: self._workers] for i in range(self._workers)]
        return [PackPlan(tuple(pack), keep=True) for pack in packs if pack]

    def on_end(self, outcome: Outcome) -> None:
        """Store the prompt and close the run."""
        (report,) = outcome.reports
        prepared = self.prepared[report.spec.task]
        run_id = self.recorder.run_id(outcome.config)
        if known := self.recorder.prompt(outcome.config):
            stored = self.setup.store.resolve(known)
        else:
            stored = store_slot(self.setup, report, prepared, run_id=run_id, k=None)
        self.stored[prepared.task.name] = stored
        self.recorder.tag(outcome.config, "prompt", stored.ref)
        (test,) = outcome.test_scores.values()
        self.recorder.summarise(
            outcome.config,
            {"test_score": test, "best_dev_score": outcome.dev_score, "best_step": report.best_step}
            | outcome.test_metrics,
        )
        self.recorder.finish(outcome.config, "finished", outcome=outcome.record())
        self.live.say(
            f"stored {stored.ref}: {prepared.data.metric} {test:.1%} on test, {outcome.dev_score:.1%} on dev"
            f"{said_of_answers(outcome.test_metrics)}"
        )

    def on_results(self, configs: Collection[int], data: bytes) -> None:
        """There are none: nothing is searched."""

    def _spec(self, config: int, prepared: Prepared) -> SlotSpec:
        setup, name = self.setup, prepared.task.name
        return setup.spec(
            key=name,
            config=config,
            task=name,
            data=name,
            start="scratch",
            m=setup.shapes[name].m,
            r=setup.shapes[name].r,
            alpha1=setup.alpha1(prepared.data.segments),
            alpha2=setup.alpha2,
            seed=setup.settings.seed,
        )

    def _launch(self, spec: SlotSpec) -> None:
        prepared, info = self.prepared[spec.task], self.setup.info
        params = spec.to_dict() | {
            "parameters": parameter_count(spec.m, spec.r, spec.s, info.d),
            "rows_train": len(prepared.data.train),
            "scoring": prepared.data.scoring,
        }
        tags = {KIND: EXPERIMENT, "task": spec.task, "backbone": info.name, "data_digest": prepared.digest}
        self.launch(spec.config, spec.task, [spec], params, tags)


def _show(planner: SourcePlanner, prepared: Mapping[str, Prepared], console: Console) -> None:
    table = Table("task", Column("stored as", overflow="fold"), "metric", "dev", "test", "test rows")
    for name, stored in planner.stored.items():
        (config,) = [c for c in range(len(prepared)) if planner.name(c) == name]
        outcome, data = planner.outcomes[config], prepared[name].data
        test_rows = len(data.test) if data.test else 0
        (test,) = outcome.test_scores.values()
        table.add_row(name, stored.ref, data.metric, f"{outcome.dev_score:.1%}", f"{test:.1%}", str(test_rows))
    console.print(table)
