"""Where rows come from: one choice for all tasks of a command, so that real and sample rows never mix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks._catalogue import load_task
from tasks._errors import TaskError, did_you_mean
from tasks._hub import cached_files, stream_cache, stream_hub, why_no_hub
from tasks._reading import RowStream, stream_rows
from tasks._records import split_file
from tasks._rows import Rows
from tasks._task import SPLITS, Task

SAMPLE_PREFIX = "sample."


class DataSource(ABC):
    """Gives tasks and their rows; made by ``open_data``.

    Attributes:
        kind: ``folder``, ``hub``, ``cache`` or ``sample``.
        description: one line for people and run records.
        notice: what the caller must show, unmissably, before it goes on; None where there is nothing.
    """

    kind: str
    description: str
    notice: str | None = None

    def task(self, name: str) -> Task:
        """Return the task of that name (or in that YAML file)."""
        if name.startswith(SAMPLE_PREFIX):
            raise TaskError(f"task {name!r} exists only as sample data: use --data sample, or {name[7:]!r}")
        return load_task(name)

    @abstractmethod
    def splits(self, task: Task) -> tuple[str, ...]:
        """Return the splits of a task that can be loaded."""

    @abstractmethod
    def stream(self, task: Task, split: str) -> Rows | RowStream:
        """Open the rows of a split, ``train``, ``validation`` or ``test``, to go through them without holding them.

        Rows that are generated are held.
        """

    def load(self, task: Task, split: str) -> Rows:
        """Return the rows of a split."""
        rows = self.stream(task, split)
        return rows if isinstance(rows, Rows) else rows.held()


@dataclass(frozen=True)
class FolderSource(DataSource):
    """Rows in files: ``FOLDER/<task>/<split>.jsonl``, or ``.csv``, ``.tsv``, ``.parquet``.

    A file may also be called what the hub calls the split: tasks without a validation split use ``test.jsonl`` for it.
    Where one task alone is asked for, the files may lie in FOLDER itself.
    """

    folder: Path
    alone: bool = False
    skip_bad: bool = False
    kind = "folder"

    @property
    def description(self) -> str:  # type: ignore[override]
        """One line for people and run records."""
        return f"folder {self.folder}"

    def home(self, task: Task) -> Path:
        """Return the folder with the task's files."""
        own = self.folder / task.name
        return self.folder if self.alone and not own.is_dir() and split_file(self.folder, "train") else own

    def file(self, task: Task, split: str) -> Path | None:
        """Return the file of a split, or None."""
        stems = [split, *([task.hub.splits[split]] if task.hub and split in task.hub.splits else [])]
        return next((path for stem in stems if (path := split_file(self.home(task), stem))), None)

    def splits(self, task: Task) -> tuple[str, ...]:
        """Return the splits for which the folder has a file."""
        if not self.home(task).is_dir():
            known = sorted(path.name for path in self.folder.iterdir() if path.is_dir())
            raise TaskError(
                f"folder {str(self.folder)!r} has no task {task.name!r}{did_you_mean(task.name, known)}:"
                f" it has {', '.join(known) or 'no folders'}; expected {task.name}/train.jsonl"
            )
        files = {path: split for split in reversed(SPLITS) if (path := self.file(task, split))}
        # one file for two splits is the first of them: test.jsonl that serves as validation is no test split
        return tuple(split for split in SPLITS if split in files.values())

    def stream(self, task: Task, split: str) -> RowStream:
        """Open the file of a split."""
        return stream_rows(self._found(task, split), task, split, skip_bad=self.skip_bad)

    def _found(self, task: Task, split: str) -> Path:
        self.splits(task)
        path = self.file(task, split)
        if path is None:
            home = self.home(task)
            there = sorted(path.name for path in home.iterdir())
            raise TaskError(f"folder {str(home)!r} has no {split}.jsonl: it has {', '.join(there) or 'no files'}")
        return path


@dataclass(frozen=True)
class HubDataSource(DataSource):
    """Rows from the Hugging Face hub."""

    skip_bad: bool = False
    kind = "hub"
    description = "the Hugging Face hub"

    def splits(self, task: Task) -> tuple[str, ...]:
        """Return the splits the task's hub section names."""
        return tuple(split for split in SPLITS if task.hub and split in task.hub.splits)

    def stream(self, task: Task, split: str) -> RowStream:
        """Open a split on the hub, or in its local cache where the hub cannot be reached."""
        reason = why_no_hub()
        if reason is None:
            return stream_hub(task, split, skip_bad=self.skip_bad)
        if cached_files(task, split):
            return stream_cache(task, split, skip_bad=self.skip_bad)
        raise TaskError(f"no {split} rows of {task.name!r}: {reason}, nor are they cached: use --data FOLDER or sample")


@dataclass(frozen=True)
class CacheSource(DataSource):
    """Rows from the local cache of an earlier download from the hub."""

    skip_bad: bool = False
    kind = "cache"
    description = "the local datasets cache"

    def splits(self, task: Task) -> tuple[str, ...]:
        """Return the splits the cache holds."""
        return tuple(split for split in SPLITS if cached_files(task, split))

    def stream(self, task: Task, split: str) -> RowStream:
        """Open a split in the cache."""
        return stream_cache(task, split, skip_bad=self.skip_bad)


@dataclass(frozen=True)
class SampleSource(DataSource):
    """Rows generated by this project; the tasks are called ``sample.<name>``."""

    notice: str | None = None
    kind = "sample"
    description = "sample tasks generated by this project"

    def task(self, name: str) -> Task:
        """Return the sample task: ``cb`` and ``sample.cb`` both give ``sample.cb``."""
        from tasks.sample import SAMPLE_TASKS

        plain = name.removeprefix(SAMPLE_PREFIX)
        if plain not in SAMPLE_TASKS:
            load_task(name)  # an unknown name is reported as such
            raise TaskError(
                f"there is no sample data for task {name!r}: the sample tasks are {', '.join(SAMPLE_TASKS)};"
                " give real rows with --data FOLDER or --data hub"
            )
        return load_task(plain).with_prefix(SAMPLE_PREFIX)

    def splits(self, task: Task) -> tuple[str, ...]:
        """Return all three splits."""
        return SPLITS

    def stream(self, task: Task, split: str) -> Rows:
        """Generate the rows of a split: the same ones every time."""
        from tasks.sample import generate

        if split not in SPLITS:
            raise TaskError(f"unknown split {split!r}: the splits are {', '.join(SPLITS)}")
        plain = task.name.removeprefix(SAMPLE_PREFIX)
        return Rows.of(task, split, generate(plain, split), f"sample:{plain}:{split}")


def open_data(choice: str | None, names: Sequence[str], *, skip_bad: bool = False) -> DataSource:
    """Decide where the rows of all the named tasks come from.

    Args:
        choice: a folder, ``hub``, ``sample``, or None for automatic: the hub where it can be reached (found out once,
            in at most five seconds), else the datasets cache where it holds every task, else the sample tasks.
        names: all the tasks of one command.
        skip_bad: leave malformed rows out; ``Rows.bad`` counts and shows them.

    Raises:
        TaskError: for an unknown choice or task, or one the choice does not have.
    """
    source = _choose(choice, names, skip_bad)
    for name in names:
        task = source.task(name)
        if not source.splits(task):
            raise TaskError(f"{source.description} has no rows of task {task.name!r}: give them with --data FOLDER")
    return source


def _choose(choice: str | None, names: Sequence[str], skip_bad: bool) -> DataSource:
    if choice == "hub":
        return HubDataSource(skip_bad)
    if choice == "sample":
        return SampleSource()
    if choice is not None:
        return FolderSource(_folder(choice), alone=len(set(names)) == 1, skip_bad=skip_bad)
    sampled = [name.startswith(SAMPLE_PREFIX) for name in names]
    if names and all(sampled):
        return SampleSource()
    if any(sampled):
        raise TaskError(f"sample and real tasks cannot be mixed in one command, got {', '.join(names)}")
    wanted = [load_task(name) for name in names]
    reason = why_no_hub()
    if reason is None:
        return HubDataSource(skip_bad)
    if wanted and all(cached_files(task, split) for task in wanted for split in ("train", "validation")):
        return CacheSource(skip_bad)
    return SampleSource(notice=_notice(wanted, reason))


def _folder(choice: str) -> Path:
    folder = Path(choice).expanduser()
    if not folder.is_dir():
        parent = folder.parent
        near = [path.name for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
        raise TaskError(
            f"no data folder {choice!r}{did_you_mean(folder.name, [*near, 'hub', 'sample'])}:"
            " --data takes a folder with <task>/train.jsonl, 'hub' or 'sample'"
        )
    return folder


def _notice(wanted: Sequence[Task], reason: str) -> str:
    names = ", ".join(task.name for task in wanted) or "real tasks"
    sampled = ", ".join(SAMPLE_PREFIX + task.name for task in wanted) or f"{SAMPLE_PREFIX}<task>"
    return (
        f"SAMPLE DATA, NOT {names.upper()}: {reason}, and the local cache does not hold them.\n"
        f"The rows are generated by this project; results carry the names {sampled} and say nothing about the real"
        " tasks.\n"
        "For real rows: --data FOLDER (with <task>/train.jsonl), or --data hub once the hub can be reached."
    )
