"""`orchestrator fewshot`: search for the best way to learn a target from k rows, test it, store it."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from orchestrator.checkpoints import Checkpoints
from orchestrator.comparison import ordered, print_rows
from orchestrator.errors import RunFailedError, UsageError
from orchestrator.fewshot_planner import FewshotPlanner
from orchestrator.reading import FEWSHOT, existing_store, experiment_name, store_place
from orchestrator.resumed import Resumed
from orchestrator.session import Goal, session
from orchestrator.settings import AUTO, SCRATCH, FewshotSettings
from orchestrator.setup import set_up
from orchestrator.starts import find_sources, load_sources
from orchestrator.worker import BackboneRunner, StartPack
from pipelines.halving import Halving
from pipelines.run import Job
from prompts_store import StoredPrompt


def fewshot(
    settings: FewshotSettings,
    console: Console,
    runner: Callable[[Job, int], StartPack] = BackboneRunner,
    resumed: Resumed | None = None,
) -> StoredPrompt:
    """Search, test the best configurations, and store the winner.

    Args:
        settings: What the user asked for.
        console: Where progress and results are printed.
        runner: Makes what runs a job's packs on a worker with so many threads; benchmarks put their own in its place.
        resumed: The command that goes on, if it is not a new one.

    Returns:
        The winner, as stored.

    Raises:
        RunFailedError: If no configuration came through.
    """
    if settings.start not in (AUTO, SCRATCH) and existing_store() is None:
        data = f" --data {settings.data}" if settings.data else ""
        raise UsageError(
            f"no stored source {settings.start!r}: there is no store at {store_place()} yet; make it with "
            f"'orchestrator pretrain-source --tasks {settings.start}{data}'"
        )
    setup = set_up(settings, [settings.target], console)
    target = setup.source.task(settings.target)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    draws = setup.preparer.fewshot(
        settings.target,
        setup.shapes[target.name].s,
        settings.k,
        seeds,
        per_class=settings.per_class,
        dev=settings.dev,
        protocol=settings.protocol,
    )
    setup.check_room(draws)
    if resumed:
        sources = load_sources(setup, target, resumed.plan.sources)
    else:
        sources = find_sources(setup, target, settings.start)
    for note in dict.fromkeys(note for draw in draws for note in draw.notes):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    if settings.start != SCRATCH and not sources:
        console.print(
            "note: no stored source fits this target and backbone; starting from scratch alone", soft_wrap=True
        )
    if settings.dev == "none":
        console.print(
            "note: without dev rows nothing is chosen: no search, the published settings once from every start, and "
            "their last checkpoints, all of which are tested and stored",
            highlight=False,
            soft_wrap=True,
        )
    halving = Halving.over(settings.steps, settings.eval_every) if settings.halving else Halving()
    job = Job(
        backbone=settings.backbone,
        fingerprint=setup.info.fingerprint,
        data={str(seed): draw.data for seed, draw in zip(seeds, draws, strict=True)},
        starts={source.stored.ref: source.artifact for source in sources},
        labels={source.stored.ref: source.labels.pairs for source in sources},
        halving=halving,
    )
    goal = Goal(
        command=FEWSHOT,
        experiment=experiment_name(target.name),
        name=f"{target.name} k={settings.k} from {settings.start}",
        title=f"few-shot {target.name}",
        digests={f"draw {seed}": draw.digest for seed, draw in zip(seeds, draws, strict=True)},
        sources=[source.stored.ref for source in sources],
    )
    with (
        session(goal, setup, settings, job, console, resumed) as running,
        Checkpoints(setup.store, running.recorder.parent, "leaders") as leaders,
    ):
        planner = FewshotPlanner(running, setup, draws, sources, leaders)
        running.train(planner, runner)
        leaders.forget()
        if not planner.rows:
            raise RunFailedError(
                "no configuration came through: "
                + "; ".join(f"{name}: {reason}" for name, reason in planner.failures.items())
            )
        stored = planner.store_all() if settings.dev == "none" else [planner.store_winner()]
    test = draws[0].data.test
    print_rows(ordered(planner.rows), console, test_rows=len(test) if test else None)
    console.print(f"stored {', '.join(prompt.ref for prompt in stored)}", highlight=False, soft_wrap=True)
    return stored[0]
