"""Labelled rows and their digests, which do not depend on the order of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from tasks._task import Task


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled row; what it is labelled with depends on the task's form.

    Attributes:
        texts: in the order of the task's fields.
        label: the class, from 0; of a choice the right option; -1 where rows have no class.
        digest: of the texts and what they are labelled with: 16 hex digits of a SHA-256.
        value: the number of a regression.
        answers: of a span task every answer that counts as right.
        group: names the question the row belongs to; empty where the task has no groups.
        block: names what holds rows together that must not stand on two sides of a split, such as their paragraph;
            empty where the task has no groups.
    """

    texts: tuple[str, ...]
    label: int
    digest: str
    value: float | None = None
    answers: tuple[str, ...] = ()
    group: str = ""
    block: str = ""

    @classmethod
    def of(cls, texts: tuple[str, ...], label: int, group: str = "", block: str = "") -> Example:
        """Make an example of a class."""
        return cls(texts, label, _digest((*texts, str(label))), group=group, block=block)

    @classmethod
    def valued(cls, texts: tuple[str, ...], value: float, group: str = "", block: str = "") -> Example:
        """Make an example of a number."""
        return cls(texts, -1, _digest((*texts, repr(value))), value=value, group=group, block=block)

    @classmethod
    def answered(cls, texts: tuple[str, ...], answers: tuple[str, ...], group: str = "", block: str = "") -> Example:
        """Make an example with one or more right answers."""
        return cls(texts, -1, _digest((*texts, *answers)), answers=answers, group=group, block=block)


def _digest(parts: tuple[str, ...]) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class BadRows:
    """Malformed rows that were left out.

    Attributes:
        count: how many.
        first: what was wrong with the first few, each with file and line.
    """

    SHOWN: ClassVar[int] = 5
    count: int = 0
    first: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = f"; and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return f"{self.count} malformed rows were left out: " + "; ".join(self.first) + more if self.count else ""


@dataclass(frozen=True)
class Rows:
    """The rows of one split of one task.

    Attributes:
        task: the task they belong to.
        split: ``train``, ``validation`` or ``test``.
        examples: the rows.
        digest: SHA-256 over the rows as a multiset: the order in a file does not change it.
        source: where they came from, for people and for run records.
        bad: malformed rows that were left out, where that was asked for.
    """

    task: Task
    split: str
    examples: tuple[Example, ...]
    digest: str
    source: str
    bad: BadRows = BadRows()

    @classmethod
    def of(cls, task: Task, split: str, examples: Iterable[Example], source: str, bad: BadRows | None = None) -> Rows:
        """Make rows and their digest."""
        kept = tuple(examples)
        return cls(task, split, kept, rows_digest(kept), source, bad or BadRows())

    def __len__(self) -> int:
        return len(self.examples)

    def __iter__(self) -> Iterator[Example]:
        return iter(self.examples)

    def label_counts(self) -> dict[str, int]:
        """Return label name -> number of rows, in label order, zeros included; empty where rows have no class."""
        counts = [0] * len(self.task.labels)
        for example in self.examples if counts else ():
            counts[example.label] += 1
        return dict(zip(self.task.labels, counts, strict=True))


def rows_digest(examples: Iterable[Example]) -> str:
    """Return the SHA-256 over the examples' digests, sorted, as 64 hex digits."""
    return digest_of(sorted(example.digest for example in examples))


def digest_of(digests: Iterable[str]) -> str:
    """Return the SHA-256 over sorted digests of examples, one a line, as 64 hex digits."""
    whole = hashlib.sha256()
    for n, digest in enumerate(digests):
        whole.update(f"\n{digest}".encode() if n else digest.encode())
    return whole.hexdigest()


def text_key(texts: tuple[str, ...]) -> str:
    """Return the texts as compared for duplicates: case and whitespace do not count."""
    return "\x1f".join(" ".join(text.split()) for text in texts).casefold()


def find_leaks(train: Iterable[Example], test: Iterable[Example]) -> list[Example]:
    """Return the examples of ``test`` whose texts also stand in ``train``, ignoring case and whitespace.

    ``train`` is gone through once and not held.
    """
    keys = [(text_key(example.texts), example) for example in test]
    wanted = {key for key, _ in keys}
    found = {key for example in train if (key := text_key(example.texts)) in wanted}
    return [example for key, example in keys if key in found]
