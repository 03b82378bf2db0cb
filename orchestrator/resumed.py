"""A command that was cut off, as its runs in MLflow tell: what had ended, and what had been logged of the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.letters import points
from orchestrator.plan import Plan, read_long_tag
from prompts_store import PromptStore
from prompts_store.tracking import mlflow_errors, paged

PARENT, CONFIG, OUTCOME = "mlflow.parentRunId", "orchestrator.config", "orchestrator.outcome"


@dataclass(frozen=True)
class Child:
    """A configuration's run.

    Attributes:
        run_id: Its run.
        status: As MLflow has it.
        params: As logged.
        tags: As set.
        outcome: What became of it, once it has ended (see `Outcome.record`).
        logged: (key, step) of every metric, of a run that had not ended.
    """

    run_id: str
    status: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    outcome: Mapping[str, Any] | None
    logged: frozenset[tuple[str, int]]


@dataclass(frozen=True)
class Resumed:
    """What is known of a command that goes on.

    Attributes:
        parent: Its run.
        plan: What it set out to do.
        children: Runs by configuration.
    """

    parent: str
    plan: Plan
    children: Mapping[int, Child]


def children(store: PromptStore, parent: Any) -> list[Any]:
    """The runs of a command's configurations, as MLflow gives them, in the order of their numbers."""
    with mlflow_errors(store.tracking_uri):
        runs = paged(
            store.client.search_runs,
            [parent.info.experiment_id],
            filter_string=f"tags.`{PARENT}` = '{parent.info.run_id}'",
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            size=1000,
        )
        return sorted(runs, key=lambda run: int(run.data.tags.get(CONFIG, -1)))


def read_resumed(store: PromptStore, parent: Any) -> Resumed:
    """Read a command's runs back.

    Args:
        store: The store they are in.
        parent: Its parent run, as MLflow gives it.

    Raises:
        UsageError: If the run cannot be resumed.
    """
    plan = Plan.read(parent.data.tags)
    if plan is None:
        raise UsageError(f"run {parent.info.run_id} is not one that can be resumed: it has no plan in its tags")
    found: dict[int, Child] = {}
    for run in children(store, parent):
        if CONFIG in run.data.tags:
            with mlflow_errors(store.tracking_uri):
                found.setdefault(int(run.data.tags[CONFIG]), _child(store, run))
    return Resumed(parent.info.run_id, plan, found)


def _child(store: PromptStore, run: Any) -> Child:
    tags = run.data.tags
    text = read_long_tag(OUTCOME, tags)
    outcome = None if text is None else json.loads(text)
    logged = points(store.client, run.info.run_id, run.data.metrics) if text is None else ()
    return Child(run.info.run_id, run.info.status, run.data.params, tags, outcome, frozenset(logged))
