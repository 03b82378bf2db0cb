"""Few-shot draws: exact in size, balanced, by seed, whatever the order of the rows.

Neither the same texts nor rows of one block, such as a paragraph's, stand on two sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks import _released
from tasks._errors import TaskError
from tasks._pools import Strata, by_rank, first_of_pools, pools
from tasks._reading import RowStream
from tasks._rows import Example, Rows, text_key

Dev = Literal["k", "full", "none"]
Protocol = Literal["balanced", "released"]


@dataclass(frozen=True)
class FewShotDraw:
    """The rows of one few-shot run: ``train`` to learn from, ``dev`` to choose by, and notes on what was not ideal."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    notes: tuple[str, ...]


def draw_fewshot(
    rows: Rows | RowStream,
    k: int,
    seed: int,
    *,
    per_class: bool = False,
    dev: Dev = "k",
    protocol: Protocol = "balanced",
) -> FewShotDraw:
    """Draw ``k`` training rows, and the rows to choose by, from the rows of a training split.

    Args:
        rows: what to draw from; a stream is gone through without holding it, and gives the same draw.
        k: the number of training rows in total, balanced to within one per class as far as the classes have rows (a
            class that runs out is topped up from the others, with a note); the classes that get one more rotate with
            the seed. Five equal parts of a regression's range count as its classes; rows with answers have none.
        seed: decides which rows.
        per_class: read ``k`` as the number of rows of each class, exactly.
        dev: ``k`` for as many rows again, drawn in the same way; ``full`` for all that is left; ``none``.
        protocol: ``balanced``, or ``released`` for the sampler of the released code, which is neither exact in size nor
            balanced and depends on the order of the rows; dev rows with a training row's texts are left out.

    Raises:
        TaskError: where k is smaller than the number of classes or larger than what there is, or where what is asked
            for does not go together.
    """
    task = rows.task
    if dev not in ("k", "full", "none"):
        raise TaskError(f"dev is {dev!r}: must be 'k', 'full' or 'none'")
    if protocol not in ("balanced", "released"):
        raise TaskError(f"protocol is {protocol!r}: must be 'balanced' or 'released'")
    if per_class and task.gold != "class":
        raise TaskError(f"{task.name} has no classes to draw {k} rows of each: leave --per-class out")
    if k < 1:
        raise TaskError(f"k={k}{' per class' if per_class else ''}: must be at least 1")
    if not per_class and k < len(task.labels):
        raise TaskError(
            f"k={k} is smaller than the {len(task.labels)} classes of {task.name}:"
            f" k is the total number of rows, use {len(task.labels)} or more (or --per-class)"
        )
    if protocol == "released":
        if per_class:
            raise TaskError("the released sampler has no --per-class: use the balanced one")
        return _draw_released(rows, k, seed, dev)
    return _draw_balanced(rows, k, seed, per_class, dev)


def _draw_balanced(rows: Rows | RowStream, k: int, seed: int, per_class: bool, dev: Dev) -> FewShotDraw:
    strata = Strata.of_task(rows.task)
    total = k * len(strata) if per_class else k
    needed = total * (2 if dev == "k" else 1)
    if isinstance(rows, RowStream) and dev == "full":
        raise TaskError(f"{rows.source}: all the rest of a stream cannot be held as dev rows: use dev 'k' or 'none'")
    notes: list[str] = []
    count = needed
    while True:
        if isinstance(rows, Rows):
            ranked, more = pools(rows.examples, strata, seed), False
        else:
            ranked = first_of_pools(rows, strata, seed, count)
            more = any(len(pool) == count for pool in ranked)
        _check_enough(strata, [len(pool) for pool in ranked], k, needed, per_class, dev)
        train_sizes = _sizes([len(pool) for pool in ranked], total, seed)
        train = _take(ranked, train_sizes)
        left = [_apart(pool[size:], train) for pool, size in zip(ranked, train_sizes, strict=True)]
        if dev != "k" or not more or all(len(pool) >= total for pool in left):
            break
        count *= 4  # too many candidates share a block with a training row

    _note_uneven(notes, strata, "train", train_sizes)
    chosen: tuple[Example, ...] = ()
    if dev == "k":
        _check_blocks(strata, [len(pool) for pool in left], k, total, per_class)
        dev_sizes = _sizes([len(pool) for pool in left], total, seed)
        chosen = _take(left, dev_sizes)
        _note_uneven(notes, strata, "dev", dev_sizes)
    elif isinstance(rows, Rows) and dev == "full":
        chosen = _others(rows.examples, train)
        if not chosen:
            raise TaskError(f"no row of {rows.task.name} is left for dev: lower k or use --dev k or none")
    return FewShotDraw(tuple(by_rank(train, seed)), tuple(by_rank(chosen, seed)), tuple(notes))


def _draw_released(rows: Rows | RowStream, k: int, seed: int, dev: Dev) -> FewShotDraw:
    if not isinstance(rows, Rows):
        raise TaskError(f"{rows.source}: the released sampler shuffles all rows: read them with read_rows")
    if rows.task.gold == "answers":
        raise TaskError(f"the released sampler draws by class, {rows.task.name} has none: use the balanced one")
    strata = Strata.of_task(rows.task, parts=2)
    order = _released.shuffled(rows.examples, seed)
    train = tuple(_released.take(order, k, strata))
    chosen: tuple[Example, ...] = ()
    if dev != "none":
        chosen = _others(order, train)
    if dev == "k":
        chosen = tuple(_released.take(chosen, k, strata))
    counts = [sum(strata.of(example) == i for example in train) for i in range(len(strata))]
    return FewShotDraw(train, chosen, (f"the released sampler drew {len(train)} of k={k}: {_shown(strata, counts)}",))


def _others(examples: Sequence[Example], taken: Sequence[Example]) -> tuple[Example, ...]:
    """The examples whose texts and blocks are none of those taken."""
    keys = {text_key(example.texts) for example in taken}
    return tuple(example for example in _apart(examples, taken) if text_key(example.texts) not in keys)


def _apart(examples: Sequence[Example], taken: Sequence[Example]) -> Sequence[Example]:
    """The examples whose blocks are none of those taken."""
    blocks = {example.block for example in taken if example.block}
    return [example for example in examples if example.block not in blocks] if blocks else examples


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


def _take(ranked: Sequence[Sequence[Example]], sizes: Sequence[int]) -> tuple[Example, ...]:
    return tuple(example for pool, size in zip(ranked, sizes, strict=True) for example in pool[:size])


def _counts(strata: Strata, sizes: Sequence[int]) -> Mapping[str, int]:
    return dict(zip(strata.names, sizes, strict=True))


def _shown(strata: Strata, sizes: Sequence[int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in _counts(strata, sizes).items())


def _note_uneven(notes: list[str], strata: Strata, side: str, sizes: Sequence[int]) -> None:
    if max(sizes) - min(sizes) > 1:
        what = "a class" if strata.task.gold == "class" else "a part of the range"
        notes.append(f"{side} is not balanced because {what} ran out of rows: {_shown(strata, sizes)}")


def _check_blocks(strata: Strata, left: Sequence[int], k: int, total: int, per_class: bool) -> None:
    """That blocks without a training row have as many dev rows as wanted; without blocks they always do."""
    if min(left) < k if per_class else sum(left) < total:
        task = strata.task
        raise TaskError(
            f"no {total} dev rows of {task.name} are left with another {task.group[0]} than the training rows"
            f" ({_shown(strata, left)}): lower k, use --dev none, or leave group out of the task's file"
        )


def _check_enough(strata: Strata, available: Sequence[int], k: int, needed: int, per_class: bool, dev: Dev) -> None:
    have, name = _shown(strata, available), strata.task.name
    if per_class:
        each = needed // len(available)
        short = [label for label, count in _counts(strata, available).items() if count < each]
        if short:
            raise TaskError(
                f"k={k} per class needs {each} different rows of each class of {name}"
                f"{' (half of them for dev)' if dev == 'k' else ''}, {short[0]!r} has too few ({have}):"
                f" lower k{', use --dev none or full' if dev == 'k' else ''} or leave --per-class out"
            )
    elif needed > sum(available):
        raise TaskError(
            f"k={k} needs {needed} different rows of {name}"
            f"{' (half of them for dev)' if dev == 'k' else ''}, there are {sum(available)} ({have}):"
            f" lower k{' or use --dev none or full' if dev == 'k' else ''}"
        )
