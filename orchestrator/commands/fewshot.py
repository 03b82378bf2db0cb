"""`orchestrator fewshot`: search for the best way to learn a target from k rows, test it, store it."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from orchestrator.checkpoints import Checkpoints
from orchestrator.cluster import connect
from orchestrator.comparison import ordered, print_rows
from orchestrator.errors import RunFailedError, UsageError
from orchestrator.fewshot_planner import FewshotPlanner
from orchestrator.fit import configs_per_pack, fit_workers, fitted, settled
from orchestrator.live import Live
from orchestrator.packs import run_packs
from orchestrator.plan import Plan
from orchestrator.reading import FEWSHOT, existing_store, experiment_name, store_place
from orchestrator.recorder import Recorder
from orchestrator.resumed import Resumed
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
    """Search, retrain the best configurations, test them, and store the winner.

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
        console.print("note: no stored source fits this target and backbone; starting from scratch alone")
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
    with connect(settings.ray_address, resumed.plan.workers if resumed else settings.workers) as workers:
        fitting = fit_workers(settings, setup.info.fingerprint, workers)
        settings = settled(settings, fitting)  # so that a command that goes on computes in the same way
        plan = Plan(
            command=FEWSHOT,
            settings=settings,
            fingerprint=setup.info.fingerprint,
            digests={f"draw {seed}": draw.digest for seed, draw in zip(seeds, draws, strict=True)},
            sources=tuple(source.stored.ref for source in sources),
            workers=workers.count,
        )
        recorder = Recorder(
            setup.store,
            experiment_name(target.name),
            name=f"{target.name} k={settings.k} from {settings.start}",
            kind=FEWSHOT,
            params=settings.params(),
            tags={"backbone": setup.info.name, "data_source": setup.source.description, "fitting": fitting.to_json()},
            plan=plan,
            resumed=resumed,
        )
        with (
            recorder,
            Live(console, f"few-shot {target.name}") as live,
            (Checkpoints.reopen if resumed else Checkpoints)(setup.store, recorder.parent) as checkpoints,
        ):
            planner = FewshotPlanner(
                setup, settings, draws, sources, workers, recorder, live, configs_per_pack(settings, fitting)
            )
            planner.checkpoints = checkpoints
            run_packs(planner, runner(fitted(job, fitting), workers.threads), workers, settings.checkpoint_every)
            checkpoints.forget()
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
