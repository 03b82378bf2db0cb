"""How a source's labels stand for a target's: by the target's own map, by their names, or not at all."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks._errors import TaskError, did_you_mean
from tasks._sources import SAMPLE_PREFIX
from tasks._task import Task


@dataclass(frozen=True)
class LabelMap:
    """Which of a source's classes stands for each of a target's.

    Attributes:
        pairs: target class -> source class, in the target's order; a target's class without one starts fresh.
        how: ``map`` where the target's ``labels_from`` says so, ``name`` where names are equal, ``none`` where neither.
    """

    pairs: Mapping[int, int]
    how: Literal["map", "name", "none"]


def label_map(target: Task, source_task: str, source_labels: Sequence[str]) -> LabelMap:
    """Map a source's labels to a target's.

    Where the target's ``labels_from`` names the source task, that alone counts: a label it leaves out has no match, and
    an empty map says that equal names mean nothing. Otherwise labels match by name, see ``match_labels``.

    Args:
        target: the task to start.
        source_task: the task the source was learned on; a sample task counts as the task it stands for.
        source_labels: the source's labels, in the order of its classes.

    Raises:
        TaskError: where ``labels_from`` names a label that the source does not have.
    """
    named = target.labels_from.get(source_task.removeprefix(SAMPLE_PREFIX))
    if named is None:
        pairs = match_labels(source_labels, target.labels)
        return LabelMap(pairs, "name" if pairs else "none")
    for label in named.values():
        if label not in source_labels:
            raise TaskError(
                f"labels_from of {target.name} says {label!r} for the source {source_task}, which has"
                f" {', '.join(source_labels)}{did_you_mean(label, source_labels)}: correct the task's file"
            )
    pairs = {i: source_labels.index(named[label]) for i, label in enumerate(target.labels) if label in named}
    return LabelMap(pairs, "map" if pairs else "none")


def match_labels(source_labels: Sequence[str], target_labels: Sequence[str]) -> dict[int, int]:
    """Target index -> source index, for each target label that a source label matches by name.

    Equal names match first; then those equal up to case and to '_', '-' or spaces between words, if that leaves only
    one label on either side. ("not_entailment" matches "Not-entailment"; "-1" does not match "1".)
    """
    mapping = {t: source_labels.index(label) for t, label in enumerate(target_labels) if label in source_labels}
    used = set(mapping.values())
    sources = {i: _normalised(label) for i, label in enumerate(source_labels) if i not in used}
    targets = {i: _normalised(label) for i, label in enumerate(target_labels) if i not in mapping}
    source_counts, target_counts = Counter(sources.values()), Counter(targets.values())
    for t, name in targets.items():
        if target_counts[name] == source_counts[name] == 1:
            mapping[t] = next(i for i, other in sources.items() if other == name)
    return dict(sorted(mapping.items()))


def _normalised(label: str) -> str:
    words = re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", " ", unicodedata.normalize("NFKC", label))
    return words.strip().casefold()
