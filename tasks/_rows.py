"""Labelled rows and their digests, which do not depend on the order of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from tasks._task import Task


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled row: its texts in the order of the task's fields, its label id, and the digest of both."""

    texts: tuple[str, ...]
    label: int
    digest: str

    @classmethod
    def of(cls, texts: tuple[str, ...], label: int) -> Example:
        """Make an example and its digest (16 hex digits of the SHA-256 of texts and label)."""
        content = "\x1f".join((*texts, str(label)))
        return cls(texts, label, hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16])


@dataclass(frozen=True)
class Rows:
    """The rows of one split of one task.

    Attributes:
        task: the task they belong to.
        split: ``train``, ``validation`` or ``test``.
        examples: the rows.
        digest: SHA-256 over the rows as a multiset: the order in a file does not change it.
        source: where they came from, for people and for run records.
    """

    task: Task
    split: str
    examples: tuple[Example, ...]
    digest: str
    source: str

    @classmethod
    def of(cls, task: Task, split: str, examples: Iterable[Example], source: str) -> Rows:
        """Make rows and their digest."""
        kept = tuple(examples)
        return cls(task, split, kept, rows_digest(kept), source)

    def __len__(self) -> int:
        return len(self.examples)

    def label_counts(self) -> dict[str, int]:
        """Return label name -> number of rows, in label order, zeros included."""
        counts = [0] * len(self.task.labels)
        for example in self.examples:
            counts[example.label] += 1
        return dict(zip(self.task.labels, counts, strict=True))


def rows_digest(examples: Iterable[Example]) -> str:
    """Return the SHA-256 over the examples' digests, sorted, as 64 hex digits."""
    return hashlib.sha256("\n".join(sorted(example.digest for example in examples)).encode()).hexdigest()


def text_key(texts: tuple[str, ...]) -> str:
    """Return the texts as compared for duplicates: case and whitespace do not count."""
    return "\x1f".join(" ".join(text.split()) for text in texts).casefold()


def find_leaks(train: Iterable[Example], test: Iterable[Example]) -> list[Example]:
    """Return the examples of ``test`` whose texts also stand in ``train``, ignoring case and whitespace."""
    known = {text_key(example.texts) for example in train}
    return [example for example in test if text_key(example.texts) in known]
