"""`orchestrator tasks`: what can be learned, and what one task looks like."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tasks import SAMPLE_PREFIX, DataSource, Task, load_task, open_data, task_names
from tasks.sample import SAMPLE_TASKS

TEXT_LENGTH = 300


def list_tasks(console: Console) -> list[Task]:
    """Print the catalogue."""
    catalogue = [load_task(name) for name in task_names()]
    table = Table("task", "form", "labels", "metric", "sample", "title")
    for task in catalogue:
        sample = "yes" if task.name in SAMPLE_TASKS else ""
        table.add_row(task.name, task.form, str(len(task.labels)), task.metric, sample, task.title)
    console.print(table)
    console.print("one task: orchestrator tasks show NAME", highlight=False)
    return catalogue


def show_task(name: str, data: str | None, console: Console) -> Task:
    """Print a task's fields, labels, wording and rows, and how the labels of stored sources map to its own.

    Args:
        name: A task of the catalogue, its sample form, or the path of a task's YAML file.
        data: Where to take an example row from; None for sample rows where the task has some, with no network.
        console: Where to.

    Raises:
        TaskError: If there is no such task, or ``data`` does not have it.
    """
    plain = name.removeprefix("sample.")
    sampled = plain in SAMPLE_TASKS
    source = open_data(data, [name]) if data is not None else open_data("sample", [name]) if sampled else None
    task = source.task(name) if source and (data is not None or plain != name) else load_task(name)
    console.print(f"{task.name}, version {task.version}: {task.title}", style="bold", highlight=False, markup=False)
    console.print(task.description, highlight=False, markup=False)
    words = ", ".join(
        f"{i} {label} ({w})" for i, (label, w) in enumerate(zip(task.labels, task.label_words, strict=True))
    )
    composed = "; ".join(f"{part} is {template!r}" for part, template in task.compose.items())
    lines = {
        "form": task.form,
        "fields": ", ".join(task.fields) + (f"; {composed}" if composed else ""),
        "columns": ", ".join(task.columns),
        "labels": f"{words} - the words in brackets answer in a text-to-text backbone",
        "metric": task.metric,
        "template": task.template,
        "hub": _hub_with_splits(task),
    }
    if source is not None:
        lines["rows"] = f"{source.description}: {', '.join(source.splits(source.task(name)))}"
        lines |= _example(source, name)
    elif data is None:
        lines["rows"] = "give --data FOLDER or --data hub to see an example"
    lines["sources"] = _sources(task)
    table = Table.grid(padding=(0, 2))
    for key, text in lines.items():
        table.add_row(key, text)
    console.print(table, highlight=False, markup=False)
    return task


def _hub(task: Task) -> str:
    if task.hub is None:
        return ""
    return f"{task.hub.path}{f' ({task.hub.name})' if task.hub.name else ''}"


def _hub_with_splits(task: Task) -> str:
    if task.hub is None:
        return "not on the hub"
    splits = ", ".join(ours if ours == theirs else f"{ours} is {theirs!r}" for ours, theirs in task.hub.splits.items())
    return f"{_hub(task)}: {splits}"


def _example(source: DataSource, name: str) -> dict[str, str]:
    """The first row of the smallest split there is."""
    task = source.task(name)
    split = next(split for split in ("validation", "test", "train") if split in source.splits(task))
    rows = source.load(task, split)
    if not rows.examples:
        return {"example": f"the split {split} is empty"}
    example = rows.examples[0]
    counts = ", ".join(f"{label} {count}" for label, count in rows.label_counts().items())
    answer = f"{task.labels[example.label]} ({task.label_words[example.label]})"
    return {
        "counts": f"{split}: {len(rows)} rows; {counts}",
        **{part: _cut(text) for part, text in zip(task.fields, example.texts, strict=True)},
        "text": _cut(task.render(example)),
        "answer": answer,
    }


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else f"{text[:TEXT_LENGTH]} ..."


def _sources(task: Task) -> str:
    from orchestrator.reading import existing_store

    store = existing_store()
    if store is None:
        return "no store here yet"
    from pipelines.resize import match_labels

    plain = task.name.removeprefix(SAMPLE_PREFIX)
    found = []
    for stored in store.find(k=None):
        if "best" in stored.aliases and stored.task.removeprefix(SAMPLE_PREFIX) != plain:
            labels = store.get(stored.ref).card.labels
            mapped = match_labels(labels, task.labels)
            pairs = ", ".join(
                f"{task.labels[target]} from its {index} {labels[index]}" for target, index in mapped.items()
            )
            missing = [label for i, label in enumerate(task.labels) if i not in mapped]
            rest = f"; {', '.join(missing)} would start fresh" if mapped and missing else ""
            found.append(f"{stored.ref}: {pairs or 'no label in common'}{rest}")
    return "\n".join(found) or "no stored source"
