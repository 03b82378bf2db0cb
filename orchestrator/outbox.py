"""Writes to MLflow in the background, in order, so that a slow store or one that is away does not hold training up.

What waits for the same run goes out together. Everything may be sent twice: a metric carries the time it was made at,
by which MLflow knows it again. Nothing is kept on disk: what a killed command had not sent belongs to configurations
whose end is not on record, and these are trained again, to the same numbers, when it is resumed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from orchestrator.patience import PATIENCE_SECONDS, patiently
from prompts_store import StoreError
from prompts_store.secrets import without_secrets

log = logging.getLogger(__name__)


@dataclass
class Letter:
    """What is to be written to a run: all of it at once, its end last.

    Attributes:
        run_id: The run.
        params: Its settings.
        metrics: Values with step and time.
        tags: By key.
        texts: Files by name.
        end: MLflow's status and the time in ms, if it is to be closed.
    """

    run_id: str
    params: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    end: tuple[str, int] | None = None

    def add(self, later: Letter) -> None:
        """Take in what comes after."""
        self.params |= later.params
        self.metrics += later.metrics
        self.tags |= later.tags
        self.texts |= later.texts
        self.end = later.end or self.end


class Outbox:
    """Sends letters from a thread of its own.

    Args:
        client: MLflow's client.
    """

    def __init__(self, client: Any) -> None:
        # Retries are ours: MLflow's own take minutes, in silence, and may make a run twice.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback for each locked database
        self.client = client
        self._letters: dict[str, Letter] = {}
        self._changed = threading.Condition()
        self._busy = self._closed = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def post(self, letter: Letter) -> None:
        """Send a letter soon.

        Raises:
            StoreError: If the store has refused an earlier one for good.
        """
        with self._changed:
            if self._error is not None:
                raise _refused(self._error) from self._error
            if letter.run_id in self._letters:
                self._letters[letter.run_id].add(letter)
            else:
                self._letters[letter.run_id] = letter
            self._changed.notify_all()

    def close(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until everything is sent, for at most so many seconds.

        Raises:
            StoreError: If the store refused, or was away for longer.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while (self._letters or self._busy) and self._error is None:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise StoreError(
                        f"the MLflow store has been away for too long, and {len(self._letters) + self._busy} runs are "
                        "not written to the end: 'orchestrator resume latest' does so once it is back"
                    )
            if self._error is not None:
                raise _refused(self._error) from self._error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._letters or self._closed)
                if not self._letters:
                    return
                letter = self._letters.pop(next(iter(self._letters)))
                self._busy = True
            error: Exception | None = None
            try:
                self._send(letter)
            except Exception as refused:
                error = refused
            with self._changed:
                self._busy, self._error = False, error
                self._changed.notify_all()
                if error is not None:
                    return

    def _send(self, letter: Letter) -> None:
        params = [Param(key, value) for key, value in letter.params.items()]
        tags = [RunTag(key, value) for key, value in letter.tags.items()]
        for name, text in letter.texts.items():
            patiently(lambda name=name, text=text: self.client.log_text(letter.run_id, text, name))  # type: ignore[misc]
        patiently(lambda: self.client.log_batch(letter.run_id, letter.metrics, params, tags))
        if letter.end is not None:
            status, at = letter.end
            patiently(lambda: self.client.set_terminated(letter.run_id, status, at))


def _refused(error: Exception) -> StoreError:
    return StoreError(f"the MLflow store refused a write: {without_secrets(str(error).strip().split(chr(10))[0])}")
