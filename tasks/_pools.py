"""Rows by class, ranked by a hash of the seed and their text: what draws and held-out rows are taken from.

A file's order changes nothing, and a smaller draw is contained in a larger one of the same seed. Rows with the same
texts (ignoring case and whitespace) count once; of rows with the same texts and different labels the one with the
lowest digest is kept.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from tasks._rows import Example, text_key
from tasks._task import Task

VALUE_STRATA = 5
"""A regression's range is cut into so many equal parts, which draws treat as classes."""


@dataclass(frozen=True)
class Strata:
    """What a task's rows are told apart by in a draw: its classes, parts of a regression's range, or nothing.

    Attributes:
        task: whose rows they are.
        names: of the strata, for people.
    """

    task: Task
    names: tuple[str, ...]

    @classmethod
    def of_task(cls, task: Task, parts: int = VALUE_STRATA) -> Strata:
        """Return the strata of a task, with a regression's range cut into ``parts``."""
        if task.value_range is None:
            return cls(task, task.labels or ("rows",))
        low, high = task.value_range
        cuts = [low + i * (high - low) / parts for i in range(parts + 1)]
        return cls(task, tuple(f"{a:g} to {b:g}" for a, b in pairwise(cuts)))

    def __len__(self) -> int:
        return len(self.names)

    def of(self, example: Example) -> int:
        """Return the number of an example's stratum; a value on a cut belongs to the lower part."""
        if example.value is None:
            return max(example.label, 0)
        assert self.task.value_range is not None
        low, high = self.task.value_range
        return max(0, math.ceil((example.value - low) / (high - low) * len(self)) - 1)


def rank(text: str, seed: int) -> bytes:
    """Return the place of a text in the order of a seed."""
    return hashlib.sha256(f"{seed}:{text}".encode("utf-8", "surrogatepass")).digest()


def by_rank(examples: Iterable[Example], seed: int) -> list[Example]:
    """Return examples in the order of a seed."""
    return sorted(examples, key=lambda example: (rank(example.digest, seed), example.digest))


def pools(examples: Iterable[Example], strata: Strata, seed: int) -> list[list[Example]]:
    """Return, for each stratum, one row for each different text, ranked by seed."""
    different: dict[str, Example] = {}
    for example in examples:
        _keep_winner(different, text_key(example.texts), example)
    return _ranked(different, strata, seed)


def first_of_pools(examples: Iterable[Example], strata: Strata, seed: int, count: int) -> list[list[Example]]:
    """Return the first ``count`` rows of each of ``pools(examples, strata, seed)``, holding few rows at a time.

    Goes through the examples twice: whether a text stands there with another label as well is only known at the end.
    Where more than half of the candidates of a stratum belong to another for that reason, it looks for more.
    """
    room = 2 * count
    while True:
        candidates = [_Lowest(room) for _ in strata.names]
        for example in examples:
            key = text_key(example.texts)
            candidates[strata.of(example)].offer(rank(key, seed), key)
        kept = [lowest.keys() for lowest in candidates]
        keys = set().union(*kept)
        winners: dict[str, Example] = {}
        for example in examples:
            key = text_key(example.texts)
            if key in keys:
                _keep_winner(winners, key, example)
        found = [
            [example for example in pool if text_key(example.texts) in own]
            for pool, own in zip(_ranked(winners, strata, seed), kept, strict=True)
        ]
        if all(len(pool) >= count or not lowest.full for pool, lowest in zip(found, candidates, strict=True)):
            return [pool[:count] for pool in found]
        room *= 4


class _Lowest:
    """Keeps the texts of lowest rank among those offered: ``room`` of them, and for a while twice as many."""

    def __init__(self, room: int) -> None:
        self.full = False
        self._room = room
        self._ranks: dict[str, bytes] = {}
        self._limit = b"\xff" * 33

    def offer(self, rank: bytes, key: str) -> None:
        if rank > self._limit:
            self.full = True
            return
        self._ranks[key] = rank
        if len(self._ranks) > 2 * self._room:
            self._cut()

    def keys(self) -> set[str]:
        if len(self._ranks) > self._room:
            self._cut()
        return set(self._ranks)

    def _cut(self) -> None:
        kept = sorted(self._ranks.items(), key=lambda item: item[1])[: self._room]
        self.full = True
        self._ranks = dict(kept)
        self._limit = kept[-1][1]


def _keep_winner(different: dict[str, Example], key: str, example: Example) -> None:
    known = different.get(key)
    if known is None or example.digest < known.digest:
        different[key] = example


def _ranked(different: dict[str, Example], strata: Strata, seed: int) -> list[list[Example]]:
    found: list[list[Example]] = [[] for _ in strata.names]
    for _, _, example in sorted(
        ((rank(key, seed), key, example) for key, example in different.items()), key=_first_two
    ):
        found[strata.of(example)].append(example)
    return found


def _first_two(ranked: tuple[bytes, str, Example]) -> tuple[bytes, str]:
    return ranked[:2]
