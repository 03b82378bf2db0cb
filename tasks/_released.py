"""The few-shot sampler of the released DePT code (its train.py), for reproducing published numbers and nothing else.

It goes through the shuffled rows and takes one while its class has fewer than k // classes, or, as the last one,
whatever comes. So k = 4 of two classes can be 1 + 3, and k = 32 of three classes are 30 rows. A regression counts as
two classes, cut at the middle of its range. The release knew 14 tasks, carried its counts from one draw over to the
next, and drew from large sets after holding 1,000 rows out; none of that is done here.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks._pools import Strata
from tasks._rows import Example


def shuffled(examples: Sequence[Example], seed: int) -> list[Example]:
    """Return rows in the order of ``datasets.Dataset.shuffle(seed)``: it depends on the order they come in."""
    import numpy as np

    return [examples[i] for i in np.random.default_rng(seed).permutation(len(examples))]


def take(examples: Sequence[Example], k: int, strata: Strata) -> list[Example]:
    """Return the rows that the release takes, at most ``k``, from rows already shuffled."""
    counts = [0] * len(strata)
    taken: list[Example] = []
    for example in examples:
        if len(taken) == k:
            break
        label = strata.of(example)
        if counts[label] < k // len(strata) or len(taken) == k - 1:
            counts[label] += 1
            taken.append(example)
    return taken
