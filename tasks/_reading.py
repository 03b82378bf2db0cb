"""Rows from files: held together, or streamed; every malformed row is reported with its file and line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from tasks._convert import converter
from tasks._errors import TaskError
from tasks._records import SUFFIXES, Record, read_records
from tasks._rows import BadRows, Example, Rows
from tasks._task import SPLITS, Task


def read_rows(path: str | Path, task: Task, split: str | None = None, *, skip_bad: bool = False) -> Rows:
    """Read the labelled rows of a file; the kind is told by its ending (``.jsonl``, ``.csv``, ``.tsv``, ``.parquet``).

    TSV files are read without quoting, as GLUE's are.

    Args:
        path: the file.
        task: says which columns to read and what labels there are.
        split: the name of the split; by default the file's name where that is one, else ``train``.
        skip_bad: leave malformed rows out; ``Rows.bad`` counts them and shows the first.

    Raises:
        TaskError: for a file that is missing, empty or of another kind, and for the first malformed row.
    """
    return stream_rows(path, task, split, skip_bad=skip_bad).held()


def stream_rows(path: str | Path, task: Task, split: str | None = None, *, skip_bad: bool = False) -> RowStream:
    """Open a file of labelled rows that need not fit into memory; the arguments are those of ``read_rows``.

    Raises:
        TaskError: for a file that is missing or of another kind; what is wrong with its rows is said on going through.
    """
    path = Path(path)
    if not path.is_file():
        raise TaskError(f"no file {str(path)!r}: give the path of a {', '.join(SUFFIXES)} file")
    if path.suffix not in SUFFIXES:
        raise TaskError(f"{path}: cannot read files ending in {path.suffix!r}: give one of {', '.join(SUFFIXES)}")
    return RowStream(
        lambda: read_records(path),
        task,
        split or (path.stem if path.stem in SPLITS else "train"),
        str(path),
        size=path.stat().st_size,
        skip_bad=skip_bad,
    )


class RowStream:
    """Rows that are read anew whenever they are gone through and never held together; see ``stream_rows``.

    Attributes:
        task, split, source: as in ``Rows``.
        size: bytes they are read from.
        bad: the malformed rows that the last pass left out.
    """

    def __init__(
        self,
        records: Callable[[], Iterable[tuple[int, Record | TaskError]]],
        task: Task,
        split: str,
        source: str,
        *,
        size: int,
        skip_bad: bool = False,
    ) -> None:
        """Take what ``records`` gives anew for each pass: line number and record, as ``read_records`` does."""
        self.task = task
        self.split = split
        self.source = source
        self.size = size
        self.bad = BadRows()
        self._records = records
        self._skip_bad = skip_bad

    def __iter__(self) -> Iterator[Example]:
        skipped = _Skipped()
        yield from self._examples(skipped)
        self.bad = skipped.rows()

    def held(self, first: int | None = None) -> Rows:
        """Read them all, or the first so many, and hold them."""
        skipped = _Skipped()
        examples = list(islice(self._examples(skipped), first))
        return Rows.of(self.task, self.split, examples, self.source, skipped.rows())

    def _examples(self, skipped: _Skipped) -> Iterator[Example]:
        return _to_examples(self.task, self._records(), self.source, skipped if self._skip_bad else None)


class _Skipped:
    """Counts the malformed rows of a pass."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[str] = []

    def __call__(self, error: TaskError) -> None:
        """Take note of one."""
        self._count += 1
        if len(self._first) < BadRows.SHOWN:
            self._first.append(str(error))

    def rows(self) -> BadRows:
        """Return what was noted."""
        return BadRows(self._count, tuple(self._first))


def _to_examples(
    task: Task,
    records: Iterable[tuple[int, Record | TaskError]],
    where: str,
    on_bad: Callable[[TaskError], None] | None = None,
) -> Iterator[Example]:
    """Turn (line number, record) pairs into examples.

    Args:
        task: says what the columns mean.
        records: what ``read_records`` gives.
        where: stands before the line in an error's message.
        on_bad: is told of malformed rows, which are then left out.

    Raises:
        TaskError: for the first malformed row where ``on_bad`` is None, and where no row is left.
    """
    convert = converter(task)
    line, made = 0, 0
    for line, record in records:
        try:
            if isinstance(record, TaskError):
                raise record
            example = convert(record)
        except TaskError as error:
            named = TaskError(f"{where}, line {line}: {error}")
            if on_bad is None:
                raise named from None
            on_bad(named)
            continue
        if example is not None:
            made += 1
            yield example
    if not made:
        raise TaskError(f"{where}: no labelled rows (read {line} lines): {task.name} needs columns {task.columns}")
