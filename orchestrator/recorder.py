"""The one writer of MLflow runs: a parent per command, a child per configuration.

All runs are written by the driver. A configuration whose pack crashed and started again goes on in the run it has, and
so does all of a command that was cut off and is resumed; nothing is logged twice. Whatever happens short of a kill, no
run is left RUNNING. The parent is made at once; its children and all that is written go through an `Outbox`.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from mlflow.entities import Metric

from orchestrator import __version__
from orchestrator.errors import UsageError
from orchestrator.heartbeat import CANCEL, Heartbeat
from orchestrator.interrupts import uninterrupted
from orchestrator.letters import Letter
from orchestrator.openings import Opening, open_run
from orchestrator.outbox import Outbox
from orchestrator.patience import patiently
from orchestrator.plan import Plan, long_tag
from orchestrator.resumed import CONFIG, OUTCOME, PARENT, Resumed
from orchestrator.spool import Spool
from prompts_store import PromptStore
from prompts_store.secrets import without_secrets

KIND, STATE, REASON, ROLE = "orchestrator.kind", "orchestrator.state", "orchestrator.reason", "orchestrator.role"
BY_SEED = "test_score_by_seed"
INTERRUPTED_SECONDS = 15.0
"""For how long a command that failed or was interrupted waits for a store that takes nothing."""

_STATUS = {"finished": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


class Recorder:
    """Writes one command's runs; use as a context.

    Args:
        store: The store whose MLflow is written to.
        experiment: Name of the experiment.
        name: Name of the parent run.
        kind: What command this is.
        params: Its settings.
        tags: More about it.
        plan: What it set out to do; without one it cannot be resumed.
        resumed: The command that goes on, if it is not a new one.

    Raises:
        UsageError: If a resumed command finds other things than it had found.
    """

    def __init__(
        self,
        store: PromptStore,
        experiment: str,
        *,
        name: str,
        kind: str,
        params: Mapping[str, Any],
        tags: Mapping[str, Any],
        plan: Plan | None = None,
        resumed: Resumed | None = None,
    ) -> None:
        self.client = store.client
        self.experiment_id = patiently(lambda: store.ensure_experiment(experiment))
        self.resumed = resumed
        if resumed is None:
            kept = {KIND: kind, "orchestrator.version": __version__, **tags, **(plan.tags() if plan else {})}
            self.parent = open_run(self.client, self._opening(uuid.uuid4().hex, name, kept))
        else:
            if plan:
                resumed.plan.check_unchanged(plan)
            self.parent = resumed.parent
        self._outbox = Outbox(self.client, Spool(self.parent))
        if resumed is None:
            self._outbox.post(Letter(self.parent, params=_given(params)))
        self.heartbeat = Heartbeat(self.client, self.parent)
        self._before = {} if resumed is None else dict(resumed.children)
        self._runs: dict[int, str] = {}  # ids, or the keys of openings
        self._open: set[int] = set()
        self._logged = {(config, *point) for config, child in self._before.items() for point in child.logged}

    def __enter__(self) -> Recorder:
        self.heartbeat.__enter__()
        if self.resumed is not None:
            self._reopen(self.parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        state = "finished" if error is None else "failed" if isinstance(error, Exception) else "killed"
        reason = None if error is None else f"{type(error).__name__}: {error}".rstrip(": ")
        self.heartbeat.stop()
        try:
            with uninterrupted():
                for config in sorted(self._open):
                    self.finish(config, "killed", reason or "the command ended first")
                self._close(self.parent, state, reason)
                if error is not None:
                    self._outbox.close(INTERRUPTED_SECONDS)
            if error is None:
                self._outbox.close()
        finally:  # whoever takes the command up sends what is left, and not before
            self.heartbeat.__exit__(kind, error, trace)

    def start(self, config: int, name: str, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Open a configuration's run, or the one it had.

        Raises:
            UsageError: If the command is resumed and would now train something else.
        """
        if before := self._before.get(config):
            now = _given(params)
            if not before.params:  # it was killed between making the run and writing them
                self._outbox.post(Letter(before.run_id, params=now))
            elif other := [key for key in now.keys() | before.params.keys() if now.get(key) != before.params.get(key)]:
                changes = ", ".join(f"{key} {before.params.get(key)} is now {now.get(key)}" for key in sorted(other))
                raise UsageError(
                    f"cannot resume: configuration {config} ({name}) would not be what it was ({changes}), so the "
                    "program or a library has changed since. Start the command anew"
                )
            self._runs[config] = before.run_id
            if before.outcome is not None:
                if before.status == "RUNNING":  # it was killed between its last words and its end
                    self._close(before.run_id, before.tags[STATE], None)
                return
            self._reopen(before.run_id)
        else:
            tags = {PARENT: self.parent, CONFIG: config, **tags}
            opening = self._opening(f"{self.parent}/{config}", name, tags)
            self._runs[config] = opening.key
            self._outbox.post(Letter(opening.key, _given(params), opening=opening))
        self._open.add(config)

    def outcome(self, config: int) -> Mapping[str, Any] | None:
        """What had become of a configuration before the command was cut off; None if it had not ended."""
        before = self._before.get(config)
        return None if before is None else before.outcome

    def prompt(self, config: int) -> str | None:
        """What had been stored of a configuration before the command was cut off."""
        before = self._before.get(config)
        return None if before is None or before.outcome is None else before.tags.get("prompt")

    def run_id(self, config: int) -> str:
        """The run of a configuration; waits until it is made."""
        before = self._before.get(config)
        return before.run_id if before else self._outbox.run_id(self._runs[config])

    def metrics(self, config: int, step: int, values: Mapping[str, float]) -> None:
        """Log metrics at a step, once: a repeated step of a configuration that started again is passed over."""
        self._log(config, [(key, value, step) for key, value in values.items()])

    def summarise(
        self, config: int, values: Mapping[str, float], series: Mapping[str, Mapping[int, float]] | None = None
    ) -> None:
        """Log final metrics of a configuration, and metrics with one value per seed (the seed is the step)."""
        points = [(key, value, 0) for key, value in values.items()]
        points += [(key, value, seed) for key, many in (series or {}).items() for seed, value in many.items()]
        self._log(config, points)

    def tag(self, config: int | None, key: str, value: object) -> None:
        """Tag a configuration's run (None: the parent)."""
        self._outbox.post(Letter(self.parent if config is None else self._runs[config], tags={key: _kept(value)}))

    def attach(self, config: int, name: str, text: str) -> None:
        """Keep a text with a configuration's run."""
        self._outbox.post(Letter(self._runs[config], texts={name: _kept(text)}))

    def finish(
        self, config: int, state: str, reason: str | None = None, outcome: Mapping[str, Any] | None = None
    ) -> None:
        """Close a configuration's run: ``finished``, ``pruned``, ``failed`` or ``killed``.

        Args:
            config: The configuration.
            state: How it ended.
            reason: Why, if something went wrong.
            outcome: What a resumed command has to know of it; written together with the state.
        """
        if config in self._open:
            self._open.discard(config)
            self._close(self._runs[config], state, reason, outcome)

    def _opening(self, key: str, name: str, tags: Mapping[str, Any]) -> Opening:
        kept = {tag: _kept(value) for tag, value in tags.items()}
        return Opening(key, self.experiment_id, _kept(name), kept, int(time.time() * 1000))

    def _close(self, run_id: str, state: str, reason: str | None, outcome: Mapping[str, Any] | None = None) -> None:
        tags = {STATE: state} | ({REASON: _kept(reason)[:4000]} if reason else {})
        if outcome is not None:
            said = {key: _kept(value) if isinstance(value, str) else value for key, value in outcome.items()}
            tags |= long_tag(OUTCOME, json.dumps(said))
        self._outbox.post(Letter(run_id, tags=tags, end=(_STATUS[state], int(time.time() * 1000))))

    def _reopen(self, run_id: str) -> None:
        self.client.update_run(run_id, status="RUNNING")
        tags = self.client.get_run(run_id).data.tags
        for key in (STATE, REASON, CANCEL):
            if key in tags:
                self.client.delete_tag(run_id, key)

    def _log(self, config: int, points: list[tuple[str, float, int]]) -> None:
        new = [(key, value, step) for key, value, step in points if (config, key, step) not in self._logged]
        if config in self._open and new:
            self._logged |= {(config, key, step) for key, _, step in new}
            now = int(time.time() * 1000)
            metrics = [Metric(key, value, now, step) for key, value, step in new]
            self._outbox.post(Letter(self._runs[config], metrics=metrics))


def _kept(value: object) -> str:
    """What is written to MLflow, where others read it."""
    return without_secrets(str(value))


def _given(params: Mapping[str, Any]) -> dict[str, str]:
    return {key: _kept(value) for key, value in params.items() if value is not None}
