"""Reading the banks of sample language: facts with paraphrases and opposites, and the people they are about."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks._rows import Example

BANKS = Path(__file__).parent / "banks"


@dataclass(frozen=True)
class Value:
    """One thing that can be true: its wordings, more general ones that it entails, and narrower ones that entail it."""

    wordings: tuple[str, ...]
    general: tuple[str, ...] = ()
    narrow: tuple[str, ...] = ()

    def said(self, rng: random.Random) -> str:
        """Return a wording that says it, or more."""
        return rng.choice(self.narrow if self.narrow and rng.random() < 0.5 else self.wordings)

    def reworded(self, rng: random.Random, used: str | None = None) -> str:
        """Return what follows from it in another wording than the one used.

        Without ``used`` some wording is taken as used, so that claims that follow from a premise and claims that do
        not come in the same wordings.
        """
        used = rng.choice(self.wordings) if used is None else used
        choice = [wording for wording in self.wordings if wording != used] or [used]
        return rng.choice(self.general if self.general and rng.random() < 0.3 else choice)


@dataclass(frozen=True)
class Aspect:
    """Values of which the first excludes all others; aspects of different themes say nothing about each other."""

    theme: str
    values: tuple[Value, ...]

    def draw(self, rng: random.Random) -> Value:
        """Return a value: the first one as often as all others together."""
        return self.values[0] if rng.random() < 0.5 else self._other(rng)

    def excluded(self, rng: random.Random, value: Value) -> Value:
        """Return a value that cannot be true together with the given one."""
        return self._other(rng) if value is self.values[0] else self.values[0]

    def _other(self, rng: random.Random) -> Value:
        return self.values[1] if rng.random() < 0.6 else rng.choice(self.values[1:])


@dataclass(frozen=True)
class Subject:
    """Somebody: the pronoun's possessive and subject forms, wordings, and more general ones."""

    possessive: str
    pronoun: str
    wordings: tuple[str, ...]
    general: tuple[str, ...]


def read_bank(kind: str, side: str) -> str:
    """Return the text of a bank; the formats stand in ``banks/README.md``.

    Args:
        kind: ``actions``, ``people``, ``subjects`` or ``questions``.
        side: a split; or ``discourse``, which the training rows of sample.cb are made of.
    """
    return (BANKS / f"{kind}_{side}.txt").read_text(encoding="utf-8")


def frames(texts: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the sentence frames of each kind; ``/`` parts them, and lines are broken anywhere."""
    return {key: split(" ".join(text.split())) for key, text in texts.items()}


def split(text: str, mark: str = "/") -> tuple[str, ...]:
    """Return the parts of a line between marks, without spaces around them."""
    return tuple(part.strip() for part in text.split(mark) if part.strip())


def _two(line: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    wordings, _, general = line.partition(">")
    return split(wordings), split(general)


@functools.cache
def aspects(bank: str) -> tuple[Aspect, ...]:
    """Return the aspects of a bank."""
    found: list[Aspect] = []
    theme = ""
    values: list[Value] = []
    for line in [*bank.splitlines(), ""]:
        if line.startswith("#"):
            theme = line[1:].strip()
        elif line.strip():
            values.append(Value(*_two(line)))
        elif values:
            found.append(Aspect(theme, tuple(values)))
            values = []
    return tuple(found)


@functools.cache
def actions(bank: str, denials: tuple[str, ...], narrow: tuple[str, ...]) -> tuple[Aspect, ...]:
    """Return, for every verb and thing of a bank, that it was done, that it was not, and that the opposite was.

    ``denials`` are frames such as ``did not {base}`` and ``never {past}``, ``narrow`` such as ``refused to {base}``.
    """
    found = []
    lines = bank.strip().splitlines()
    for verbs_line, things in zip(lines[::2], lines[1::2], strict=True):
        done, _, undone = verbs_line.partition(";")
        verbs, opposites = _verbs(done), _verbs(undone)
        for thing in split(things):
            named, _, general = thing.partition(">")
            names, wide = split(named, "="), split(general)
            denied = [frame.format(base=base, past=past) for frame in denials for base, past in verbs]
            prevented = [frame.format(base=base, past=past) for frame in narrow for base, past in verbs]
            values = [
                Value(_all([past for _, past in verbs], names), _all([past for _, past in verbs], wide)),
                Value(_all(denied, names), _all(denied, wide), _all(prevented, names)),
            ]
            if opposites:
                values.append(
                    Value(_all([past for _, past in opposites], names), _all([past for _, past in opposites], wide))
                )
            found.append(Aspect(verbs_line, tuple(values)))
    return tuple(found)


def _verbs(text: str) -> list[tuple[str, str]]:
    return [(base.replace("-", " "), past.replace("-", " ")) for base, past in map(str.split, split(text))]


def _all(verbs: list[str], things: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{verb} {thing}" for verb in verbs for thing in things)


@functools.cache
def subjects(bank: str) -> tuple[Subject, ...]:
    """Return the people of a bank."""
    found = []
    for line in bank.strip().splitlines():
        pronoun, possessive = ("he", "his") if line.startswith("m ") else ("she", "her")
        found.append(Subject(possessive, pronoun, *_two(line[2:])))
    return tuple(found)


def sentence(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def fill(
    size: int, n_classes: int, seed: str, make: Callable[[random.Random, int], tuple[str, ...]]
) -> tuple[Example, ...]:
    """Return ``size`` different rows, as even over the classes as the number allows, in random order."""
    rng = random.Random(seed)
    rows: dict[tuple[str, ...], Example] = {}
    for i in range(size):
        label = i % n_classes
        texts = make(rng, label)
        while texts in rows:
            texts = make(rng, label)
        rows[texts] = Example.of(texts, label)
    examples = list(rows.values())
    rng.shuffle(examples)
    return tuple(examples)
