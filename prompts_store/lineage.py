"""What a stored prompt started from, and what started from it."""

from typing import TYPE_CHECKING

from prompts_store.errors import StoreError
from prompts_store.tracking import mlflow_errors
from prompts_store.versions import StoredPrompt

if TYPE_CHECKING:
    from prompts_store.store import PromptStore

ORIGINS = ("scratch", "unknown")
"""Starts that are not versions."""


def ancestors(store: "PromptStore", prompt: StoredPrompt) -> list[StoredPrompt]:
    """What `prompt` started from, what that started from, and so on, as far as the store has it."""
    chain: list[StoredPrompt] = []
    while (before := parent(store, (chain or [prompt])[-1])) is not None and before not in (prompt, *chain):
        chain.append(before)
    return chain


def parent(store: "PromptStore", prompt: StoredPrompt) -> StoredPrompt | None:
    """What `prompt` started from; None where that is no version, or one that is not in the store any more."""
    if prompt.start in ORIGINS:
        return None
    try:
        return store.resolve(prompt.start)
    except StoreError:
        return None


def children(store: "PromptStore", prompt: StoredPrompt) -> list[StoredPrompt]:
    """The stored prompts that started from `prompt`, under this name or one it had before."""
    with mlflow_errors(store.tracking_uri):
        names = [prompt.name, *store.registry.former_names(prompt.name)]
    refs = {f"{name}/{prompt.version}" for name in names}
    return [other for other in store.list() if other.start in refs]
