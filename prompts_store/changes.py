"""What a person changes in a store: which version is best, a name, and what is not wanted any more."""

import re

from prompts_store.errors import StoreError
from prompts_store.lineage import children
from prompts_store.store import PromptStore
from prompts_store.tracking import mlflow_errors
from prompts_store.versions import BEST, LATEST, StoredPrompt

_ALIAS = re.compile(r"(?!v[0-9]+$)[A-Za-z0-9_-]{1,100}")
_NAME = re.compile(r"[A-Za-z0-9_~][A-Za-z0-9._~-]{0,199}")


def promote(store: PromptStore, ref: str, alias: str = BEST) -> StoredPrompt:
    """Give the version that `ref` means the alias `alias`; `best` then stays there whatever is stored later.

    Raises:
        StoreError: nothing answers to `ref`, or `alias` cannot be one.
    """
    if not _ALIAS.fullmatch(alias) or alias.lower() == LATEST:
        raise StoreError(
            f"The alias {alias!r} cannot be given: use letters, digits, '-' and '_', but not 'latest', which is the "
            "newest version, or one such as 'v3'."
        )
    stored = store.resolve(ref)
    with mlflow_errors(store.tracking_uri):
        if alias == BEST:
            store.registry.choose_best(stored.name, stored.version)
        else:
            store.client.set_registered_model_alias(stored.name, alias, str(stored.version))
    return store.resolve(stored.ref)


def promote_by_score(store: PromptStore, ref: str) -> StoredPrompt:
    """Undo `promote` for the name of the version that `ref` means, and return its best by the scores.

    Raises:
        StoreError: nothing answers to `ref`.
    """
    name = store.resolve(ref).name
    with mlflow_errors(store.tracking_uri):
        store.registry.choose_best(name, None)
    return store.resolve(f"{name}@{BEST}")


def rename(store: PromptStore, name: str, new: str) -> list[StoredPrompt]:
    """Rename all versions of `name`, which goes on meaning them; what is stored later joins them.

    Raises:
        StoreError: there is no such name, or `new` cannot be one or means something already.
    """
    if not _NAME.fullmatch(new):
        raise StoreError(
            f"{new!r} cannot be a name: use at most 200 letters, digits, '.', '-', '_' and '~', with no '.' or '-' "
            "first."
        )
    with mlflow_errors(store.tracking_uri):
        there = store.registry.named(name)
        if not there:
            raise store.unknown(name, name)
        now = there[0].name
        if store.registry.is_taken(new, but=now) or store.registry.search(task=new):
            raise StoreError(
                f"The name {new!r} is taken: a registered model has it or had it before, or a task has it."
            )
        if new != now:
            store.registry.rename(now, new)
        return store.registry.search(name=new)


def deletable(store: PromptStore, ref: str, *, force: bool = False) -> StoredPrompt:
    """The version that `delete` with the same arguments would delete.

    Raises:
        StoreError: as `delete`.
    """
    if "/" not in ref:
        raise StoreError(f"{ref!r} does not say which version is to be deleted: write NAME/3.")
    stored = store.resolve(ref)
    started = [] if force else [prompt.ref for prompt in children(store, stored)]
    if started:
        raise StoreError(
            f"{', '.join(started)} started from {stored.ref}: delete them first, or force it and lose their origin."
        )
    return stored


def delete(store: PromptStore, ref: str, *, force: bool = False) -> StoredPrompt:
    """Delete a version and its files, and return what it was; its number is not given again.

    Args:
        store: where it is.
        ref: 'name/version': one that says which.
        force: also when others started from it; what they say of their start then leads nowhere.

    Raises:
        StoreError: `ref` is of another form, nothing answers, or others started from it.
    """
    from prompts_store.transfer import remove

    stored = deletable(store, ref, force=force)
    with mlflow_errors(store.tracking_uri):
        store.client.delete_model_version(stored.name, str(stored.version))  # first: what is half deleted is not seen
        remove(store.client, store.tracking_uri, stored.model_id)
        store.registry.move_best(stored.name)
    return stored
