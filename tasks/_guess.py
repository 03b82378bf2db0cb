"""A first task file for rows of one's own: what their columns look like, as YAML to edit."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks._catalogue import parse_task, task_names
from tasks._errors import TaskError
from tasks._forms import FORMS
from tasks._records import Record, read_records, split_file
from tasks._sources import SAMPLE_PREFIX
from tasks._task import SPLITS

LOOKED_AT = 2000
"""Rows that a guess is made from."""

MOST_CLASSES = 50
FEW_KINDS, QUOTED_SHARE = 3, 0.9
_LABEL_NAMES = ("label", "labels", "answer", "answers", "target", "gold", "class", "category", "score", "y")
_NO_TEXT_NAMES = re.compile(r"(.*_)?(idx|ids?|index|qid|guid|uuid|key)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Guess:
    """A task file to edit.

    Attributes:
        text: the YAML, which is a valid task as it is.
        file: the rows it was guessed from.
        form: the form it was taken for.
        unused: columns it does not use.
    """

    text: str
    file: Path
    form: str
    unused: tuple[str, ...]


def guess_task(name: str, folder: str | Path) -> Guess:
    """Look at the rows in ``folder/name`` or in the folder itself, and write a task file for them.

    Raises:
        TaskError: for a name that cannot be used or is taken, a folder without rows, or rows that tell no task.
    """
    if not _NAME.fullmatch(name) or name.startswith(SAMPLE_PREFIX):
        raise TaskError(f"a task cannot be called {name!r}: use letters, digits, '-' and '_'")
    if name in task_names():
        raise TaskError(f"{name!r} is a task of the catalogue already: give yours another name")
    path = _file(name, Path(folder).expanduser())
    records = [
        record
        for _, record in itertools.islice(read_records(path), LOOKED_AT)
        if not isinstance(record, TaskError) and record
    ]
    if not records:
        raise TaskError(f"{path}: no row can be read: a row is an object, or a line under a header, with named columns")
    columns = {column: [record.get(column) for record in records] for column in _columns(records)}
    label = _label_column(columns, path)
    texts = [column for column, values in columns.items() if column != label and _is_text(column, values)]
    if not texts:
        raise TaskError(f"{path}: no column holds texts beside the labels in {label!r}: it has {', '.join(columns)}")
    lines, form, fields = _task_lines(columns, label, texts, path)
    unused = tuple(column for column in columns if column not in (*fields, label))
    text = _yaml(name, form, path, lines, [column for column in texts if column in unused])
    parse_task(text, name)
    return Guess(text, path, form, unused)


def _file(name: str, folder: Path) -> Path:
    if not folder.is_dir():
        raise TaskError(
            f"no data folder {str(folder)!r}: --data takes a folder with train.jsonl, or {name}/train.jsonl"
        )
    for place in (folder / name, folder):
        for split in SPLITS:
            if path := split_file(place, split):
                return path
    there = sorted(path.name for path in folder.iterdir())
    raise TaskError(
        f"folder {str(folder)!r} has no train.jsonl (or .csv, .tsv, .parquet), nor has {name}/:"
        f" it has {', '.join(there[:20]) or 'no files'}"
    )


def _columns(records: Sequence[Record]) -> list[str]:
    return [str(column) for column in dict.fromkeys(column for record in records for column in record if column)]


def _label_column(columns: dict[str, list[Any]], path: Path) -> str:
    for name in _LABEL_NAMES:
        for column in columns:
            if column.lower() == name:
                return column
    few = {column: len(_kinds(values)) for column, values in columns.items() if not _NO_TEXT_NAMES.fullmatch(column)}
    found = [column for column, kinds in few.items() if 2 <= kinds <= min(MOST_CLASSES, len(columns[column]) / 2)]
    if not found:
        raise TaskError(
            f"{path}: no column looks like labels: call the one that holds them 'label' (columns: {', '.join(columns)})"
        )
    return min(found, key=few.__getitem__)


def _kinds(values: Sequence[Any]) -> Counter[str]:
    return Counter(str(value) for value in values if value is not None)


def _is_text(column: str, values: Sequence[Any]) -> bool:
    """Whether most rows have a text there that is no number, no identifier, and not one of a few kinds."""
    texts = [value for value in values if isinstance(value, str)]
    kinds = len(set(texts))
    if len(texts) < len(values) / 2 or _NO_TEXT_NAMES.fullmatch(column) or kinds < min(MOST_CLASSES, len(texts) / 4):
        return False
    return not all(_number(value) is not None for value in texts)


def _longest(columns: dict[str, list[Any]], texts: Sequence[str], n: int) -> list[str]:
    """The n columns with the longest texts, in the file's order."""
    size = {column: sum(len(str(value)) for value in columns[column]) for column in texts}
    kept = sorted(texts, key=size.__getitem__, reverse=True)[:n]
    return [column for column in texts if column in kept]


def _number(value: Any) -> float | None:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _task_lines(
    columns: dict[str, list[Any]], label: str, texts: list[str], path: Path
) -> tuple[dict[str, str], str, list[str]]:
    """The lines of the file that depend on the form, the form, and the fields."""
    values = [value for value in columns[label] if value is not None]
    kinds, numbers = _kinds(values), [_number(value) for value in values]
    pair = _longest(columns, texts, 2)
    many = len(kinds) > MOST_CLASSES or _quoted(columns, label, pair)
    if any(isinstance(value, list | dict) for value in values) or (many and None in numbers and len(texts) > 1):
        form, fields, lines = "span", sorted(pair, key=_no_question), {"metric": "answer_f1+exact_match"}
    elif None not in numbers and (len(kinds) > MOST_CLASSES or any(n != int(n) for n in numbers if n is not None)):
        form, fields = "regression", pair
        present = [n for n in numbers if n is not None]
        lines = {
            "value_range": f"[{min(present):g}, {max(present):g}]  # the least and the greatest number there can be",
            "value_step": "0.1  # a text-to-text backbone says numbers rounded to multiples of it",
            "metric": "pearson+spearman",
        }
    else:
        names = _label_names(kinds, numbers)
        options = _options(texts, len(names))
        form, fields = ("single" if len(pair) == 1 else "pair"), pair
        if options:
            form, fields = "choice", [*options[0], *options[1]]
        if len(names) < 2:
            raise TaskError(f"{path}: every row has the {label} {next(iter(kinds), None)!r}: a task needs two or more")
        words = [str(i + 1) for i in range(len(names))] if options else _words(names)
        lines = {
            "labels": f"{_flow(names)}  # {_about_labels(names)}",
            "label_words": f"{_flow(words)}  # what a text-to-text backbone answers: different, short words",
            "metric": "accuracy",
        }
    least, most = FORMS[form].fields
    if not least <= len(fields) <= most or not all(field.isidentifier() for field in fields):
        raise TaskError(
            f"{path}: rows of the form {form!r} need {least} text column(s) with names of letters and digits,"
            f" found {', '.join(map(repr, fields))}: rename the columns"
        )
    return {"fields": _flow(fields), "label_field": json.dumps(label)} | lines, form, fields


def _quoted(columns: dict[str, list[Any]], label: str, texts: Sequence[str]) -> bool:
    """Whether labels of more than a few kinds are cut out of the texts, as answers are, and classes hardly ever."""
    rows = [(str(value), texts) for value, *texts in zip(columns[label], *(columns[t] for t in texts), strict=True)]
    found = sum(any(value in str(text) for text in texts) for value, texts in rows)
    return len({value for value, _ in rows}) > FEW_KINDS and found >= QUOTED_SHARE * len(rows)


def _no_question(column: str) -> bool:
    """Sorts the question first: a passage that comes last is what gets cut."""
    return "quest" not in column.lower() and "query" not in column.lower()


def _about_labels(names: Sequence[str]) -> str:
    if names[0] == "0":
        return "write names in the order of the numbers, 0 first"
    if names[0].isdigit():
        return f'as in the file; for names, write them here and label_aliases: {{"{names[0]}": NAME, ...}}'
    return "a label's number is its place here: do not change the order later"


def _options(texts: Sequence[str], n: int) -> tuple[list[str], list[str]] | None:
    """(other texts, options) where as many columns as there are labels differ in a last letter or number alone."""
    stems: dict[str, list[str]] = {}
    for column in texts:
        stems.setdefault(re.sub(r"_?([0-9]+|[A-Da-d])$", "", column), []).append(column)
    for stem, options in stems.items():
        rest = [column for column in texts if column not in options]
        if (
            stem
            and n >= 2
            and len(options) == n
            and rest
            and not stem.lower().startswith(("sentence", "text", "quest"))
        ):
            return rest, options
    return None


def _label_names(kinds: Counter[str], numbers: Sequence[float | None]) -> list[str]:
    """The labels as they stand in the file; whole numbers from 0 without the gaps that few rows leave."""
    if None in numbers:
        return sorted(kinds)
    whole = sorted({int(number) for number in numbers if number is not None})
    return [str(n) for n in (range(whole[-1] + 1) if whole[0] == 0 else whole)]


def _words(names: Sequence[str]) -> list[str]:
    words = [re.sub(r"[\s_-]+", " ", name).strip().lower() for name in names]
    return words if len(set(words)) == len(words) else list(names)


def _yaml(name: str, form: str, path: Path, lines: dict[str, str], left_out: Sequence[str]) -> str:
    fields = json.loads(lines["fields"])
    template = " ".join(f"{field}: {{{field}}}" for field in fields) + " Answer:"
    head = {
        "name": name,
        "version": "1  # raise it whenever wording, labels or rows change their meaning",
        "form": f"{form}  # {FORMS[form].summary}",
        "title": name,
        "description": "Say here in a sentence what is asked of a row.",
    }
    tail = {
        "template": f"{json.dumps(template)}  # what a text-to-text backbone reads; ask the question in it",
        "max_length": "256  # tokens; longer texts are cut",
    }
    note = f"# Guessed from {path.name}; edit, then: orchestrator tasks check {name}.yaml --data FOLDER\n"
    if left_out:
        example = f'{{{fields[0]}: "{{{left_out[0]}}} {{{fields[0]}}}"}}'
        note += f"# Texts left out: {', '.join(left_out)}. To put two into one field, for example: compose: {example}\n"
    return note + "".join(f"{key}: {value}\n" for key, value in (head | lines | tail).items())


def _flow(values: Sequence[str]) -> str:
    return json.dumps(list(values), ensure_ascii=False)
