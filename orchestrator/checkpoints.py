"""Checkpoints of packs: in memory for when a worker dies, and in the run for when the command does.

They are artifacts of the command's parent run: in the store's folder where it is SQLite, through the server's proxy
elsewhere, so that another machine can go on. A file's name carries the SHA-256 of its bytes, so a half-written or
damaged one is known by itself and the one before it is taken.
"""

from __future__ import annotations

import logging
import queue
import re
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.patience import patiently
from pipelines.checkpoint import read_header
from pipelines.errors import PipelineError
from prompts_store import PromptStore
from prompts_store.files import repository, sha256

KEPT = 2
_NAME = re.compile(r"(\d{8})-([0-9a-f]{64})\.safetensors")
_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one command's packs.

    Writing happens on a thread of its own: training never waits for it, and a checkpoint that is overtaken by a newer
    one of the same configurations before its turn is not written. One that cannot be written costs a warning. Use as
    a context: leaving it writes what waits.

    What the command wrote before it was cut off is there again; damaged files are passed over.

    Args:
        store: The store the command's runs are in.
        run_id: The command's parent run.
        folder: Among the run's artifacts.
    """

    def __init__(self, store: PromptStore, run_id: str, folder: str = "checkpoints") -> None:
        self.folder = folder
        location = patiently(lambda: store.client.get_run(run_id)).info.artifact_uri
        self._repository: Any = repository(store.tracking_uri, location)
        self._memory: dict[int, tuple[int, bytes]] = {}
        self._written: dict[str, frozenset[int]] = {}
        self._number = 0
        self._read()
        self._waiting: queue.Queue[tuple[int, frozenset[int], bytes] | None] = queue.Queue()
        self._writer = threading.Thread(target=self._write_all, name="checkpoints", daemon=True)
        self._writer.start()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def save(self, configs: Collection[int], payload: bytes) -> None:
        """Keep the state of these configurations' slots (`pipelines.checkpoint.PackState.dump`); returns at once."""
        self._number += 1
        self._memory |= dict.fromkeys(configs, (self._number, payload))
        self._waiting.put((self._number, frozenset(configs), payload))

    def newest(self, configs: Collection[int]) -> tuple[bytes, ...]:
        """What is newest of these configurations: restored one after another, it is their newest state.

        Empty if none of them has been saved.
        """
        found = {self._memory[config] for config in configs if config in self._memory}
        return tuple(payload for _, payload in sorted(found, key=lambda entry: entry[0]))

    def forget(self) -> None:
        """Delete all of it: the command has ended, and nothing will go on from it."""
        self.close()
        self._memory.clear()
        with _attempt("delete checkpoints"):
            for name in list(self._written):
                patiently(lambda name=name: self._delete(name))  # type: ignore[misc]

    def close(self) -> None:
        """Write what waits and stop writing; safe to call again."""
        if self._writer.is_alive():
            self._waiting.put(None)
            self._writer.join()

    def _write_all(self) -> None:
        while (entry := self._waiting.get()) is not None:
            number, configs, payload = entry
            if all(self._memory[config][0] == number for config in configs):
                with _attempt("write a checkpoint"):
                    self._write(number, configs, payload)

    def _write(self, number: int, configs: frozenset[int], payload: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="orchestrator-checkpoint-") as folder:
            file = Path(folder, f"{number:08d}-{sha256(payload)}.safetensors")
            file.write_bytes(payload)
            self._repository.log_artifact(str(file), self.folder)
        self._written[file.name] = configs
        for config in configs:
            for name in sorted(name for name, own in self._written.items() if config in own)[:-KEPT]:
                self._written[name] -= {config}
        for name in [name for name, own in self._written.items() if not own]:
            self._delete(name)

    def _delete(self, name: str) -> None:
        self._repository.delete_artifacts(f"{self.folder}/{name}")
        del self._written[name]

    def _read(self) -> None:
        """Take in what the run has, oldest first, so that the newest whole one of each configuration remains."""
        entries = patiently(lambda: self._repository.list_artifacts(self.folder))
        for file in sorted(Path(entry.path).name for entry in entries):
            if not (match := _NAME.fullmatch(file)):
                continue
            self._number = int(match[1])
            with tempfile.TemporaryDirectory(prefix="orchestrator-checkpoint-") as folder:
                place = self._repository.download_artifacts(f"{self.folder}/{file}", dst_path=folder)
                payload = Path(place).read_bytes()
            configs: frozenset[int] = frozenset()
            try:
                if sha256(payload) != match[2]:
                    raise PipelineError("it was not written to its end, or damaged")
                configs = frozenset(slot["values"]["spec"]["config"] for slot in read_header(payload)["slots"])
            except PipelineError as error:
                _log.warning("checkpoint %s is passed over: %s", file, error)
            self._written[file] = configs
            self._memory |= dict.fromkeys(configs, (self._number, payload))


@contextmanager
def _attempt(what: str) -> Iterator[None]:
    """Training is worth more than a copy of its state: what goes wrong here must not end it."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (OSError, MlflowException) as error:
        _log.warning("cannot %s: %s; training goes on", what, error)
