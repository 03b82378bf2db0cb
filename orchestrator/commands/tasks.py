"""`orchestrator tasks`: what can be learned, what one task looks like, and a file for a task of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from orchestrator.errors import UsageError
from prompts_store import StoreError
from tasks import (
    ENCODER_FORMS,
    FORMS,
    SAMPLE_PREFIX,
    DataSource,
    Example,
    Guess,
    LabelMap,
    Task,
    guess_task,
    label_map,
    load_task,
    open_data,
    task_names,
)
from tasks.sample import SAMPLE_TASKS

TEXT_LENGTH = 300


def list_tasks(console: Console) -> list[Task]:
    """Print the catalogue."""
    catalogue = [load_task(name) for name in task_names()]
    table = Table("task", "form", "labels", "metric", "sample", "title")
    for task in catalogue:
        sample = "yes" if task.name in SAMPLE_TASKS else ""
        form = task.form + ("" if task.form in ENCODER_FORMS else " *")
        table.add_row(task.name, form, str(len(task.labels) or ""), task.metric, sample, task.title)
    console.print(table)
    console.print("* for text-to-text backbones", highlight=False, markup=False)
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
    choice = data if data is not None else "sample" if sampled else None
    source = open_data(choice, [name]) if choice is not None else None
    task = source.task(name) if source and (data is not None or plain != name) else load_task(name)
    console.print(f"{task.name}, version {task.version}: {task.title}", style="bold", highlight=False, markup=False)
    console.print(task.description, highlight=False, markup=False)
    made = [f"{part} is {template!r}" for part, template in task.compose.items()]
    made += [f"asterisks around {span}_text in {column}" for column, span in task.mark.items()]
    composed = "; ".join(made)
    lines = {
        "form": described_form(task),
        "fields": ", ".join(task.fields) + (f"; {composed}" if composed else ""),
        "columns": ", ".join(task.columns),
        "labels": _labels(task),
        "metric": task.metric,
        "template": task.template,
        "max length": f"{task.max_length} tokens",
        **({"label maps": _label_maps(task)} if task.labels_from else {}),
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


def new_task(name: str, data: str, console: Console) -> Guess:
    """Look at the rows of a folder and write ``NAME.yaml`` into the working directory, to be edited.

    Raises:
        TaskError: If the name is taken, or the rows tell no task.
        UsageError: If the file is there already.
    """
    path = Path(f"{name}.yaml")
    if path.exists():
        raise UsageError(f"{path} is there already: remove it, or give the task another name")
    guess = guess_task(name, data)
    path.write_text(guess.text, encoding="utf-8")
    console.print(f"wrote {path}, guessed from {guess.file}:", highlight=False, markup=False, soft_wrap=True)
    console.print(guess.text, highlight=False, markup=False, soft_wrap=True)
    if guess.unused:
        console.print(f"columns it does not use: {', '.join(guess.unused)}", highlight=False, markup=False)
    console.print(
        f"edit it, then: orchestrator tasks check {path} --data {data}", highlight=False, markup=False, soft_wrap=True
    )
    return guess


def described_form(task: Task) -> str:
    """A task's form in words, and what can be trained on it."""
    trained = "" if task.form in ENCODER_FORMS else "; for text-to-text backbones"
    return f"{task.form}: {FORMS[task.form].summary}{trained}"


def described_answer(task: Task, example: Example) -> str:
    """What an example is labelled with, and in brackets what a text-to-text backbone is to answer."""
    if task.gold == "class":
        return f"{task.labels[example.label]} ({task.answer(example)})"
    if task.gold == "value":
        return f"{example.value:g} ({task.answer(example)})"
    return " / ".join(example.answers)


def _labels(task: Task) -> str:
    if task.value_range is not None:
        return f"a number from {task.value_range[0]:g} to {task.value_range[1]:g}, said in steps of {task.value_step:g}"
    if not task.labels:
        return "texts, of which any one is right"
    words = zip(task.labels, task.words(), task.words("digits"), strict=True)
    listed = ", ".join(f"{digit} {label} ({word})" for label, word, digit in words)
    return f"{listed} - the words in brackets answer in a text-to-text backbone, or the digits as released"


def _label_maps(task: Task) -> str:
    return "\n".join(
        f"from {source}: " + (", ".join(f"{ours} = {theirs}" for ours, theirs in names.items()) or "none, by intent")
        for source, names in task.labels_from.items()
    )


def _described_map(task: Task, mapped: LabelMap, labels: Sequence[str]) -> str:
    if not mapped.pairs:
        return "no label in common"
    pairs = ", ".join(f"{task.labels[t]} from its {s} {labels[s]}" for t, s in mapped.pairs.items())
    missing = [label for i, label in enumerate(task.labels) if i not in mapped.pairs]
    rest = f"; {', '.join(missing)} would start fresh" if missing else ""
    return f"{pairs}{rest} ({'by name' if mapped.how == 'name' else 'as the task file maps them'})"


def _hub(task: Task) -> str:
    if task.hub is None:
        return ""
    name = f" ({task.hub.name})" if task.hub.name else ""
    return f"{task.hub.path}{name}{f' at {task.hub.revision}' if task.hub.revision else ''}"


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
    counts = "".join(f"{', ' if i else '; '}{name} {n}" for i, (name, n) in enumerate(rows.label_counts().items()))
    return {
        "counts": f"{split}: {len(rows)} rows{counts}",
        **{part: _cut(text) for part, text in zip(task.fields, example.texts, strict=True)},
        "text": _cut(task.render(example)),
        "answer": described_answer(task, example),
    }


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else f"{text[:TEXT_LENGTH]} ..."


def _sources(task: Task) -> str:
    from orchestrator.reading import existing_store

    store = existing_store()
    if store is None:
        return "no store here yet"
    plain = task.name.removeprefix(SAMPLE_PREFIX)
    found = []
    for stored in store.find(k=None):
        if "best" in stored.aliases and stored.task.removeprefix(SAMPLE_PREFIX) != plain:
            try:
                labels = store.get(stored.ref).card.labels
            except StoreError as error:  # the others can be started from as before
                found.append(f"{stored.ref}: cannot be used. {error}")
                continue
            mapped = label_map(task, stored.task, labels)
            found.append(f"{stored.ref}: {_described_map(task, mapped, labels)}")
    return "\n".join(found) or "no stored source"
