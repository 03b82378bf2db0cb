"""`orchestrator prompts list|show|find|similar`: what is in the store."""

from __future__ import annotations

from types import EllipsisType

from rich.console import Console
from rich.table import Column, Table

from orchestrator.errors import UsageError
from orchestrator.reading import existing_store, store_place
from prompts_store import Card, PromptStore, StoredPrompt, StoreError
from prompts_store.lineage import ORIGINS, ancestors, children
from prompts_store.similar import Measure, similar
from prompts_store.versions import by_score
from tasks import SAMPLE_PREFIX

UNKNOWN = "-"
SOURCE = "source"
NOTHING = "no prompts are stored in {place}: make one with `orchestrator pretrain-source --tasks mnli`"


def list_prompts(task: str | None, everything: bool, console: Console) -> list[StoredPrompt]:
    """Print the stored versions: those with an alias, or all of them.

    Args:
        task: Only prompts of this task or of its sample form.
        everything: Also versions that are neither the best nor the latest of their name.
        console: Where to.

    Raises:
        StoreError: If there are prompts, but none of this task.
    """
    store = existing_store()
    stored = [] if store is None else store.list()
    if not stored:
        console.print(NOTHING.format(place=store_place()), highlight=False, soft_wrap=True)
        return []
    found = [prompt for prompt in stored if task is None or prompt.task in (task, SAMPLE_PREFIX + task)]
    if not found:
        known = ", ".join(sorted({prompt.task for prompt in stored}))
        raise StoreError(
            f"No prompt is stored for the task {task!r}; there are prompts for {known}. Make one with `orchestrator "
            f"pretrain-source --tasks {task}`, or leave --task out."
        )
    shown = [prompt for prompt in found if everything or prompt.aliases]
    console.print(_table(shown))
    if len(shown) < len(found):
        console.print(f"older versions, shown by --all: {len(found) - len(shown)}", highlight=False)
    return shown


def find_prompts(
    task: str | None,
    method: str | None,
    backbone: str | None,
    k: str | None,
    min_score: float | None,
    text: str | None,
    console: Console,
) -> list[StoredPrompt]:
    """Print the stored versions that fit all that is given, the highest dev score first.

    Args:
        task: Only prompts of this task or of its sample form.
        method: Only prompts of this method.
        backbone: Only prompts for a backbone of this name.
        k: Only few-shot results of this k, or ``source`` for those learned on all rows.
        min_score: Only those with a dev score of at least this, in the metric's own unit.
        text: Only those with this in their name.
        console: Where to.

    Raises:
        UsageError: If ``k`` is neither a number nor ``source``.
    """
    rows = _rows(k)
    store = existing_store()
    if store is None:
        console.print(NOTHING.format(place=store_place()), highlight=False, soft_wrap=True)
        return []
    found = [
        prompt
        for name in ([None] if task is None else [task, SAMPLE_PREFIX + task])
        for prompt in store.find(task=name, method=method, backbone=backbone, k=rows, min_score=min_score, text=text)
    ]
    found.sort(key=by_score)
    if found:
        console.print(_table(found))
    else:
        console.print("no stored prompt is like that: `orchestrator prompts list --all` shows all", highlight=False)
    return found


def similar_prompts(ref: str, measure: Measure, limit: int, console: Console) -> list[tuple[StoredPrompt, float]]:
    """Print the prompts of the same backbone that are most alike to one.

    Args:
        ref: Which one.
        measure: ``mean`` or ``pairs``; see ``prompts_store.similar``.
        limit: How many to print.
        console: Where to.

    Raises:
        StoreError: If nothing answers to ``ref``, or it cannot be compared.
    """
    store = some_store()
    stored = meant(store, ref)
    found = similar(store, stored.ref, measure=measure)[:limit]
    if not found:
        console.print(f"no other prompt is stored for the backbone of {stored.ref}", highlight=False)
        return []
    table = Table(Column("prompt", no_wrap=True), "similarity", "rows", "dev", title=f"like {stored.ref}")
    for prompt, score in found:
        table.add_row(prompt.ref, f"{score:.3f}", _rows_seen(prompt), _percent(prompt.dev_score))
    console.print(table)
    return found


def some_store() -> PromptStore:
    """The store, for a command that needs something in it.

    Raises:
        StoreError: If there is none.
    """
    store = existing_store()
    if store is None:
        raise StoreError(NOTHING.format(place=store_place()))
    return store


def show_prompt(ref: str, console: Console) -> Card:
    """Print one version's card, scores and origin, after checking its files against them.

    Raises:
        StoreError: If nothing answers to ``ref``, or its files are missing or changed.
    """
    store = some_store()
    stored = meant(store, ref)
    artifact = store.get(stored.ref)
    card = artifact.card
    tensors = ", ".join(f"{name} {'x'.join(map(str, tensor.shape))}" for name, tensor in artifact.tensors.items())
    parameters = card.m * card.d + (card.s + card.d) * card.r
    started = [prompt.ref for prompt in children(store, stored)]
    test = "not tested" if card.test_score is None else _percent(card.test_score)
    rows = f"{_known(card.rows_train)} rows" if card.k is None else f"k = {card.k} rows"
    resized = card.resized_from
    lines = {
        "prompt": stored.ref + (f" ({', '.join(stored.aliases)})" if stored.aliases else ""),
        "task": f"{card.task}, version {card.task_version}; labels {', '.join(card.labels)}",
        "method": f"{card.method}: m={card.m}, r={card.r}, s={card.s}, γ={card.gamma:.4g}; {parameters:,} parameters",
        "backbone": f"{card.backbone} ({card.family}, d={card.d}), fingerprint {card.backbone_fingerprint[:12]}",
        "scores": f"{card.metric}: dev {_percent(card.dev_score)}, test {test}",
        "trained": f"on {rows} ({card.data_source}, digest {card.data_digest}), best at step {_known(card.steps)}, "
        f"batch {_known(card.batch)}, α1={_known(card.alpha1)}, α2={_known(card.alpha2)}, seed {_known(card.seed)}",
        "start": " <- ".join(_lineage(store, stored))
        + (f"; resized from m={resized.m}, r={resized.r}, s={resized.s}" if resized else ""),
        "started": ", ".join(started) or "nothing yet",
        "run": f"{card.run_id}{_run_name(store, card)}"
        + (f"; learned by the run {card.origin_run} of another store" if card.origin_run else ""),
        "made": f"{card.created} by orchestrator {card.orchestrator_version}",
        "tensors": f"{tensors}; SHA-256 {str(card.tensors_sha256)[:12]}, checked",
    }
    table = Table.grid(padding=(0, 2))
    for name, text in lines.items():
        table.add_row(name, text)
    console.print(table, highlight=False, markup=False)
    return card


def _percent(score: float | None) -> str:
    return UNKNOWN if score is None else f"{score:.1%}"


def _known(number: float | None) -> str:
    return UNKNOWN if number is None else f"{number:.3g}" if isinstance(number, float) else str(number)


def _table(prompts: list[StoredPrompt]) -> Table:
    name = Column("prompt", no_wrap=True)  # it is copied into other commands
    table = Table(name, "marks", "rows", "dev", Column("start", overflow="fold"), Column("made", no_wrap=True))
    for prompt in prompts:
        marks = ", ".join(prompt.aliases)
        made = prompt.created[:10]
        table.add_row(prompt.ref, marks, _rows_seen(prompt), _percent(prompt.dev_score), prompt.start, made)
    return table


def _rows_seen(prompt: StoredPrompt) -> str:
    return "all" if prompt.k is None else f"k={prompt.k}"


def _rows(k: str | None) -> int | EllipsisType | None:
    """What the store takes for k: any where it is not given, None for sources."""
    if k is None:
        return ...
    if k == SOURCE:
        return None
    if k.isascii() and k.isdecimal() and int(k) > 0:
        return int(k)
    raise UsageError(f"k is {k!r}: give a number of rows, or {SOURCE!r} for prompts that were learned on all rows")


def meant(store: PromptStore, ref: str) -> StoredPrompt:
    """What a reference means; a task that only has sample prompts means those."""
    if store.find(task=SAMPLE_PREFIX + ref) and not store.find(task=ref):
        return store.resolve(SAMPLE_PREFIX + ref)
    return store.resolve(ref)


def _lineage(store: PromptStore, stored: StoredPrompt) -> list[str]:
    """What it started from, what that started from, and so on to the first that is no version of this store."""
    chain = ancestors(store, stored)
    first = (chain or [stored])[-1].start
    return [prompt.ref for prompt in chain] + [first if first in ORIGINS else f"{first} (not in this store)"]


def _run_name(store: PromptStore, card: Card) -> str:
    from mlflow.exceptions import MlflowException

    try:
        run = store.client.get_run(card.run_id)
    except MlflowException:
        return " (deleted)"
    experiment = store.client.get_experiment(run.info.experiment_id)
    return f", {run.info.run_name!r} in the experiment {experiment.name!r}"
