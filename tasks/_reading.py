"""Rows from files: JSONL, CSV, TSV and Parquet; every malformed row is reported with its file and line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks._errors import TaskError, did_you_mean
from tasks._rows import Example, Rows
from tasks._task import SPLITS, Task

SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
"""Kinds of file that ``read_rows`` reads, in the order in which a folder is searched."""

Record = Mapping[str, Any]


def read_rows(path: str | Path, task: Task, split: str | None = None) -> Rows:
    """Read the labelled rows of a file; the kind is told by its ending (``.jsonl``, ``.csv``, ``.tsv``, ``.parquet``).

    A label is an id, a label's name or one of the task's aliases. TSV files are read without quoting, as GLUE's are.

    Args:
        path: the file.
        task: says which columns to read and what labels there are.
        split: the name of the split; by default the file's name where that is one, else ``train``.

    Raises:
        TaskError: for a file that is missing, empty or of another kind, and for the first malformed row.
    """
    path = Path(path)
    if not path.is_file():
        raise TaskError(f"no file {str(path)!r}: give the path of a {', '.join(SUFFIXES)} file")
    if path.suffix not in SUFFIXES:
        raise TaskError(f"{path}: cannot read files ending in {path.suffix!r}: give one of {', '.join(SUFFIXES)}")
    examples = to_examples(task, _records(path), str(path))
    return Rows.of(task, split or (path.stem if path.stem in SPLITS else "train"), examples, str(path))


def to_examples(task: Task, records: Iterable[tuple[int, Record]], where: str) -> list[Example]:
    """Turn (line number, record) pairs into examples; ``where`` stands before the line in an error's message."""
    convert = _converter(task)
    examples = []
    line = 0
    for line, record in records:
        try:
            example = convert(record)
        except TaskError as error:
            raise TaskError(f"{where}, line {line}: {error}") from None
        if example is not None:
            examples.append(example)
    if not examples:
        raise TaskError(f"{where}: no labelled rows (read {line} lines): {task.name} needs columns {task.columns}")
    return examples


def _converter(task: Task) -> Callable[[Record], Example | None]:
    """Return the function from a record to its example, or to None for an unlabelled row that may be dropped."""
    n = len(task.labels)
    ids: dict[Any, int] = {str(i): i for i in range(n)} | {i: i for i in range(n)}
    ids |= {name: i for i, name in enumerate(task.labels)}
    ids |= {alias: task.labels.index(name) for alias, name in task.label_aliases.items()}
    plain = tuple(part for part in task.fields if part not in task.compose)
    composed = plain != task.fields
    columns, label_field = task.columns[:-1], task.label_field

    def label_of(value: Any) -> int | None:
        if value in (-1, "-1", "-", None):
            if task.drop_unlabelled:
                return None
            raise TaskError(f"the row has no label ({label_field} is {value!r}): use a split with labels")
        known = [*task.labels, *task.label_aliases]
        raise TaskError(
            f"{label_field} is {value!r}: must be an id from 0 to {n - 1} or one of {', '.join(known)}"
            f"{did_you_mean(str(value), known)}"
        )

    def convert(record: Record) -> Example | None:
        for column in columns:
            if type(record.get(column)) is not str:
                raise _bad_column(column, record)
        if label_field not in record:
            raise _bad_column(label_field, record)
        value = record[label_field]
        try:
            label = ids.get(value)
        except TypeError:  # a list or an object
            label = None
        if label is None:
            label = label_of(value)
            if label is None:
                return None
        if composed:
            texts = tuple(
                task.compose[part].format_map(record) if part in task.compose else record[part] for part in task.fields
            )
        else:
            texts = tuple([record[part] for part in plain])
        if not any(text.strip() for text in texts):
            raise TaskError(f"the text is empty ({', '.join(task.fields)}): give the row a text or remove it")
        return Example.of(texts, label)

    return convert


def _bad_column(column: str, record: Record) -> TaskError:
    if column in record:
        return TaskError(f"{column} is {record[column]!r}: must be a text")
    names = [str(name) for name in record if name is not None]
    return TaskError(f"no column {column!r}{did_you_mean(column, names)}: the row has {', '.join(names) or 'none'}")


def _records(path: Path) -> Iterator[tuple[int, Record]]:
    if path.suffix == ".jsonl":
        return _jsonl(path)
    if path.suffix == ".parquet":
        return _parquet(path)
    return _delimited(path, "," if path.suffix == ".csv" else "\t")


def _jsonl(path: Path) -> Iterator[tuple[int, Record]]:
    loads = json.loads
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            if raw.isspace():
                continue
            try:
                record = loads(raw.decode("utf-8-sig" if line == 1 else "utf-8"))
            except json.JSONDecodeError as error:
                raise TaskError(f"{path}, line {line}: not JSON ({error}): {_shown(raw)}") from None
            except UnicodeDecodeError as error:
                raise TaskError(f"{path}, line {line}: not UTF-8 ({error.reason}): {_shown(raw)}") from None
            if type(record) is not dict:
                raise TaskError(f"{path}, line {line}: must be a JSON object with the columns, got {_shown(raw)}")
            yield line, record


def _shown(raw: bytes) -> str:
    text = raw.decode("utf-8", "backslashreplace").strip()
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _delimited(path: Path, delimiter: str) -> Iterator[tuple[int, Record]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        if delimiter == "\t":
            reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
        else:
            reader = csv.reader(file, strict=True)
        try:
            names = next(reader, [])
            for values in reader:
                if not values:
                    continue
                if len(values) != len(names):
                    raise TaskError(
                        f"{path}, line {reader.line_num}: {len(values)} columns instead of {len(names)}:"
                        f" the header names {', '.join(names)}"
                    )
                yield reader.line_num, dict(zip(names, values, strict=True))
        except csv.Error as error:
            raise TaskError(f"{path}, line {reader.line_num}: malformed ({error})") from None
        except UnicodeDecodeError as error:
            raise TaskError(f"{path}, after line {reader.line_num}: not UTF-8 ({error.reason})") from None


def _parquet(path: Path) -> Iterator[tuple[int, Record]]:
    import pyarrow  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore]

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise TaskError(f"{path}: not a Parquet file: {error}") from None
    line = 0
    with file:
        for batch in file.iter_batches():
            for record in batch.to_pylist():
                line += 1
                yield line, record
