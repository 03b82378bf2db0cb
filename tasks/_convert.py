"""From a record, as a file or the hub gives it, to an example of a task."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

from tasks._errors import TaskError, did_you_mean
from tasks._records import Record
from tasks._rows import Example
from tasks._task import Task

Convert = Callable[[Record], Example | None]

_UNLABELLED = (-1, "-1", "-", "", None)


def converter(task: Task) -> Convert:
    """Return the function from a record to its example, or to None for an unlabelled row that may be dropped.

    The function raises ``TaskError`` for a record that lacks a column, has no text, or is labelled with what the task
    does not know.
    """
    texts_of = _texts(task)
    make = {"class": _classed, "value": _valued, "answers": _answered}[task.gold](task)
    label_field = task.label_field

    def convert(record: Record) -> Example | None:
        texts = texts_of(record)
        if label_field not in record:
            raise _bad_column(label_field, record)
        try:
            return make(texts, record)
        except UnicodeEncodeError as error:
            raise TaskError(
                f"a text holds {error.object[error.start]!r}, half of a surrogate pair and no character: correct it"
            ) from None

    return convert


def _texts(task: Task) -> Callable[[Record], tuple[str, ...]]:
    apart = {f"{span}_index" for span in task.mark.values()} | ({*task.group} - {*task.text_columns})
    columns = tuple(column for column in task.columns[:-1] if column not in apart)
    plain = not task.compose and not task.mark
    fields = task.fields

    def texts(record: Record) -> tuple[str, ...]:
        for column in columns:
            if type(record.get(column)) is not str:
                raise _bad_column(column, record)
        if plain:
            made = tuple([record[part] for part in fields])
        else:
            if task.mark:
                record = {**record, **{column: _marked(record, column, span) for column, span in task.mark.items()}}
            made = tuple(
                task.compose[part].format_map(record) if part in task.compose else record[part] for part in fields
            )
        if not any(text.strip() for text in made):
            raise TaskError(f"the text is empty ({', '.join(fields)}): give the row a text or remove it")
        return made

    return texts


def _marked(record: Record, column: str, span: str) -> str:
    """Put asterisks around the span in a column: the one nearest to the word where it is said to start."""
    words, wanted, start = record[column].split(), record[f"{span}_text"].split(), record.get(f"{span}_index")
    if isinstance(start, str) and start.isdecimal() and len(start) < 19:
        start = int(start)
    if type(start) is not int:
        raise _bad_column(f"{span}_index", record, "a number")
    n = len(wanted)
    places = [i for i in range(len(words) - n + 1) if _bare(words[i : i + n]) == _bare(wanted)]
    if not n or not places:
        raise TaskError(
            f"{span}_text is {record[f'{span}_text']!r}: must stand in {column}, which is {record[column]!r}"
        )
    first = min(places, key=lambda i: abs(i - start))
    return " ".join([*words[:first], "*", *words[first : first + n], "*", *words[first + n :]])


def _bare(words: list[str]) -> list[str]:
    return [word.strip(".,;:!?\"'").casefold() or word for word in words]


def _classed(task: Task) -> Callable[[tuple[str, ...], Record], Example | None]:
    ids = _label_ids(task)
    label_field, grouped = task.label_field, _grouped(task)

    def make(texts: tuple[str, ...], record: Record) -> Example | None:
        value = record[label_field]
        try:
            label = ids.get(value)
        except TypeError:  # a list or an object
            label = None
        if label is None:
            if _unlabelled(task, value):
                return None
            known = [*task.labels, *task.label_aliases]
            raise TaskError(
                f"{label_field} is {value!r}: must be an id from 0 to {len(task.labels) - 1} or one of"
                f" {', '.join(known)}{did_you_mean(str(value), known)}"
            )
        return Example.of(texts, label, *grouped(record))

    return make


def _label_ids(task: Task) -> dict[Any, int]:
    """What may stand in the label column -> the class; where labels or aliases are numbers, no number is a place."""
    names = {name: i for i, name in enumerate(task.labels)}
    names |= {alias: task.labels.index(name) for alias, name in task.label_aliases.items()}
    numbers: dict[Any, int] = {int(name): i for name, i in names.items() if name.isdecimal()}
    return names | (numbers or {key: i for i in range(len(task.labels)) for key in (i, str(i))})


def _grouped(task: Task) -> Callable[[Record], tuple[str, ...]]:
    """The function from a record to its group and its block; to nothing where the task has no groups."""
    columns = task.group

    def group_and_block(record: Record) -> tuple[str, ...]:
        for column in columns:
            if type(record.get(column)) not in (str, int):
                raise _bad_column(column, record, "a text or a whole number")
        return _hashed(*(str(record[column]) for column in columns)), _hashed(str(record[columns[0]]))

    return group_and_block if columns else lambda record: ()


def _hashed(*contents: str) -> str:
    return hashlib.sha256("\x1f".join(contents).encode()).hexdigest()[:16]


def _valued(task: Task) -> Callable[[tuple[str, ...], Record], Example | None]:
    assert task.value_range is not None
    low, high = task.value_range
    grouped = _grouped(task)

    def make(texts: tuple[str, ...], record: Record) -> Example | None:
        value = record[task.label_field]
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if low <= number <= high:
            return Example.valued(texts, number, *grouped(record))
        if _unlabelled(task, value):
            return None
        raise TaskError(f"{task.label_field} is {value!r}: must be a number from {low:g} to {high:g}")

    return make


def _answered(task: Task) -> Callable[[tuple[str, ...], Record], Example | None]:
    grouped = _grouped(task)

    def make(texts: tuple[str, ...], record: Record) -> Example | None:
        answers = _answers(record[task.label_field], task.label_field)
        if not answers and _unlabelled(task, None):
            return None
        return Example.answered(texts, answers, *grouped(record))

    return make


def _answers(value: Any, column: str) -> tuple[str, ...]:
    """Every right answer once, in order: from a text, a list of texts, or SQuAD's object with the list ``text``."""
    listed = value.get("text") if isinstance(value, dict) else [value] if isinstance(value, str) else value
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")) and value.rstrip().endswith(("]", "}")):
        raise TaskError(
            f"{column} is {value!r}, the text of a list or an object: give answers as plain texts, or in a JSONL or"
            " Parquet file as a list of them"
        )
    if listed is None:
        return ()
    if not isinstance(listed, list | tuple) or not all(isinstance(answer, str) for answer in listed):
        raise TaskError(f"{column} is {value!r}: must be a text, a list of texts, or an object with the list 'text'")
    return tuple(dict.fromkeys(answer for answer in listed if answer.strip()))


def _unlabelled(task: Task, value: Any) -> bool:
    """Whether a row may be dropped for having no label; raises where it has none but must."""
    if isinstance(value, list | dict) or value not in _UNLABELLED:
        return False
    if task.drop_unlabelled:
        return True
    raise TaskError(f"the row has no label ({task.label_field} is {value!r}): use a split with labels")


def _bad_column(column: str, record: Record, wanted: str = "a text") -> TaskError:
    if column in record:
        return TaskError(f"{column} is {record[column]!r}: must be {wanted}")
    names = [str(name) for name in record if name is not None]
    return TaskError(f"no column {column!r}{did_you_mean(column, names)}: the row has {', '.join(names) or 'none'}")
