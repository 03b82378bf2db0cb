"""The frame in which a training command runs: its cluster, its runs in MLflow, what one sees of it, its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from rich.console import Console

from orchestrator.checkpoints import Checkpoints
from orchestrator.cluster import Workers, connect
from orchestrator.fit import fit_workers, fitted, settled
from orchestrator.live import Live
from orchestrator.packs import Planner, run_packs
from orchestrator.plan import Plan
from orchestrator.recorder import Recorder
from orchestrator.resumed import Resumed
from orchestrator.settings import Settings
from orchestrator.setup import Setup
from orchestrator.shipping import ship
from orchestrator.worker import BackboneRunner, StartPack
from pipelines.run import Job

if TYPE_CHECKING:
    from pipelines.fitting import Fitting

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Goal:
    """What a command sets out to do, in the words of its runs.

    Attributes:
        command: ``fewshot`` or ``pretrain-source``.
        experiment: The MLflow experiment of its runs.
        name: Of its parent run.
        title: What the live view calls it.
        digests: Of the rows of each data set, by name.
        sources: Versions that slots may start from, in order.
        parallel: Workers that train a pack together.
    """

    command: str
    experiment: str
    name: str
    title: str
    digests: Mapping[str, str]
    sources: Sequence[str] = ()
    parallel: int = 1


@dataclass(frozen=True)
class Session(Generic[S]):
    """A command under way.

    Attributes:
        settings: What the user asked for, with what suits the machine filled in.
        fitting: What suits the machine.
        job: What packs need besides their slots; its workers all compute alike.
        workers: Where packs train.
        recorder: Writes its runs.
        live: Shows how far it is.
        checkpoints: Of its packs.
    """

    settings: S
    fitting: Fitting
    job: Job
    workers: Workers
    recorder: Recorder
    live: Live
    checkpoints: Checkpoints

    def train(self, planner: Planner, runner: Callable[[Job, int], StartPack] = BackboneRunner) -> None:
        """Train everything a planner asks for.

        Args:
            planner: Decides what that is.
            runner: Makes what runs a job's packs on a worker with so many threads.
        """
        run_packs(planner, runner(self.job, self.workers.threads), self.workers, self.settings.checkpoint_every)
        self.checkpoints.forget()


@contextmanager
def session(
    goal: Goal, setup: Setup, settings: S, job: Job, console: Console, resumed: Resumed | None
) -> Iterator[Session[S]]:
    """Connect to the cluster, see what suits it, and open the command's runs, or take up those that it has.

    Args:
        goal: What the command sets out to do.
        setup: What was found for it.
        settings: What the user asked for.
        job: What its packs need.
        console: Where progress is shown.
        resumed: The command that goes on, if it is not a new one.

    Raises:
        UsageError: No such cluster; or a resumed command finds other things than it had found.
    """
    at_once = resumed.plan.workers if resumed else settings.workers
    with connect(settings.ray_address, at_once, goal.parallel) as workers:
        job = replace(job, files=ship(settings))
        fitting = fit_workers(settings, setup.info.fingerprint, workers, job.files)
        settings = settled(settings, fitting)  # so that a command that goes on computes in the same way
        recorder = Recorder(
            setup.store,
            goal.experiment,
            name=goal.name,
            kind=goal.command,
            params=settings.params(),
            tags={"backbone": setup.info.name, "data_source": setup.source.description, "fitting": fitting.to_json()},
            plan=Plan(
                command=goal.command,
                settings=settings,
                fingerprint=setup.info.fingerprint,
                digests=goal.digests,
                sources=tuple(goal.sources),
                workers=workers.count,
            ),
            resumed=resumed,
        )
        with (
            recorder,
            Live(console, goal.title) as live,
            Checkpoints(setup.store, recorder.parent) as checkpoints,
        ):
            yield Session(settings, fitting, fitted(job, fitting), workers, recorder, live, checkpoints)
