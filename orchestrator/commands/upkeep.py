"""`orchestrator prompts promote|rename|delete|gc|verify|push|pull`: what changes a store, and what keeps it whole."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from orchestrator.commands.prompts import meant, some_store
from orchestrator.errors import UsageError
from prompts_store import PromptStore, StoredPrompt, StoreError
from prompts_store.changes import deletable, delete, promote, promote_by_score, rename
from prompts_store.checking import Checked, verify
from prompts_store.cleaning import Rubbish, collect
from prompts_store.copying import Copied, copy_prompt
from prompts_store.secrets import without_secrets
from prompts_store.tracking import database_path
from prompts_store.versions import BEST


def promote_prompt(ref: str, alias: str, auto: bool, console: Console) -> StoredPrompt:
    """Give a version an alias, or with ``auto`` let the scores decide again which one is the best of its name.

    Raises:
        UsageError: If ``auto`` is asked for with another alias than ``best``.
        StoreError: If nothing answers to ``ref``, or the alias cannot be given.
    """
    if auto and alias != BEST:
        raise UsageError(f"--auto is about {BEST!r} alone, not about {alias!r}: leave one of them out")
    store = some_store()
    ref = meant(store, ref).ref
    stored = promote_by_score(store, ref) if auto else promote(store, ref, alias)
    if auto:
        text = f"{stored.ref} is the best of {stored.name} by its score"
    else:
        stays = f"; it stays so until `orchestrator prompts promote {stored.name} --auto`" if alias == BEST else ""
        text = f"{stored.ref} is {stored.name}@{alias}{stays}"
    console.print(text, highlight=False, soft_wrap=True)
    return stored


def rename_prompt(name: str, new: str, console: Console) -> list[StoredPrompt]:
    """Rename all versions of a name.

    Raises:
        StoreError: If there is no such name, or the new one cannot be one or is taken.
    """
    stored = rename(some_store(), name, new)
    console.print(f"renamed to {new}, versions: {len(stored)}; {name} goes on meaning them", highlight=False)
    return stored


def delete_prompt(ref: str, force: bool, confirm: Callable[[str], bool], console: Console) -> StoredPrompt | None:
    """Delete a version and its files.

    Args:
        ref: ``NAME/3``.
        force: Also if others started from it.
        confirm: Asks a question; nothing is deleted unless it returns True.
        console: Where to.

    Raises:
        StoreError: If nothing answers to ``ref``, it names no version, or others started from it.
    """
    store = some_store()
    stored = deletable(store, ref, force=force)
    if not confirm(f"Delete {stored.ref} and its files? They cannot be brought back."):
        console.print("nothing was deleted")
        return None
    delete(store, stored.ref, force=force)
    console.print(f"deleted {stored.ref}", highlight=False)
    return stored


def collect_rubbish(dry_run: bool, minutes: float, console: Console) -> list[Rubbish]:
    """Remove what killed processes and lost files left behind, and say what.

    Raises:
        StoreError: If no version has its files.
    """
    found = collect(some_store(), dry_run=dry_run, grace=minutes * 60)
    for rubbish in found:
        console.print(f"{rubbish.what}: {rubbish.reason}", highlight=False, soft_wrap=True)
    console.print(f"{len(found)} {'would be ' if dry_run else ''}removed", highlight=False)
    return found


def verify_prompts(ref: str | None, console: Console) -> list[Checked]:
    """Check a version's files against its hashes, or those of every version, and say what is wrong.

    Returns:
        Those that are wrong.

    Raises:
        StoreError: If nothing answers to ``ref``.
    """
    store = some_store()
    checked = list(verify(store, None if ref is None else meant(store, ref).ref))
    wrong = [version for version in checked if version.problem]
    for version in wrong:
        console.print(f"{version.ref}: {version.problem}", highlight=False, soft_wrap=True)
    console.print(f"{len(checked) - len(wrong)} of {len(checked)} versions are whole", highlight=False)
    return wrong


def push_prompt(ref: str, to: str, console: Console) -> list[Copied]:
    """Store a prompt, and what it started from, in another store too.

    Raises:
        StoreError: If a store cannot be used, or a prompt is refused.
    """
    store = some_store()
    return _copy(store, meant(store, ref).ref, PromptStore(to), to, console)


def pull_prompt(ref: str, origin: str, console: Console) -> list[Copied]:
    """Store a prompt of another store, and what it started from, in this one too.

    Raises:
        StoreError: If a store cannot be used, or a prompt is refused.
    """
    path = database_path(origin)
    if path is not None and not path.exists():
        raise StoreError(f"There is no store {path} to pull from: check the path.")
    source, here = PromptStore(origin), PromptStore()
    return _copy(source, meant(source, ref).ref, here, here.tracking_uri, console)


def _copy(source: PromptStore, ref: str, to: PromptStore, place: str, console: Console) -> list[Copied]:
    copied = copy_prompt(source, ref, to)
    for one in copied:
        what = "stored" if one.new else "was there already"
        console.print(f"{one.source.ref}: {what} as {one.stored.ref}", highlight=False, soft_wrap=True)
        if one.stored.start == "unknown" != one.source.start:
            console.print(f"  what it started from, {one.source.start}, is gone", highlight=False, soft_wrap=True)
    new = sum(one.new for one in copied)
    console.print(f"{new} new in {without_secrets(place)}", highlight=False, soft_wrap=True)
    return copied
