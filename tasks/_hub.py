"""Rows from the Hugging Face hub, from the local cache of an earlier download, and the one probe of the network."""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tasks._errors import TaskError
from tasks._reading import RowStream
from tasks._records import Record
from tasks._task import HubSource, Task

BATCH = 1000
"""Rows of a data set that are read at once."""

PROBE_SECONDS = 4.5
"""The longest the probe of the hub waits, whatever hangs."""

_TRUE = {"1", "ON", "YES", "TRUE"}


@functools.cache
def why_no_hub() -> str | None:
    """Return why the hub cannot be reached, or None where it can; asked once per process, within five seconds."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in _TRUE:
            return f"{name} is set"
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    answer: list[str | None] = []
    # a thread of its own, because looking up a name cannot be given a time limit
    thread = threading.Thread(target=lambda: answer.append(_probe(endpoint)), daemon=True, name="hub-probe")
    thread.start()
    thread.join(PROBE_SECONDS)
    return answer[0] if answer else f"{endpoint} did not answer within {PROBE_SECONDS} seconds"


def _probe(endpoint: str) -> str | None:
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(f"{endpoint}/api/datasets/nyu-mll/glue", method="HEAD"), timeout=PROBE_SECONDS):
            return None
    except (OSError, ValueError, HTTPException) as error:
        return f"{endpoint} cannot be reached ({error})"


def stream_hub(task: Task, split: str, *, skip_bad: bool = False) -> RowStream:
    """Open a split from the hub with ``datasets.load_dataset``, which keeps it on disk; no code from the hub is run.

    Raises:
        TaskError: where the data set cannot be loaded or does not have the task's columns and labels.
    """
    hub, hub_split = hub_split_of(task, split)
    at = f"@{hub.revision}" if hub.revision else ""
    where = f"hub:{hub.path}{'/' + hub.name if hub.name else ''}{at}:{hub_split}"
    import datasets

    try:
        loaded = datasets.load_dataset(hub.path, hub.name, split=hub_split, revision=hub.revision)
    except Exception as error:  # the libraries below raise many kinds
        raise TaskError(
            f"{where}: cannot be loaded ({type(error).__name__}: {error}): give a folder with --data FOLDER"
        ) from error
    _check_columns(task, loaded.column_names, where)
    feature = loaded.features[task.label_field]
    _check_label_names(task, getattr(feature, "names", None), where)
    kept = loaded.select_columns(list(task.columns))

    def batches() -> Iterator[dict[str, list[Any]]]:
        return (kept[start : start + BATCH] for start in range(0, len(kept), BATCH))

    return RowStream(lambda: _numbered(batches()), task, split, where, size=kept.data.nbytes, skip_bad=skip_bad)


def cached_files(task: Task, split: str) -> list[Path]:
    """Return the Arrow files of a split in the local datasets cache, newest download first; empty where it has none."""
    if task.hub is None or split not in task.hub.splits:
        return []
    owner, _, name = task.hub.path.rpartition("/")
    folder = _cache_root() / (f"{owner}___{name}" if owner else name)
    # the layout is FOLDER/<configuration>/<version>/<fingerprint>/<data set>-<split>[-00000-of-00002].arrow
    copies = sorted(
        (info.parent for info in folder.glob(f"{task.hub.name or '*'}/*/*/dataset_info.json")),
        key=lambda copy: copy.stat().st_mtime,
        reverse=True,
    )
    for copy in copies:
        whole = sorted(copy.glob(f"{name}-{task.hub.splits[split]}.arrow"))
        shards = sorted(copy.glob(f"{name}-{task.hub.splits[split]}-[0-9]*-of-[0-9]*.arrow"))
        if whole or (shards and len(shards) == int(shards[0].stem.rpartition("-of-")[2])):
            return whole or shards
    return []


def stream_cache(task: Task, split: str, *, skip_bad: bool = False) -> RowStream:
    """Open a split in the local datasets cache without any network."""
    import pyarrow  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.ipc  # type: ignore[import-untyped, unused-ignore]

    files = cached_files(task, split)
    if not files:
        raise TaskError(f"split {split!r} of {task.name} is not in the datasets cache {_cache_root()}")
    where = f"cache:{files[0].parent}:{split}"
    info = json.loads((files[0].parent / "dataset_info.json").read_text(encoding="utf-8"))
    feature = (info.get("features") or {}).get(task.label_field)
    _check_label_names(task, feature.get("names") if isinstance(feature, dict) else None, where)

    def batches() -> Iterator[dict[str, list[Any]]]:
        for path in files:
            with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as stream:
                _check_columns(task, stream.schema.names, where)
                for batch in stream:
                    yield batch.select(list(task.columns)).to_pydict()

    size = sum(path.stat().st_size for path in files)
    return RowStream(lambda: _numbered(batches()), task, split, where, size=size, skip_bad=skip_bad)


def hub_split_of(task: Task, split: str) -> tuple[HubSource, str]:
    """Return where a task is on the hub and what the split is called there."""
    if task.hub is None:
        raise TaskError(f"task {task.name!r} names no hub data set: give its rows with --data FOLDER")
    if split not in task.hub.splits:
        raise TaskError(f"task {task.name!r} has no split {split!r} on the hub: it has {', '.join(task.hub.splits)}")
    return task.hub, task.hub.splits[split]


def _numbered(batches: Iterable[dict[str, list[Any]]]) -> Iterator[tuple[int, Record]]:
    line = 0
    for batch in batches:
        names = list(batch)
        for values in zip(*batch.values(), strict=True):
            line += 1
            yield line, dict(zip(names, values, strict=True))


def _check_columns(task: Task, present: Iterable[str], where: str) -> None:
    present = list(present)
    missing = [column for column in task.columns if column not in present]
    if missing:
        raise TaskError(
            f"{where}: no column {missing[0]!r}, which task {task.name!r} needs: it has {', '.join(present)}"
        )


def _check_label_names(task: Task, names: list[str] | None, where: str) -> None:
    """Compare the names of a class-label column with the task's; numbers as names say nothing and pass."""
    if not names or all(name.isdigit() for name in names):
        return
    meant = tuple(task.label_aliases.get(name, name) for name in names)
    if meant != task.labels:
        raise TaskError(f"{where}: its labels are {', '.join(names)}, task {task.name!r} says {', '.join(task.labels)}")


def _cache_root() -> Path:
    if root := os.environ.get("HF_DATASETS_CACHE"):
        return Path(root).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "datasets"
