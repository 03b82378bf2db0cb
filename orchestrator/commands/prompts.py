"""`orchestrator prompts`: what is in the store."""

from __future__ import annotations

from rich.console import Console
from rich.table import Column, Table

from orchestrator.reading import existing_store, store_place
from prompts_store import Card, PromptStore, StoredPrompt, StoreError
from tasks import SAMPLE_PREFIX

UNKNOWN = "-"
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
    name = Column("prompt", no_wrap=True)  # it is copied into other commands
    table = Table(name, "marks", "learned on", "dev", "start", "made")
    for prompt in shown:
        table.add_row(
            prompt.ref,
            ", ".join(prompt.aliases),
            "all rows" if prompt.k is None else f"k={prompt.k}",
            _percent(prompt.dev_score),
            prompt.start,
            prompt.created[:10],
        )
    console.print(table)
    if len(shown) < len(found):
        console.print(f"{len(found) - len(shown)} older versions are not shown: --all shows them", highlight=False)
    return shown


def show_prompt(ref: str, console: Console) -> Card:
    """Print one version's card, scores and origin, after checking its files against them.

    Raises:
        StoreError: If nothing answers to ``ref``, or its files are missing or changed.
    """
    store = existing_store()
    if store is None:
        raise StoreError(NOTHING.format(place=store_place()))
    stored = _resolve(store, ref)
    artifact = store.get(stored.ref)
    card = artifact.card
    tensors = ", ".join(f"{name} {'x'.join(map(str, tensor.shape))}" for name, tensor in artifact.tensors.items())
    parameters = card.m * card.d + (card.s + card.d) * card.r
    everyone = store.list()
    children = [prompt.ref for prompt in everyone if prompt.start == stored.ref]
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
        "start": " <- ".join(_lineage(stored, everyone))
        + (f"; resized from m={resized.m}, r={resized.r}, s={resized.s}" if resized else ""),
        "started": ", ".join(children) or "nothing yet",
        "run": f"{card.run_id}{_run_name(store, card)}",
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


def _resolve(store: PromptStore, ref: str) -> StoredPrompt:
    """What a reference means; a task that only has sample prompts means those."""
    if store.find(task=SAMPLE_PREFIX + ref) and not store.find(task=ref):
        return store.resolve(SAMPLE_PREFIX + ref)
    return store.resolve(ref)


def _lineage(stored: StoredPrompt, everyone: list[StoredPrompt]) -> list[str]:
    """What it started from, what that started from, and so on."""
    by_ref = {prompt.ref: prompt for prompt in everyone}
    chain = [stored.start]
    while (before := by_ref.get(chain[-1])) is not None and before.start not in chain:
        chain.append(before.start)
    return chain


def _run_name(store: PromptStore, card: Card) -> str:
    from mlflow.exceptions import MlflowException

    try:
        run = store.client.get_run(card.run_id)
    except MlflowException:
        return " (deleted)"
    experiment = store.client.get_experiment(run.info.experiment_id)
    return f", {run.info.run_name!r} in the experiment {experiment.name!r}"
