"""The raw rows of files: JSONL, CSV, TSV and Parquet, one after the other, with their line numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks._errors import TaskError

SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
"""Kinds of file that can be read, in the order in which a folder is searched."""

Record = Mapping[str, Any]


def split_file(folder: Path, stem: str) -> Path | None:
    """Return the file of rows with that stem in a folder, or None."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None)


def read_records(path: Path) -> Iterator[tuple[int, Record | TaskError]]:
    """Go through the rows of a file as (line number, record); a row that cannot be read is an error in its place.

    Raises:
        TaskError: where the rest cannot be read either: an open quotation, or bytes that are not UTF-8 in a CSV file.
    """
    if path.suffix == ".jsonl":
        return _jsonl(path)
    if path.suffix == ".parquet":
        return _parquet(path)
    return _delimited(path, "," if path.suffix == ".csv" else "\t")


def _jsonl(path: Path) -> Iterator[tuple[int, Record | TaskError]]:
    loads = json.loads
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            if raw.isspace():
                continue
            try:
                record = loads(raw.decode("utf-8-sig" if line == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                yield line, TaskError(f"not UTF-8 ({error.reason}): {_shown(raw)}")
            except (ValueError, RecursionError) as error:  # also a number of thousands of digits
                yield line, TaskError(f"not JSON ({error}): {_shown(raw)}")
            else:
                if type(record) is not dict:
                    yield line, TaskError(f"must be a JSON object with the columns, got {_shown(raw)}")
                else:
                    yield line, record


def _shown(raw: bytes) -> str:
    text = raw.decode("utf-8", "backslashreplace").strip()
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _delimited(path: Path, delimiter: str) -> Iterator[tuple[int, Record | TaskError]]:
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
                    wrong = f"{len(values)} columns instead of {len(names)}: the header names {', '.join(names)}"
                    yield reader.line_num, TaskError(wrong)
                else:
                    yield reader.line_num, dict(zip(names, values, strict=True))
        except csv.Error as error:
            raise TaskError(f"{path}, line {reader.line_num}: malformed ({error})") from None
        except UnicodeDecodeError as error:
            raise TaskError(f"{path}, after line {reader.line_num}: not UTF-8 ({error.reason})") from None


def _parquet(path: Path) -> Iterator[tuple[int, Record | TaskError]]:
    import pyarrow  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet  # type: ignore[import-untyped, unused-ignore]

    line = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for record in batch.to_pylist():
                    line += 1
                    yield line, record
    except TaskError:
        raise
    # besides its own, pyarrow raises Python's errors for dates and texts that Python does not have, and for odd names
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        raise TaskError(f"{path}, after row {line}: not a Parquet file that can be read: {str(error)[:300]}") from None
