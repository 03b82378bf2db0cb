"""Few-shot draws and held-out rows: exact in size, balanced, by seed, whatever the order of the rows.

Rows are ranked by a hash of the seed and their content, so that a file's order changes nothing and a smaller draw is
contained in a larger one of the same seed. Rows with the same texts (ignoring case and whitespace) count once, and
never stand on two sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks._errors import TaskError
from tasks._rows import Example, Rows, text_key

Dev = Literal["k", "full", "none"]


@dataclass(frozen=True)
class FewShotDraw:
    """The rows of one few-shot run: ``train`` to learn from, ``dev`` to choose by, and notes on what was not ideal."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    notes: tuple[str, ...]


def draw_fewshot(rows: Rows, k: int, seed: int, *, per_class: bool = False, dev: Dev = "k") -> FewShotDraw:
    """Draw ``k`` training rows, and the rows to choose by, from the rows of a training split.

    Args:
        rows: what to draw from.
        k: the number of training rows in total, balanced to within one per class as far as the classes have rows (a
            class that runs out is topped up from the others, with a note); the classes that get one more rotate with
            the seed.
        seed: decides which rows.
        per_class: read ``k`` as the number of rows of each class, exactly.
        dev: ``k`` for as many rows again, drawn in the same way; ``full`` for all that is left; ``none``.

    Raises:
        TaskError: where k is smaller than the number of classes or larger than what there is.
    """
    n_classes = len(rows.task.labels)
    if dev not in ("k", "full", "none"):
        raise TaskError(f"dev is {dev!r}: must be 'k', 'full' or 'none'")
    if per_class and k < 1:
        raise TaskError(f"k={k} per class: must be at least 1")
    if not per_class and k < n_classes:
        raise TaskError(
            f"k={k} is smaller than the {n_classes} classes of {rows.task.name}:"
            f" k is the total number of rows, use {n_classes} or more (or --per-class)"
        )
    pools = _pools(rows.examples, n_classes, seed)
    total = k * n_classes if per_class else k
    parts = 2 if dev == "k" else 1
    _check_enough(rows, [len(pool) for pool in pools], k, total * parts, per_class, dev)

    notes: list[str] = []
    train_sizes = _sizes([len(pool) for pool in pools], total, seed)
    train = _take(pools, train_sizes)
    _note_uneven(notes, rows, "train", train_sizes)
    chosen: tuple[Example, ...] = ()
    if dev == "k":
        left = [pool[size:] for pool, size in zip(pools, train_sizes, strict=True)]
        dev_sizes = _sizes([len(pool) for pool in left], total, seed)
        chosen = _take(left, dev_sizes)
        _note_uneven(notes, rows, "dev", dev_sizes)
    elif dev == "full":
        taken = {text_key(example.texts) for example in train}
        chosen = tuple(_by_rank((e for e in rows.examples if text_key(e.texts) not in taken), seed))
    return FewShotDraw(_shuffled(train, seed), _shuffled(chosen, seed), tuple(notes))


def hold_out(rows: Rows, n: int, seed: int) -> tuple[Rows, Rows]:
    """Split rows into (train, dev) with ``n`` dev rows in the proportions of the classes, by content hash.

    Rows that repeat the texts of a dev row are left out of the training rows.

    Raises:
        TaskError: where n is not between 1 and the number of different rows, less one.
    """
    pools = _pools(rows.examples, len(rows.task.labels), seed)
    available = [len(pool) for pool in pools]
    if not 1 <= n < sum(available):
        raise TaskError(
            f"cannot hold {n} of the {sum(available)} different rows of {rows.task.name} out: must be from 1 to"
            f" {sum(available) - 1}"
        )
    exact = [n * count / sum(available) for count in available]
    sizes = [int(share) for share in exact]
    for label in sorted(range(len(sizes)), key=lambda i: sizes[i] - exact[i])[: n - sum(sizes)]:
        sizes[label] += 1
    dev = _take(pools, sizes)
    taken = {text_key(example.texts) for example in dev}
    train = [example for example in rows.examples if text_key(example.texts) not in taken]
    dev_source = f"{rows.source} ({n} held out, seed {seed})"
    train_source = f"{rows.source} (less {n} held out, seed {seed})"
    return Rows.of(rows.task, rows.split, train, train_source), Rows.of(rows.task, "dev", dev, dev_source)


def _rank(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{text}".encode("utf-8", "surrogatepass")).digest()


def _by_rank(examples: Iterable[Example], seed: int) -> list[Example]:
    return sorted(examples, key=lambda example: (_rank(example.digest, seed), example.digest))


def _shuffled(examples: tuple[Example, ...], seed: int) -> tuple[Example, ...]:
    return tuple(_by_rank(examples, seed))


def _pools(examples: Iterable[Example], n_classes: int, seed: int) -> list[list[Example]]:
    """Return, per class, one row for each different text, ranked by seed; a text with two labels keeps one by rank."""
    different: dict[str, Example] = {}
    for example in examples:
        key = text_key(example.texts)
        known = different.get(key)
        if known is None or example.digest < known.digest:
            different[key] = example
    pools: list[list[Example]] = [[] for _ in range(n_classes)]
    for _, example in sorted((_rank(key, seed), example) for key, example in different.items()):
        pools[example.label].append(example)
    return pools


def _sizes(available: Sequence[int], total: int, seed: int) -> list[int]:
    """Share ``total`` among the classes one at a time, starting from a class the seed picks, while they have rows."""
    n = len(available)
    order = [(seed + i) % n for i in range(n)]
    sizes = [0] * n
    while total > 0:
        open_classes = [label for label in order if sizes[label] < available[label]]
        rounds = min(min(available[i] - sizes[i] for i in open_classes), total // len(open_classes))
        for label in open_classes if rounds else open_classes[:total]:
            sizes[label] += rounds or 1
            total -= rounds or 1
    return sizes


def _take(pools: Sequence[Sequence[Example]], sizes: Sequence[int]) -> tuple[Example, ...]:
    return tuple(example for pool, size in zip(pools, sizes, strict=True) for example in pool[:size])


def _counts(rows: Rows, sizes: Sequence[int]) -> Mapping[str, int]:
    return dict(zip(rows.task.labels, sizes, strict=True))


def _shown(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count}" for label, count in counts.items())


def _note_uneven(notes: list[str], rows: Rows, side: str, sizes: Sequence[int]) -> None:
    if max(sizes) - min(sizes) > 1:
        notes.append(f"{side} is not balanced because a class ran out of rows: {_shown(_counts(rows, sizes))}")


def _check_enough(rows: Rows, available: Sequence[int], k: int, needed: int, per_class: bool, dev: Dev) -> None:
    have = _shown(_counts(rows, available))
    if per_class:
        each = needed // len(available)
        short = [label for label, count in _counts(rows, available).items() if count < each]
        if short:
            raise TaskError(
                f"k={k} per class needs {each} different rows of each class of {rows.task.name}"
                f"{' (half of them for dev)' if dev == 'k' else ''}, {short[0]!r} has too few ({have}):"
                f" lower k{', use --dev none or full' if dev == 'k' else ''} or leave --per-class out"
            )
    elif needed > sum(available):
        raise TaskError(
            f"k={k} needs {needed} different rows of {rows.task.name}"
            f"{' (half of them for dev)' if dev == 'k' else ''}, there are {sum(available)} ({have}):"
            f" lower k{' or use --dev none or full' if dev == 'k' else ''}"
        )
