"""`orchestrator fewshot`: search for the best way to learn a target from k rows, test it, store it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from orchestrator.cards import store_slot
from orchestrator.cluster import Workers, connect
from orchestrator.comparison import DEPT, ZERO_SHOT, Row, ordered, print_rows
from orchestrator.errors import RunFailedError, UsageError
from orchestrator.live import Live
from orchestrator.outcomes import Outcome
from orchestrator.packs import run_packs
from orchestrator.planning import RecordedPlanner
from orchestrator.prepare import Prepared
from orchestrator.reading import FEWSHOT, existing_store, experiment_name, store_place
from orchestrator.recorder import BY_SEED, KIND, ROLE, Recorder
from orchestrator.search import Budget, Choice, Range, Search, Space, Start
from orchestrator.settings import AUTO, SCRATCH, FewshotSettings
from orchestrator.setup import Setup, set_up
from orchestrator.starts import Source, find_sources
from orchestrator.worker import BackboneRunner, PackPlan
from pipelines.halving import Halving
from pipelines.run import Job
from pipelines.slot import SlotSpec
from prompts_store import StoredPrompt


def fewshot(settings: FewshotSettings, console: Console) -> StoredPrompt:
    """Search, retrain the best configurations, test them, and store the winner.

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
        settings.k,
        seeds,
        per_class=settings.per_class,
        dev=settings.dev,
        protocol=settings.protocol,
    )
    sources = find_sources(setup, target, settings.start)
    for note in dict.fromkeys(note for draw in draws for note in draw.notes):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    if settings.start != SCRATCH and not sources:
        console.print("note: no stored source fits this target and backbone; starting from scratch alone")
    halving = Halving.over(settings.steps, settings.eval_every) if settings.halving else Halving()
    job = Job(
        backbone=settings.backbone,
        fingerprint=setup.info.fingerprint,
        data={str(seed): draw.data for seed, draw in zip(seeds, draws, strict=True)},
        starts={source.stored.ref: source.artifact for source in sources},
        labels={source.stored.ref: source.labels.pairs for source in sources},
        halving=halving,
        dtype=settings.dtype,
    )
    recorder = Recorder(
        setup.store,
        experiment_name(target.name),
        name=f"{target.name} k={settings.k} from {settings.start}",
        kind=FEWSHOT,
        params=settings.params(),
        tags={"backbone": setup.info.name, "data_source": setup.source.description},
    )
    with (
        recorder,
        Live(console, f"few-shot {target.name}") as live,
        connect(settings.ray_address, settings.workers) as workers,
    ):
        planner = FewshotPlanner(setup, settings, draws, sources, workers, recorder, live)
        run_packs(planner, BackboneRunner(job, workers.threads), workers)
        if not planner.rows:
            raise RunFailedError(
                "no configuration came through: "
                + "; ".join(f"{name}: {reason}" for name, reason in planner.failures.items())
            )
        winner = planner.store_winner()
    test = draws[0].data.test
    print_rows(ordered(planner.rows), console, test_rows=len(test) if test else None)
    console.print(f"stored {winner.ref}", highlight=False)
    return winner


@dataclass(frozen=True)
class Finalist:
    """A configuration that is retrained and tested.

    Attributes:
        choice: Its settings.
        method: ``dept``, or ``zero-shot`` for a source as it is.
        searched: The search's configuration it comes from; None for the published settings.
    """

    choice: Choice
    method: str
    searched: int | None


class FewshotPlanner(RecordedPlanner):
    """Generations of the search, then one of finalists: the best from scratch, the best from a source, zero-shot."""

    def __init__(
        self,
        setup: Setup,
        settings: FewshotSettings,
        draws: Sequence[Prepared],
        sources: Sequence[Source],
        workers: Workers,
        recorder: Recorder,
        live: Live,
    ) -> None:
        super().__init__(recorder, live)
        self.setup = setup
        self.settings = settings
        self.draws = draws
        self.sources = {source.stored.ref: source for source in sources}
        self.workers = workers
        self.rows: list[Row] = []
        self._task = draws[0].task
        self._space = search_space(setup, draws[0].data.segments, settings.start, sources)
        self._search = Search(self._space, settings.seed)
        self._choices: dict[int, Choice] = {}
        self._generation: list[int] = []
        self._finalists: dict[int, Finalist] = {}

    def next_generation(self) -> Sequence[PackPlan]:
        """Tell the search how the last generation went, and ask for the next."""
        self._search.tell([self.outcomes[config] for config in self._generation])
        first = len(self._choices)
        number = min(self.workers.count * self.settings.configs_per_pack, self.settings.trials - first)
        self._generation = list(range(first, first + number))
        if self._generation:
            return self._share_out([self._ask(config) for config in self._generation])
        return [] if self._finalists else self._finals()

    def on_end(self, outcome: Outcome) -> None:
        """Close a configuration's run, with its test scores if it was a finalist."""
        config = outcome.config
        best = {"best_dev_score": outcome.dev_score, "best_objective": outcome.objective}
        self.recorder.summarise(config, best)
        if finalist := self._finalists.get(config):
            self._test(outcome, finalist)
        else:
            leader = self._leader(self._choices)
            self.live.tell(
                f"best so far {self._name(self._choices[leader])}, dev {self.outcomes[leader].dev_score:.1%}"
            )
        self.recorder.finish(config, outcome.state)

    def store_winner(self) -> StoredPrompt:
        """Store the finalist that was best on dev: the seed of it that was best on dev."""
        trained = {c: f.choice for c, f in self._finalists.items() if f.method == DEPT and self._finished(c)}
        config = self._leader(trained)
        report = max(self.outcomes[config].reports, key=lambda r: r.best.objective if r.best else 0.0)
        draw = self.draws[report.spec.seed - self.settings.seed]
        source = self.sources.get(report.spec.start)
        stored = store_slot(
            self.setup,
            report,
            draw,
            run_id=self.recorder.run_id(config),
            k=len(draw.data.train),
            start=source.artifact.card if source else None,
        )
        self.recorder.tag(config, "prompt", stored.ref)
        self.recorder.tag(None, "winner", stored.ref)
        return stored

    def _ask(self, config: int) -> list[SlotSpec]:
        choice = self._choices[config] = self._search.ask(config)
        specs = self._specs(config, choice)
        self._open(config, f"trial {config}: {self._name(choice)}", specs, DEPT, "trial")
        return specs

    def _finals(self) -> list[PackPlan]:
        by_kind = {
            kind: {c: choice for c, choice in self._choices.items() if (choice.start == SCRATCH) is kind}
            for kind in (True, False)
        }
        finalists = []
        for kind, choices in by_kind.items():
            tried = {c: choice for c, choice in choices.items() if self._judged(c)}
            if tried:
                leader = self._leader(tried)
                finalists.append(Finalist(tried[leader], DEPT, leader))
            elif kind and not choices:  # the search was told to start elsewhere: the published settings stand in
                usual = self._space.usual(Start(SCRATCH, self.setup.shape.m, self.setup.shape.r))
                finalists.append(Finalist(usual, DEPT, None))
        for ref, source in self.sources.items():
            if source.zero_shot:
                size = source.stored
                finalists.append(Finalist(Choice(ref, size.m, size.r, 1.0, 1.0), ZERO_SHOT, None))
        packs = []
        for config, finalist in enumerate(finalists, start=len(self._choices)):
            self._finalists[config] = finalist
            specs = self._specs(config, finalist.choice, zero_shot=finalist.method == ZERO_SHOT)
            name = f"{finalist.method}: {self._name(finalist.choice)}"
            self._open(config, name, specs, finalist.method, "final", finalist.searched)
            packs.append(specs)
        return self._share_out(packs, keep=True)

    def _share_out(self, configs: Sequence[Sequence[SlotSpec]], *, keep: bool = False) -> list[PackPlan]:
        shares = [configs[i :: self.workers.count] for i in range(self.workers.count)]
        return [PackPlan(tuple(spec for config in share for spec in config), keep) for share in shares if share]

    def _specs(self, config: int, choice: Choice, *, zero_shot: bool = False) -> list[SlotSpec]:
        seeds = range(self.settings.seed, self.settings.seed + len(self.draws))
        return [
            self.setup.spec(
                key=f"{config}/{seed}",
                config=config,
                task=self._task.name,
                data=str(seed),
                start=choice.start,
                m=choice.m,
                r=choice.r,
                alpha1=choice.alpha1,
                alpha2=choice.alpha2,
                seed=seed,
                steps=0 if zero_shot else None,
            )
            for seed in seeds
        ]

    def _open(
        self, config: int, name: str, specs: Sequence[SlotSpec], method: str, role: str, searched: int | None = None
    ) -> None:
        choice, data = specs[0], self.draws[0].data
        zero_shot = method == ZERO_SHOT
        params = {
            **{key: getattr(choice, key) for key in ("m", "r", "s", "gamma", "batch", "steps", "start")},
            "alpha1": None if zero_shot else choice.alpha1,
            "alpha2": None if zero_shot else choice.alpha2,
            "k": 0 if zero_shot else len(data.train),
            "seed": self.settings.seed,
            "seeds": len(specs),
            "dev_rows": len(data.dev),
            "test_rows": len(data.test) if data.test else 0,
            "metric": data.metric,
            "method": method,
            "start_task": self._start_task(choice.start),
        }
        tags = {
            KIND: FEWSHOT,
            ROLE: role,
            "task": self._task.name,
            "backbone": self.setup.info.name,
            "data_digest": " ".join(draw.digest for draw in self.draws),
        }
        if source := self.sources.get(choice.start):
            tags |= {"start_version": source.stored.ref, "start_run": source.stored.run_id or ""}
            tags["label_map"] = ", ".join(
                f"{self._task.labels[t]} from {source.artifact.card.labels[s]}" for t, s in source.labels.pairs.items()
            )
        if searched is not None:
            tags["searched_as"] = f"trial {searched}"
        self.launch(config, name, specs, params, tags)

    def _test(self, outcome: Outcome, finalist: Finalist) -> None:
        scores = outcome.test_scores
        if finalist.method == ZERO_SHOT:  # nothing was trained: one number, though every draw has its own dev rows
            scores = {self.settings.seed: scores[self.settings.seed]}
        row = Row(
            target=self._task.name,
            backbone=self.setup.info.name,
            k=0 if finalist.method == ZERO_SHOT else len(self.draws[0].data.train),
            start=self._start_task(finalist.choice.start),
            method=finalist.method,
            metric=self.draws[0].data.metric,
            scores=scores,
            dev=outcome.dev_score,
            run_id=self.recorder.run_id(outcome.config),
        )
        self.rows.append(row)
        if finalist.method == DEPT and all(report.best_step == 0 for report in outcome.reports):
            self.live.say(f"note: {self._name(finalist.choice)}, no step did better on dev than the start itself")
        summary = row.statistics
        values = {"test_score": summary.mean, "test_std": summary.std}
        if summary.interval:
            values |= {"test_ci_low": summary.interval[0], "test_ci_high": summary.interval[1]}
        self.recorder.summarise(outcome.config, values, {BY_SEED: row.scores})

    def _judged(self, config: int) -> bool:
        outcome = self.outcomes[config]
        return outcome.state in ("finished", "pruned")

    def _finished(self, config: int) -> bool:
        return self.outcomes[config].state == "finished"

    def _leader(self, configs: Sequence[int] | dict[int, Choice]) -> int:
        """The best by dev, of those that went all the way if any did."""
        judged = [config for config in configs if self._judged(config)]
        finished = [config for config in judged if self._finished(config)]
        return max(finished or judged, key=lambda config: (self.outcomes[config].objective, -config))

    def _start_task(self, ref: str) -> str:
        return self.sources[ref].stored.task if ref in self.sources else SCRATCH

    def _name(self, choice: Choice) -> str:
        return SCRATCH if choice.start == SCRATCH else f"from {self._start_task(choice.start)}"


def search_space(setup: Setup, segments: int, start: str, sources: Sequence[Source]) -> Space:
    """What is searched over: all that the user did not fix."""
    settings, shape = setup.settings, setup.shape
    starts = [Start(s.stored.ref, s.stored.m, s.stored.r) for s in sources]
    if start in ("auto", SCRATCH) or not starts:
        starts.insert(0, Start(SCRATCH, shape.m, shape.r))
    ms = [s.m for s in starts]
    limit = setup.info.architecture.position_limit
    longest = 2 * max(ms) if limit is None else min(2 * max(ms), limit - shape.s)
    m = Range(max(1, min(ms) // 4), shape.m, longest) if settings.m is None else Range.fixed(settings.m)
    r: Range | Budget
    if settings.budget is not None:
        r = Budget(settings.budget, shape.s, setup.info.d)
        m = Range(m.low, m.clip(shape.m), min(m.high, settings.budget))
    elif settings.r is not None:
        r = Range.fixed(settings.r)
    else:
        rs = [s.r for s in starts]
        r = Range(max(1, min(rs) // 4), shape.r, 2 * max(rs))
    alpha1, alpha2 = setup.alpha1(segments), setup.alpha2
    return Space(
        starts=tuple(starts),
        m=m,
        r=r,
        alpha1=Range.around(alpha1, 50, 3) if settings.alpha1 is None else Range.fixed(alpha1),
        alpha2=Range.around(alpha2, 50, 3) if settings.alpha2 is None else Range.fixed(alpha2),
    )
