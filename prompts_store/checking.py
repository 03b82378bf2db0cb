"""Whether everything that is stored is as it was stored."""

from collections.abc import Iterator
from dataclasses import dataclass

from prompts_store.errors import StoreError
from prompts_store.store import PromptStore
from prompts_store.tracking import mlflow_errors


@dataclass(frozen=True)
class Checked:
    """A version, and the reason why it is not to be used, if there is one."""

    ref: str
    problem: str | None


def verify(store: PromptStore, ref: str | None = None) -> Iterator[Checked]:
    """Check the version that `ref` means, or every one: files, hashes, card and tensors, as they lie in the store.

    Raises:
        StoreError: nothing answers to `ref`, or the store cannot be asked.
    """
    if ref is None:
        with mlflow_errors(store.tracking_uri):
            unreadable = store.registry.unreadable()
        for found in unreadable:
            yield Checked(found, "The registry's tag cannot be read, so that the version is not listed: delete it.")
    for stored in store.list() if ref is None else [store.resolve(ref)]:
        try:
            store.fetch(stored, cache=None)
        except StoreError as error:
            yield Checked(stored.ref, str(error))
        else:
            yield Checked(stored.ref, None)
