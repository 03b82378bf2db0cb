"""Bringing prompts from one store to another, with what they started from."""

from dataclasses import dataclass

from prompts_store.errors import StoreError
from prompts_store.lineage import ORIGINS, ancestors, parent
from prompts_store.secrets import without_secrets
from prompts_store.store import PromptStore
from prompts_store.versions import StoredPrompt


@dataclass(frozen=True)
class Copied:
    """A prompt in the store it came from, and as it stands in the other."""

    source: StoredPrompt
    stored: StoredPrompt
    new: bool
    """Whether it was not there before."""


def copy_prompt(source: PromptStore, ref: str, to: PromptStore) -> list[Copied]:
    """Store the prompt that `ref` means in `source` also in `to`, after what it started from, the oldest first.

    A prompt is known by its tensors and the run that learned it, in whatever store: copying again, or back, stores
    nothing twice. Each card's `start` names the version in `to`; a start that `source` has lost becomes 'unknown'.

    Raises:
        StoreError: the stores are the same, nothing answers to `ref`, or one of the prompts is refused; those before it
            are then stored, and whole.
    """
    from prompts_store.artifact import Artifact  # imports torch

    if source.tracking_uri == to.tracking_uri:
        raise StoreError(f"Both stores are {without_secrets(to.tracking_uri)}: name another one.")
    prompt = source.resolve(ref)
    copied: dict[str, Copied] = {}
    for stored in [*reversed(ancestors(source, prompt)), prompt]:
        before = parent(source, stored)
        start = stored.start if stored.start in ORIGINS else "unknown"
        if before is not None and before.ref in copied:
            start = copied[before.ref].stored.ref
        artifact = source.get(stored.ref)
        card = artifact.card.model_copy(update={"start": start, "origin_run": stored.learned_by, "run_id": None})
        there = {other.ref for other in to.find(task=stored.task)}
        put = to.put(Artifact(card, artifact.tensors), run_id=None)
        copied[stored.ref] = Copied(stored, put, put.ref not in there)
    return list(copied.values())
