"""The one writer of MLflow runs: a parent per command, a child per configuration.

All runs are written by the driver. A configuration whose pack crashed and started again goes on in the run it has;
whatever happens, no run is left RUNNING.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from orchestrator import __version__
from orchestrator.interrupts import uninterrupted
from prompts_store import PromptStore
from prompts_store.secrets import without_secrets

KIND, STATE, REASON, ROLE = "orchestrator.kind", "orchestrator.state", "orchestrator.reason", "orchestrator.role"
BY_SEED = "test_score_by_seed"
PARENT = "mlflow.parentRunId"

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
    ) -> None:
        self.client = store.client
        self.experiment_id = store.ensure_experiment(experiment)
        self.parent = self._create(name, {KIND: kind, "orchestrator.version": __version__, **tags}, params)
        self._runs: dict[int, str] = {}
        self._open: set[int] = set()
        self._logged: set[tuple[int, int]] = set()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        state = "finished" if error is None else "failed" if isinstance(error, Exception) else "killed"
        reason = None if error is None else f"{type(error).__name__}: {error}".rstrip(": ")
        with uninterrupted():
            for config in sorted(self._open):
                self.finish(config, "killed", reason or "the command ended first")
            self._close(self.parent, state, reason)

    def start(self, config: int, name: str, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Open a configuration's run."""
        self._runs[config] = self._create(name, {PARENT: self.parent, **tags}, params)
        self._open.add(config)

    def run_id(self, config: int) -> str:
        """The run of a configuration."""
        return self._runs[config]

    def metrics(self, config: int, step: int, values: Mapping[str, float]) -> None:
        """Log metrics at a step, once: a repeated step of a configuration that started again is passed over."""
        if (config, step) not in self._logged:
            self._logged.add((config, step))
            self._log(self._runs[config], [(key, value, step) for key, value in values.items()])

    def summarise(
        self, config: int, values: Mapping[str, float], series: Mapping[str, Mapping[int, float]] | None = None
    ) -> None:
        """Log final metrics of a configuration, and metrics with one value per seed (the seed is the step)."""
        points = [(key, value, 0) for key, value in values.items()]
        points += [(key, value, seed) for key, many in (series or {}).items() for seed, value in many.items()]
        self._log(self._runs[config], points)

    def tag(self, config: int | None, key: str, value: object) -> None:
        """Tag a configuration's run (None: the parent)."""
        self.client.set_tag(self.parent if config is None else self._runs[config], key, _kept(value))

    def attach(self, config: int, name: str, text: str) -> None:
        """Keep a text with a configuration's run."""
        self.client.log_text(self._runs[config], _kept(text), name)

    def finish(self, config: int, state: str, reason: str | None = None) -> None:
        """Close a configuration's run: ``finished``, ``pruned``, ``failed`` or ``killed``."""
        self._open.discard(config)
        self._close(self._runs[config], state, reason)

    def _create(self, name: str, tags: Mapping[str, Any], params: Mapping[str, Any]) -> str:
        run = self.client.create_run(
            self.experiment_id, run_name=_kept(name), tags={key: _kept(value) for key, value in tags.items()}
        )
        run_id: str = run.info.run_id
        given = [Param(key, _kept(value)) for key, value in params.items() if value is not None]
        self.client.log_batch(run_id, params=given)
        return run_id

    def _close(self, run_id: str, state: str, reason: str | None) -> None:
        tags = [RunTag(STATE, state), *([RunTag(REASON, _kept(reason)[:4000])] if reason else [])]
        self.client.log_batch(run_id, tags=tags)
        self.client.set_terminated(run_id, status=_STATUS[state])

    def _log(self, run_id: str, points: list[tuple[str, float, int]]) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(run_id, metrics=[Metric(key, value, now, step) for key, value, step in points])


def _kept(value: object) -> str:
    """What is written to MLflow, where others read it."""
    return without_secrets(str(value))
