"""Which stored sources a target may start from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.settings import AUTO, SCRATCH
from orchestrator.setup import Setup
from prompts_store import Artifact, Card, PromptStore, StoredPrompt, StoreError
from tasks import SAMPLE_PREFIX, LabelMap, Task, gold_of_metric, label_map

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A stored source, loaded and verified.

    Attributes:
        stored: Its version in the registry.
        artifact: Its tensors and card.
        labels: Which of its classes stands for each of the target's.
        zero_shot: Whether it can answer the target as it is.
    """

    stored: StoredPrompt
    artifact: Artifact
    labels: LabelMap
    zero_shot: bool


def find_sources(setup: Setup, target: Task, start: str) -> list[Source]:
    """The sources for ``--from``: all compatible ones for ``auto``, the named one, or none for ``scratch``.

    For ``auto`` the best version of each task, except the target's own (its training rows would be in it), and never
    real sources for a sample target or the reverse; a damaged one is left out with a warning. Sources that know all the
    target's labels come first, then the better ones.

    Raises:
        StoreError: If the named one does not exist, is damaged, or was learned on another backbone.
    """
    fingerprint = setup.info.fingerprint
    if start == SCRATCH:
        return []
    if start == AUTO:
        found = [
            stored
            for stored in setup.store.find(method="dept", backbone_fingerprint=fingerprint, k=None)
            if "best" in stored.aliases
            and stored.task != target.name
            and stored.task.startswith(SAMPLE_PREFIX) == target.name.startswith(SAMPLE_PREFIX)
        ]
    else:
        found = [_named(setup, target, start)]
    sources = [source for stored in found if (source := _usable(setup, stored, target, start))]
    return sorted(
        sources, key=lambda s: (not s.zero_shot, -len(s.labels.pairs), -(s.stored.dev_score or 0.0), s.stored.ref)
    )


def load_sources(setup: Setup, target: Task, refs: Sequence[str]) -> list[Source]:
    """The sources that a command had found, in its order, whatever has been stored since.

    Raises:
        StoreError: If one of them is gone.
    """
    return [_load(setup, setup.store.resolve(ref), target) for ref in refs]


def _named(setup: Setup, target: Task, start: str) -> StoredPrompt:
    """What a user means by a name: of sample data where the target is, and of this backbone."""
    names = [start]
    if target.name.startswith(SAMPLE_PREFIX) and not start.startswith(SAMPLE_PREFIX):
        names.insert(0, SAMPLE_PREFIX + start)
    errors = []
    for name in names:
        try:
            return setup.store.resolve(name, method="dept", backbone_fingerprint=setup.info.fingerprint)
        except StoreError as error:
            errors.append(error)
    there = [error for name, error in zip(names, errors, strict=True) if _is_stored(setup.store, name)]
    raise (there or errors[-1:])[0]  # one that is there, for another backbone, is the better clue


def _is_stored(store: PromptStore, ref: str) -> bool:
    try:
        store.resolve(ref)
    except StoreError:
        return False
    return True


def _usable(setup: Setup, stored: StoredPrompt, target: Task, start: str) -> Source | None:
    """A source; None, with a warning, for one of ``auto`` that is damaged: the others are as good without it."""
    try:
        return _load(setup, stored, target)
    except StoreError as error:
        if start != AUTO:
            raise
        log.warning("going on without %s: %s", stored.ref, error)
        return None


def _load(setup: Setup, stored: StoredPrompt, target: Task) -> Source:
    artifact = setup.store.get(stored.ref)
    labels = label_map(target, stored.task, artifact.card.labels)
    return Source(stored, artifact, labels, _can_answer(artifact.card, target, labels))


def _can_answer(card: Card, target: Task, labels: LabelMap) -> bool:
    """A source of classes answers in classes, one of numbers in numbers; a text-to-text backbone in any label words.

    An encoder's head knows its own classes alone; without classes it gives a number.
    """
    if gold_of_metric(card.metric) != target.gold:
        return False
    return card.family != "encoder" or len(labels.pairs) == len(target.labels)
