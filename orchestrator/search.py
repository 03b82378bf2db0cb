"""The search over α1, α2, (m, r) and the start: an Optuna study that is asked for packs and told slots.

Pruned configurations are told as pruned, with the objective they had; diverged and crashed ones as failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import optuna

from orchestrator.outcomes import Outcome
from pipelines.methods.dept import rank_for_budget


@dataclass(frozen=True)
class Range:
    """The values of one setting, searched on a logarithmic scale; ``low == high`` fixes it."""

    low: float
    usual: float
    high: float

    @classmethod
    def around(cls, usual: float, below: float, above: float) -> Range:
        """From ``usual / below`` to ``usual · above``."""
        return cls(usual / below, usual, usual * above)

    @classmethod
    def fixed(cls, value: float) -> Range:
        """One value."""
        return cls(value, value, value)

    def clip(self, value: float) -> float:
        """The value in the range that is nearest."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Budget:
    """Derives r from m: ``m·d + (s + d)·r`` stays within the parameters of a plain prompt of ``rows`` rows."""

    rows: int
    s: int
    d: int

    def rank(self, m: int) -> int:
        """The largest rank for m prompt rows."""
        return rank_for_budget(self.rows, m, self.s, self.d)


@dataclass(frozen=True)
class Start:
    """Where slots may start from.

    Attributes:
        ref: ``scratch`` or ``name/version``.
        m: Its prompt rows, or the usual number.
        r: Its rank, or the usual one.
    """

    ref: str
    m: int
    r: int


@dataclass(frozen=True)
class Choice:
    """A configuration to try; rates are absolute."""

    start: str
    m: int
    r: int
    alpha1: float
    alpha2: float


@dataclass(frozen=True)
class Space:
    """What is searched over; r is either a range or follows from a budget."""

    starts: tuple[Start, ...]
    m: Range
    r: Range | Budget
    alpha1: Range
    alpha2: Range

    def usual(self, start: Start) -> Choice:
        """The published settings from a start, in its own sizes where those are free."""
        m = int(self.m.clip(start.m))
        r = self.r.rank(m) if isinstance(self.r, Budget) else int(self.r.clip(start.r))
        return Choice(start.ref, m, r, self.alpha1.usual, self.alpha2.usual)


class Search:
    """Asks Optuna for configurations and tells it what became of them.

    The published settings come first, once from each start; the tree-structured Parzen estimator does the rest.

    Args:
        space: What to search over.
        seed: Of the sampler.
    """

    def __init__(self, space: Space, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space = space
        sampler = optuna.samplers.TPESampler(seed=seed)
        self.study = optuna.create_study(direction="maximize", sampler=sampler)
        self._trials: dict[int, optuna.trial.Trial] = {}
        for start in space.starts:
            choice = space.usual(start)
            values = {"start": choice.start, "m": choice.m, "alpha1": choice.alpha1, "alpha2": choice.alpha2}
            self.study.enqueue_trial(values if isinstance(space.r, Budget) else values | {"r": choice.r})

    def ask(self, config: int) -> Choice:
        """The next configuration to try, known by a number of the caller's."""
        space = self.space
        trial = self._trials[config] = self.study.ask()
        start = trial.suggest_categorical("start", [start.ref for start in space.starts])
        m = _whole(trial, "m", space.m)
        r = space.r.rank(m) if isinstance(space.r, Budget) else _whole(trial, "r", space.r)
        alpha1 = trial.suggest_float("alpha1", space.alpha1.low, space.alpha1.high, log=True)
        alpha2 = trial.suggest_float("alpha2", space.alpha2.low, space.alpha2.high, log=True)
        return Choice(start, m, r, alpha1, alpha2)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """What became of configurations; told in the order of their numbers."""
        for outcome in sorted(outcomes, key=lambda outcome: outcome.config):
            trial = self._trials.pop(outcome.config)
            for step, value in outcome.history:
                trial.report(value, step)
            if outcome.state == "finished":
                self.study.tell(trial, outcome.objective)
            elif outcome.state == "pruned":
                self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                self.study.tell(trial, state=optuna.trial.TrialState.FAIL)


def _whole(trial: optuna.trial.Trial, name: str, values: Range) -> int:
    """A whole number, which Optuna is told as one between whole numbers.

    Of each whole number that was tried its estimator weighs the interval around it, one at a time and in Python, which
    over a thousand trials takes longer than all else it does.
    """
    value: float = trial.suggest_float(name, int(values.low), int(values.high), log=values.low >= 1)
    return round(value)
