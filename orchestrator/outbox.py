"""Writes to MLflow in the background, in order, so that a slow store or one that is away does not hold training up.

What is written to the same run within a second goes out together. What waits is on disk as well
(`orchestrator.spool`), and `letters.deliver` sends what a dead command left there.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from orchestrator.letters import Letter, add_to, refused, send
from orchestrator.patience import PATIENCE_SECONDS
from orchestrator.spool import Spool
from prompts_store import StoreError

LINGER_SECONDS = 1.0
"""How long what is written to a run waits for more: MLflow takes about as long for much as for little."""


class Outbox:
    """Sends letters from a thread of its own.

    Args:
        client: MLflow's client.
        spool: Where letters are kept until they are sent.
    """

    def __init__(self, client: Any, spool: Spool) -> None:
        self.client = client
        self._spool = spool
        self._letters: dict[str, Letter] = {}
        self._since: dict[str, float] = {}
        self._made: dict[str, str] = {}
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
                raise refused(self._error) from self._error
            letter = self._resolved(letter)
            self._spool.keep(letter.dump())
            add_to(self._letters, letter)
            self._since.setdefault(letter.run_id, time.monotonic())
            self._changed.notify_all()

    def run_id(self, key: str) -> str:
        """The run that was made for an opening; waits until it is.

        Raises:
            StoreError: If the store has refused a letter for good.
        """
        with self._changed:
            self._changed.wait_for(lambda: key in self._made or self._error is not None)
            if key not in self._made:
                assert self._error is not None
                raise refused(self._error) from self._error
            return self._made[key]

    def close(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until everything is sent, as long as not so many seconds pass without a letter that is.

        Raises:
            StoreError: If the store refused, or was away for longer.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while (self._letters or self._busy) and self._error is None:
                if not self._changed.wait(seconds):
                    raise StoreError(
                        f"the MLflow store has been away for too long, and {len(self._letters) + self._busy} runs are "
                        "not written to the end: 'orchestrator resume latest' does so once it is back"
                    )
            if self._error is not None:
                raise refused(self._error) from self._error
            self._spool.remove()

    def _resolved(self, letter: Letter) -> Letter:
        return replace(letter, run_id=self._made.get(letter.run_id, letter.run_id))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._letters or self._closed)
                if not self._letters:
                    return
                oldest = next(iter(self._letters))
                left = self._since[oldest] + LINGER_SECONDS - time.monotonic()
                self._changed.wait_for(lambda: self._closed, max(0.0, left))
                letter = self._resolved(self._letters.pop(oldest))
                del self._since[oldest]
                self._busy = True
            error: Exception | None = None
            try:
                run_id = send(self.client, letter)
            except Exception as failure:
                error = failure
            with self._changed:
                if error is None and letter.opening:
                    self._made[letter.run_id] = run_id
                self._busy, self._error = False, error
                if error is None and not self._letters:
                    self._spool.clear()
                self._changed.notify_all()
                if error is not None:
                    return
