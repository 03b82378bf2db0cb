"""Held-out rows: a training split cut in two, by content and not by order, without holding its rows.

What decides is an index of 26 bytes a row (34 where the task has groups) that one pass makes; sorting it takes three
times as many for a moment. So a long stream is split like rows in memory, and in the same way.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, overload

from tasks._errors import TaskError
from tasks._pools import Strata, rank
from tasks._reading import RowStream
from tasks._rows import Example, Rows, digest_of, text_key
from tasks._task import Task

if TYPE_CHECKING:
    import numpy as np


class Selection:
    """Some rows of a stream, gone through in its order and never held together.

    Attributes:
        task, split, source, digest: as in ``Rows``.
        digests: of the rows, in their order, as numbers, ``(N,)``.
    """

    def __init__(self, stream: RowStream, chosen: np.ndarray, digests: np.ndarray, source: str) -> None:
        """Take the rows of a stream for which ``chosen``, bool, ``(rows of the stream,)``, holds."""
        import numpy as np

        self.task = stream.task
        self.split = stream.split
        self.source = source
        self.digests = digests[chosen]
        self.digest = digest_of(f"{number:016x}" for number in np.sort(self.digests))
        self._stream = stream
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self.digests)

    def __iter__(self) -> Iterator[Example]:
        try:
            for example, chosen in zip(self._stream, self._chosen, strict=True):
                if chosen:
                    yield example
        except ValueError as error:
            if isinstance(error, TaskError):
                raise
            raise TaskError(f"{self._stream.source} was changed while it was being read: begin again") from None


@overload
def hold_out(rows: Rows, n: int, seed: int, *, share: float | None = ...) -> tuple[Rows, Rows]: ...
@overload
def hold_out(rows: RowStream, n: int, seed: int, *, share: float | None = ...) -> tuple[Selection, Rows]: ...
def hold_out(
    rows: Rows | RowStream, n: int, seed: int, *, share: float | None = None
) -> tuple[Rows, Rows] | tuple[Selection, Rows]:
    """Split rows into (train, dev): ``n`` dev rows in the proportions of the classes, by content hash.

    Rows that repeat the texts of a dev row are left out of the training rows. Where the task has groups, dev is made of
    whole blocks, such as all rows of a paragraph, as many as fit into ``n`` rows, and their proportions are those of
    the classes in them. If not one fits, dev has ``n`` rows of the smallest, and nobody its others.

    Args:
        rows: rows in memory, or a stream, of which the training rows are then a ``Selection``.
        n: dev rows.
        seed: decides which.
        share: of all rows that dev has at most; None for any.

    Raises:
        TaskError: where that leaves no row for one of the sides.
    """
    index = _Index(rows, rows.task, seed)
    if share is not None:
        n = min(n, int(len(index) * share))
    task, source = rows.task, rows.source
    places, left = index.cut(n)
    if isinstance(rows, Rows):
        dev = [rows.examples[place] for place in places.tolist()]
    else:
        wanted = set(places.tolist())
        found = {place: example for place, example in enumerate(rows) if place in wanted}
        dev = [found[place] for place in places.tolist()]
    held = Rows.of(task, "dev", dev, f"{source} ({len(dev)} held out, seed {seed})")
    less = f"{source} (less {len(dev)} held out, seed {seed})"
    if isinstance(rows, Rows):
        kept = (example for example, stays in zip(rows.examples, left.tolist(), strict=True) if stays)
        return Rows.of(task, rows.split, kept, less), held
    return Selection(rows, left, index.digests, less), held


class _Index:
    """What a split needs to know of each row, in arrays.

    Attributes:
        digests: of the examples, as numbers, ``(N,)``.
        texts: for each row the number of its texts, which rows with the same texts share, ``(N,)``; by rank.
        blocks: the same for blocks; empty where the task has no groups.
        winners: the row that stands for each different text, ``(different texts,)``: the one with the lowest digest.
        strata: of the winners, ``(different texts,)``.
    """

    def __init__(self, examples: Iterable[Example], task: Task, seed: int) -> None:
        import numpy as np

        self.task = task
        self._of = Strata.of_task(task)
        ranks, blocks = bytearray(), bytearray()
        digests, strata = array("Q"), array("H")
        for example in examples:
            # sixteen bytes tell any two texts apart
            ranks += rank(text_key(example.texts), seed)[:16]
            digests.append(int(example.digest, 16))
            strata.append(self._of.of(example))
            if example.block:
                blocks += rank(example.block, seed)[:8]
        self.digests = np.frombuffer(digests, np.uint64)
        high, low = np.frombuffer(ranks, ">u8").reshape(-1, 2).T
        order = np.lexsort((self.digests, low, high))
        first = np.ones(len(order), bool)
        first[1:] = (high[order[1:]] != high[order[:-1]]) | (low[order[1:]] != low[order[:-1]])
        self.texts = np.empty(len(order), np.int64)
        self.texts[order] = first.cumsum() - 1
        self.winners = order[first]
        self.strata = np.frombuffer(strata, np.uint16)[self.winners]
        self.blocks = np.unique(np.frombuffer(blocks, ">u8"), return_inverse=True)[1]

    def __len__(self) -> int:
        return len(self.digests)

    def cut(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the dev rows, and for each row whether it is left for training."""
        import numpy as np

        if not 1 <= n < len(self.winners):
            raise TaskError(
                f"cannot hold {n} of the {len(self.winners)} different rows of {self.task.name} out: must be from 1 to"
                f" {len(self.winners) - 1}"
            )
        places = self._whole_blocks(n) if len(self.blocks) else self._in_proportion(n)
        left = ~np.isin(self.texts, self.texts[places])
        if len(self.blocks):
            left &= ~np.isin(self.blocks, self.blocks[places])
        if not left.any():
            raise TaskError(
                f"all rows of {self.task.name} have the same {self.task.group[0]}, so that none can be held out: give"
                " rows of several, or leave group out of the task's file"
            )
        return places, left

    def _in_proportion(self, n: int) -> np.ndarray:
        import numpy as np

        ranked = [self.winners[self.strata == stratum] for stratum in range(len(self._of))]
        exact = [n * len(pool) / len(self.winners) for pool in ranked]
        sizes = [int(share) for share in exact]
        for stratum in sorted(range(len(sizes)), key=lambda i: sizes[i] - exact[i])[: n - sum(sizes)]:
            sizes[stratum] += 1
        return np.concatenate([pool[:size] for pool, size in zip(ranked, sizes, strict=True)])

    def _whole_blocks(self, n: int) -> np.ndarray:
        import numpy as np

        of_winner = self.blocks[self.winners]
        counts = np.bincount(of_winner, minlength=self.blocks.max() + 1)
        chosen, room = [], n
        for block, count in enumerate(counts.tolist()):  # by rank
            if 0 < count <= room:
                chosen.append(block)
                room -= count
                if not room:
                    break
        if not chosen:
            chosen.append(int(np.where(counts, counts, counts.max() + 1).argmin()))
        return self.winners[np.isin(of_winner, chosen)][:n]
