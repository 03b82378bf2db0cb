"""A command's sign of life in MLflow, and how it is asked to stop from elsewhere.

A thread of the driver writes every few seconds, into a tag of the parent run, which process it is and how far it has
come; in the same breath it looks whether `orchestrator cancel` has asked it to stop. On the machine where a driver
runs a locked file tells for certain whether it lives, because the kernel lets go of it when the process dies;
elsewhere the age of the last sign has to do.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.errors import UsageError
from prompts_store.secrets import without_secrets

HEARTBEAT, CANCEL = "orchestrator.heartbeat", "orchestrator.cancel"
BEAT_SECONDS = 5.0
LOST_SECONDS = 60.0
"""A driver on another machine that has given no sign for so long counts as dead."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sign:
    """A sign of life.

    Attributes:
        host: The driver's machine.
        pid: Its process.
        since: When it started or took up the command, in seconds since 1970.
        at: When it gave the sign.
        first: Steps that were done when it took up the command.
        done: Optimiser steps done, or spared.
        total: Steps known of so far.
        best: The best so far, in words.
    """

    host: str
    pid: int
    since: float
    at: float
    first: int = 0
    done: int = 0
    total: int = 0
    best: str = ""

    @classmethod
    def read(cls, tags: Mapping[str, str]) -> Sign | None:
        """The latest sign in a run's tags."""
        return cls(**json.loads(tags[HEARTBEAT])) if HEARTBEAT in tags else None

    @property
    def here(self) -> bool:
        """Whether the driver is, or was, on this machine."""
        return self.host == socket.gethostname()


def is_alive(run_id: str, sign: Sign | None) -> bool:
    """Whether the driver of a command lives."""
    if _locked(run_id):
        return True
    return sign is not None and not sign.here and time.time() - sign.at < LOST_SECONDS


@contextmanager
def working_on(run_id: str) -> Iterator[None]:
    """Keep a command for this process, of all on this machine.

    Raises:
        UsageError: If another has it.
    """
    path = _lock_path(run_id)
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise UsageError(f"another process is at work on run {run_id}: wait for it, or cancel it") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


class Heartbeat:
    """Gives signs of life of this process for a command, while it is entered as a context.

    Args:
        client: MLflow's client.
        run_id: The command's parent run.

    Raises:
        UsageError: On entering, if another process of this machine is at work on the command.
    """

    def __init__(self, client: Any, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self.progress: Callable[[], tuple[int, int, str]] = lambda: (0, 0, "")
        self._since = time.time()
        self._first: int | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._held = ExitStack()

    def __enter__(self) -> Heartbeat:
        self._held.enter_context(working_on(self.run_id))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._held.close()

    def stop(self) -> None:
        """Give the last sign, and be asked to stop no more; the command is still this process's."""
        self._end.set()
        self._thread.join(timeout=2 * BEAT_SECONDS)

    def _run(self) -> None:
        ended = False
        while True:
            try:
                self._beat()
            except (MlflowException, SQLAlchemyError) as error:
                log.warning("no sign of life could be written: %s", without_secrets(str(error).split("\n")[0]))
            if ended:
                return
            ended = self._end.wait(BEAT_SECONDS)  # and then once more, for the progress at the end

    def _beat(self) -> None:
        done, total, best = self.progress()
        if self._first is None and total:
            self._first = done
        sign = Sign(
            socket.gethostname(), os.getpid(), self._since, time.time(), self._first or 0, done, total, best[:500]
        )
        self.client.set_tag(self.run_id, HEARTBEAT, without_secrets(json.dumps(asdict(sign))))
        if CANCEL in self.client.get_run(self.run_id).data.tags and not self._end.is_set():
            log.info("asked to stop")
            os.kill(os.getpid(), signal.SIGTERM)  # the main thread closes the runs, as after Ctrl-C
            self._end.set()


def _lock_path(run_id: str) -> Path:
    return Path(tempfile.gettempdir(), f"orchestrator-{os.getuid()}-{run_id}.lock")


def _locked(run_id: str) -> bool:
    path = _lock_path(run_id)
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
