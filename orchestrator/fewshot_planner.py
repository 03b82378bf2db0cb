"""What `orchestrator fewshot` trains: generations of a search, then the configurations that are tested."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from orchestrator.cards import store_slot
from orchestrator.checkpoints import Checkpoints
from orchestrator.comparison import DEPT, ZERO_SHOT, Row
from orchestrator.fit import configs_per_pack
from orchestrator.outcomes import Outcome, said_of_answers
from orchestrator.planning import RecordedPlanner
from orchestrator.prepare import Prepared
from orchestrator.reading import FEWSHOT
from orchestrator.recorder import BY_SEED, KIND, ROLE
from orchestrator.search import Choice, Search, Start
from orchestrator.session import Session
from orchestrator.settings import SCRATCH, FewshotSettings
from orchestrator.setup import Setup
from orchestrator.space import search_space
from orchestrator.starts import Source
from orchestrator.worker import PackPlan
from pipelines.checkpoint import PackState
from pipelines.run import Report
from pipelines.spec import SlotSpec
from prompts_store import StoredPrompt


@dataclass(frozen=True)
class Finalist:
    """A configuration that is tested: as the search left it, or trained to its end if that had dropped it.

    Attributes:
        choice: Its settings.
        method: ``dept``, or ``zero-shot`` for a source as it is.
        searched: The search's configuration it comes from; None for the published settings.
    """

    choice: Choice
    method: str
    searched: int | None


class FewshotPlanner(RecordedPlanner):
    """Generations of the search, then one of finalists: the best from scratch, the best from a source, zero-shot.

    Args:
        running: The command's frame.
        setup: What was found for it.
        draws: The rows of each seed.
        sources: What may be started from.
        leaders: Keeps what the search's best ended with.
    """

    def __init__(
        self,
        running: Session[FewshotSettings],
        setup: Setup,
        draws: Sequence[Prepared],
        sources: Sequence[Source],
        leaders: Checkpoints,
    ) -> None:
        super().__init__(running)
        self.leaders = leaders
        self.setup = setup
        self.settings = settings = running.settings
        self.draws = draws
        self.sources = {source.stored.ref: source for source in sources}
        self._workers = running.workers.count
        self._configs_per_pack = configs_per_pack(settings, running.fitting)
        self.rows: list[Row] = []
        self._task = draws[0].task
        self._shape = setup.shapes[self._task.name]
        rooms = [setup.prompt_room(self._task.name, draw.data) for draw in draws]
        self._room = min((room for room in rooms if room is not None), default=None)
        self._space = search_space(setup, self._shape, draws[0].data.segments, settings.start, sources, self._room)
        self._search = Search(self._space, settings.seed)
        self._choices: dict[int, Choice] = {}
        self._generation: list[int] = []
        self._best: int | None = None
        self._finalists: dict[int, Finalist] = {}

    def generation(self) -> Sequence[PackPlan]:
        """Tell the search how the last generation went, and ask for the next."""
        if self.settings.dev == "none":
            return [] if self._finalists else self._train(self._unsearched())
        self._search.tell([self.outcomes[config] for config in self._generation])
        first = len(self._choices)
        number = min(self._workers * self._configs_per_pack, self.settings.trials - first)
        self._generation = list(range(first, first + number))
        if self._generation:
            plans = self._share_out([self._ask(config) for config in self._generation])
            return [replace(plan, floors=self._floors(plan.configs)) for plan in plans]
        return [] if self._finalists else self._train(self._found())

    def replays(self, plan: PackPlan) -> bool:
        """Finalists are tested again: the winner's tensors are needed."""
        return not plan.keep

    def on_end(self, outcome: Outcome) -> None:
        """Close a configuration's run, with its test scores if it was a finalist."""
        config = outcome.config
        if outcome.chosen:
            best = {"best_dev_score": outcome.dev_score, "best_objective": outcome.objective}
            self.recorder.summarise(config, best)
        if finalist := self._finalists.get(config):
            self._test(outcome, finalist)
        else:
            self._best = leader = self._leader([config] if self._best is None else [self._best, config])
            self.live.tell(
                f"best so far {self._name(self._choices[leader])}, dev {self.outcomes[leader].dev_score:.1%}"
            )
        self.recorder.finish(config, outcome.state, outcome=outcome.record())

    def on_results(self, configs: Collection[int], data: bytes) -> None:
        """Keep them if one of the search's leaders is among them."""
        if leading := set(configs) & set(self._leaders()):
            self.leaders.save(leading, data)

    def store_winner(self) -> StoredPrompt:
        """Store the finalist that was best on dev: the seed of it that was best on dev."""
        trained = {c: f.choice for c, f in self._finalists.items() if f.method == DEPT and self._finished(c)}
        config = self._leader(trained)
        reports = self.outcomes[config].reports
        return self._store(config, max(reports, key=lambda r: r.best.objective if r.best else -math.inf))

    def store_all(self) -> list[StoredPrompt]:
        """Store every trained finalist of a command without dev rows: its first draw.

        No score may decide which of them is the winner: it is the one from the source that comes first for ``--from
        auto``, else the one from scratch.
        """
        trained = [c for c, f in self._finalists.items() if f.method == DEPT and self._finished(c)]
        trained.sort(key=lambda config: self._finalists[config].choice.start == SCRATCH)
        return [self._store(c, self.outcomes[c].reports[0], winner=c == trained[0]) for c in trained]

    def _store(self, config: int, report: Report, *, winner: bool = True) -> StoredPrompt:
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
        if winner:
            self.recorder.tag(None, "winner", stored.ref)
        return stored

    def _ask(self, config: int) -> list[SlotSpec]:
        choice = self._choices[config] = self._search.ask(config)
        specs = self._specs(config, choice)
        self._open(config, f"trial {config}: {self._name(choice)}", specs, DEPT, "trial")
        return specs

    def _unsearched(self) -> list[Finalist]:
        """The published settings from every start: without dev rows there is nothing to search by."""
        trained = [Finalist(self._space.usual(start), DEPT, None) for start in self._space.starts]
        return trained + self._zero_shot()

    def _found(self) -> list[Finalist]:
        """The best of the search from scratch, the best from a source, and the sources as they are."""
        finalists = [Finalist(self._choices[config], DEPT, config) for config in self._leaders()]
        if all(choice.start != SCRATCH for choice in self._choices.values()):
            # the search was told to start elsewhere: the published settings stand in
            usual = self._space.usual(Start(SCRATCH, self._shape.m, self._shape.r))
            finalists.insert(0, Finalist(usual, DEPT, None))
        return finalists + self._zero_shot()

    def _floors(self, configs: Sequence[int]) -> dict[int, float]:
        """Of each configuration, the objective of the best before it that went to its end and starts alike, if any."""
        best = {
            self._choices[leader].start == SCRATCH: self.outcomes[leader].objective
            for leader in self._leaders()
            if self._finished(leader)
        }
        return {config: best[kind] for config in configs if (kind := self._choices[config].start == SCRATCH) in best}

    def _leaders(self) -> list[int]:
        """The best of the search from scratch, and the best from a source."""
        kinds = (
            [c for c, choice in self._choices.items() if (choice.start == SCRATCH) is kind and self._judged(c)]
            for kind in (True, False)
        )
        return [self._leader(configs) for configs in kinds if configs]

    def _zero_shot(self) -> list[Finalist]:
        fitting = {ref: source for ref, source in self.sources.items() if source.zero_shot and self._fits(source)}
        return [
            Finalist(Choice(ref, source.stored.m, source.stored.r, 1.0, 1.0), ZERO_SHOT, None)
            for ref, source in fitting.items()
        ]

    def _fits(self, source: Source) -> bool:
        """Whether a source's own prompt leaves the target's texts and answers their positions; says so if not."""
        if self._room is None or source.stored.m <= self._room:
            return True
        self.live.say(
            f"note: {source.stored.ref} is not tried as it is (zero-shot): its m = {source.stored.m} rows leave too "
            f"few positions for texts of s = {self._shape.s} tokens"
        )
        return False

    def _train(self, finalists: Sequence[Finalist]) -> list[PackPlan]:
        packs, saved = [], []
        for config, finalist in enumerate(finalists, start=len(self._choices)):
            self._finalists[config] = finalist
            specs = self._specs(config, finalist.choice, zero_shot=finalist.method == ZERO_SHOT)
            name = f"{finalist.method}: {self._name(finalist.choice)}"
            self._open(config, name, specs, finalist.method, "final", finalist.searched)
            packs.append(specs)
            saved += [state.dump() for state in self._ended(finalist, specs)]
        return [replace(plan, keep=True, saved=tuple(saved)) for plan in self._share_out(packs)]

    def _ended(self, finalist: Finalist, specs: Sequence[SlotSpec]) -> list[PackState]:
        """How the search left a finalist's slots, under its own names; nothing if it was dropped there."""
        if finalist.searched is None or not self._finished(finalist.searched):
            return []
        own = {self._key(finalist.searched, spec.seed): spec for spec in specs}
        return [PackState.parse(data).as_others(own) for data in self.leaders.newest([finalist.searched])]

    def _share_out(self, configs: Sequence[Sequence[SlotSpec]]) -> list[PackPlan]:
        shares = [configs[i :: self._workers] for i in range(self._workers)]
        return [PackPlan(tuple(spec for config in share for spec in config)) for share in shares if share]

    @staticmethod
    def _key(config: int, seed: int) -> str:
        return f"{config}/{seed}"

    def _specs(self, config: int, choice: Choice, *, zero_shot: bool = False) -> list[SlotSpec]:
        seeds = range(self.settings.seed, self.settings.seed + len(self.draws))
        return [
            self.setup.spec(
                key=self._key(config, seed),
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
            **{key: getattr(choice, key) for key in ("m", "r", "s", "gamma", "batch", "steps", "dropout", "start")},
            "alpha1": None if zero_shot else choice.alpha1,
            "alpha2": None if zero_shot else choice.alpha2,
            "k": 0 if zero_shot else len(data.train),
            "seed": self.settings.seed,
            "seeds": len(specs),
            "dev_rows": len(data.dev) if data.dev else 0,
            "test_rows": len(data.test) if data.test else 0,
            "metric": data.metric,
            "scoring": data.scoring,
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
            dev=outcome.dev_score if outcome.chosen else None,
            run_id=self.recorder.run_id(outcome.config),
        )
        self.rows.append(row)
        if finalist.method == DEPT and outcome.chosen and all(report.best_step == 0 for report in outcome.reports):
            self.live.say(f"note: {self._name(finalist.choice)}, no step did better on dev than the start itself")
        summary = row.statistics
        values = {"test_score": summary.mean, "test_std": summary.std}
        if summary.interval:
            values |= {"test_ci_low": summary.interval[0], "test_ci_high": summary.interval[1]}
        values |= outcome.test_metrics
        if said := said_of_answers(values):
            self.live.say(f"{finalist.method}, {self._name(finalist.choice)}{said}")
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
