"""`orchestrator tasks check`: is a task's file right, and what will a model see of its rows?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from orchestrator.commands.tasks import described_answer, described_form
from orchestrator.prepare import HELD_BYTES
from orchestrator.settings import at_least
from pipelines.backbone import BackboneInfo, describe_backbone, load_tokenizer
from pipelines.encode import encode
from tasks import (
    ENCODER_FORMS,
    SAMPLE_PREFIX,
    DataSource,
    Example,
    Rows,
    Task,
    bag_of_words,
    find_leaks,
    load_task,
    open_data,
    primary_metric,
    score,
)
from tasks.sample import SAMPLE_TASKS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pipelines.architecture import FamilyName

SHOWN = 3
FIRST = 100_000
"""Rows that are looked at of a set that is too large to be held."""
UNCUT = 1_000_000
"""A length in tokens that no row has."""


def check_task(
    name: str, data: str | None, backbone: str, max_length: int | None, skip_bad_rows: bool, console: Console
) -> Task:
    """Check a task's file and its rows, and show three rows as a model will read them.

    Args:
        name: The path of a task's YAML file, or a task of the catalogue.
        data: Where its rows are; None for sample rows where the task has some.
        backbone: Whose tokenizer counts.
        max_length: s, in tokens; None for the task's own.
        skip_bad_rows: Leave malformed rows out, count and show them.
        console: Where to.

    Raises:
        TaskError: If the file or a row is wrong.
        PipelineError: If there is no such backbone.
    """
    if max_length is not None:
        at_least("max-length", max_length, 1)
    task = load_task(name.removeprefix(SAMPLE_PREFIX))
    _say(console, f"{task.name}, version {task.version}: the file is right")
    _say(console, described_form(task))
    choice = data or ("sample" if task.name in SAMPLE_TASKS else None)
    if choice is None:
        _say(console, "give --data FOLDER or --data hub to check its rows")
        return task
    source = open_data(choice, [name], skip_bad=skip_bad_rows)
    task = source.task(name)
    splits = {split: _looked_at(source, task, split, console) for split in source.splits(task)}
    _check_rows(splits, console)

    _check_words_alone(splits, console)

    info = describe_backbone(backbone)
    tokenizer = load_tokenizer(info.folder)
    s = max_length or task.max_length
    family: FamilyName = info.family
    if family == "encoder" and task.form not in ENCODER_FORMS:
        family = "encoder-decoder"
        _say(console, f"no encoder reads the form {task.form!r}: shown is the text that the template makes")
    _check_lengths(splits, tokenizer, family, s, console)
    if family != "encoder" and task.labels:
        _check_words(task, info, tokenizer, console)
    first = next(iter(splits.values()))
    for example in _different(first.examples):
        seen = encode(Rows.of(task, first.split, [example], first.source), tokenizer, family, s)
        uncut = encode(Rows.of(task, first.split, [example], first.source), tokenizer, family, UNCUT)
        cut = f", cut from {len(uncut.ids)}" if len(uncut.ids) > len(seen.ids) else ""
        _say(console, f"\n{len(seen.ids)} tokens{cut}:", style="bold")
        _say(console, tokenizer.decode(seen.ids.tolist()))
        _say(console, f"answer: {described_answer(task, example)}")
    return task


def _looked_at(source: DataSource, task: Task, split: str, console: Console) -> Rows:
    """All rows of a split, or the first of one that is too large; says so."""
    rows = source.stream(task, split)
    if isinstance(rows, Rows) or rows.size <= HELD_BYTES:
        return rows if isinstance(rows, Rows) else rows.held()
    found = rows.held(FIRST)
    if len(found) == FIRST:
        _say(console, f"{split}: of {rows.size / 1e6:,.0f} MB the first {FIRST:,} rows are looked at", style="yellow")
    return found


def _check_rows(splits: dict[str, Rows], console: Console) -> None:
    for split, rows in splits.items():
        counts = ", ".join(f"{label} {count}" for label, count in rows.label_counts().items())
        _say(console, f"{split}: {len(rows)} rows from {rows.source}{f'; {counts}' if counts else ''}")
        if rows.bad.count:
            _say(console, f"  {rows.bad}", style="yellow")
        for label, count in rows.label_counts().items():
            if not count:
                _say(console, f"  no row of {label!r}: is the label spelt as in the file?", style="yellow")
    for split in ("train", "validation"):
        if split not in splits:
            _say(console, f"no {split} rows: both train and validation are needed for training", style="yellow")
    train = splits.get("train")
    for split in ("validation", "test"):
        if train and split in splits and (leaks := find_leaks(train.examples, splits[split].examples)):
            shown = "; ".join(repr(" | ".join(leak.texts)[:80]) for leak in leaks[:SHOWN])
            _say(console, f"{len(leaks)} {split} rows also stand in train, such as {shown}", style="yellow")


def _check_words_alone(splits: dict[str, Rows], console: Console) -> None:
    """What a model that only counts words gets, and what always saying the commonest class gets."""
    train, test = splits.get("train"), splits.get("validation")
    if train is None or test is None or train.task.gold != "class" or min(train.label_counts().values()) == 0:
        return
    counts, labels = list(train.label_counts().values()), [example.label for example in test.examples]
    metric = primary_metric(train.task.metric)
    found = {
        "a bag of words": bag_of_words(train, test),
        "the commonest class": [counts.index(max(counts))] * len(labels),
    }
    said = (f"{name} {score(metric, guesses, labels, len(counts))[metric]:.1%}" for name, guesses in found.items())
    _say(console, f"to compare with, {metric} on validation: {', '.join(said)}")


def _check_lengths(
    splits: dict[str, Rows], tokenizer: PreTrainedTokenizerFast, family: FamilyName, s: int, console: Console
) -> None:
    for split, rows in splits.items():
        lengths = encode(rows, tokenizer, family, UNCUT).lengths
        middle, most = np.percentile(lengths, [50, 95], method="higher")
        _say(
            console,
            f"{split}: {middle} tokens in the middle, {most} at the 95th percentile, {lengths.max()} at most;"
            f" {(lengths > s).sum()} of {len(rows)} rows would be cut at s = {s}",
        )


def _check_words(task: Task, info: BackboneInfo, tokenizer: PreTrainedTokenizerFast, console: Console) -> None:
    ids = {word: tuple(tokenizer(word, add_special_tokens=False).input_ids) for word in task.words()}
    counts = ", ".join(f"{word!r} {len(tokens)}" for word, tokens in ids.items())
    _say(console, f"tokens of the label words: {counts}")
    if len(set(ids.values())) < len(ids):
        _say(console, f"the tokenizer of {info.name} does not tell all label words apart: change them", style="yellow")


def _different(examples: Sequence[Example]) -> list[Example]:
    """Three rows, of different classes as far as there are some."""
    first = {example.label: example for example in reversed(examples)}
    chosen = sorted(first.values(), key=lambda example: example.label)[:SHOWN]
    more = (example for example in examples if example not in chosen)
    return chosen + [example for _, example in zip(range(SHOWN - len(chosen)), more, strict=False)]


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)
