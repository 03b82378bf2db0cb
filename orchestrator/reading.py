"""What the commands that only read a store share: the store as it is, a target's finished runs, and where to look."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestrator.recorder import ROLE, STATE
from orchestrator.resumed import PARENT
from prompts_store import PromptStore
from prompts_store.tracking import database_path, default_tracking_uri, mlflow_errors
from tasks import SAMPLE_PREFIX

FEWSHOT = "fewshot"
_PAGE = 1000
_MODEL_TRAINING = "workflowType=machine_learning"
"""Shows MLflow's menus for training instead of those for language-model applications."""


def existing_store() -> PromptStore | None:
    """The store that commands use, or None where none has been made yet; makes nothing.

    Raises:
        StoreError: If it cannot be used.
    """
    path = database_path(default_tracking_uri())
    return PromptStore() if path is None or path.exists() else None


def store_place() -> str:
    """The store in words, for messages."""
    path = database_path(default_tracking_uri())
    return "the server that MLFLOW_TRACKING_URI names" if path is None else str(path)


@dataclass(frozen=True)
class Experiment:
    """A target's experiment: its id in MLflow, and the task."""

    id: str
    task: str


def experiment_name(task: str) -> str:
    """Name of the experiment that a target's few-shot runs are in."""
    return f"{FEWSHOT}.{task}"


def experiments(store: PromptStore, target: str | None = None) -> list[Experiment]:
    """The few-shot experiments: of all tasks, or of a target and of its sample form."""
    found = [
        Experiment(str(experiment.experiment_id), experiment.name.removeprefix(f"{FEWSHOT}."))
        for experiment in _paged(store, "search_experiments", filter_string=f"name LIKE '{FEWSHOT}.%'")
    ]
    wanted = (target, f"{SAMPLE_PREFIX}{target}")
    return sorted((e for e in found if target is None or e.task in wanted), key=lambda e: (e.task != target, e.task))


def final_runs(store: PromptStore, experiment: Experiment) -> list[Any]:
    """The finished runs that were tested, as MLflow gives them, oldest first."""
    return list(
        _paged(
            store,
            "search_runs",
            experiment_ids=[experiment.id],
            filter_string=(
                f"attributes.status = 'FINISHED' AND tags.`{ROLE}` = 'final' AND tags.`{STATE}` = 'finished'"
            ),
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
        )
    )


def right_page(store: PromptStore, target: str | None = None) -> str | None:
    """The fragment of MLflow's address that shows the newest few-shot command's results side by side.

    Returns:
        The comparison of its tested runs; else the newest experiment; else, with no target, the list of experiments.
        None if a target is given that has no experiment.
    """
    there = experiments(store, target)
    newest = max(
        (
            (runs[-1].info.start_time, experiment, runs)
            for experiment in there
            if (runs := final_runs(store, experiment))
        ),
        key=lambda found: found[0],
        default=None,
    )
    if newest:
        _, experiment, runs = newest
        parent = runs[-1].data.tags.get(PARENT)
        return compare_page([run.info.run_id for run in runs if run.data.tags.get(PARENT) == parent], experiment)
    if there:
        return f"#/experiments/{there[-1].id}/runs?{_MODEL_TRAINING}"
    return None if target else "#/experiments"


def compare_page(run_ids: Sequence[str], experiment: Experiment) -> str:
    """The fragment of MLflow's address that compares runs."""
    runs, ids = (quote(json.dumps(list(values), separators=(",", ":"))) for values in (run_ids, [experiment.id]))
    return f"#/compare-runs?runs={runs}&experiments={ids}&{_MODEL_TRAINING}"


def ui_command(target: str | None = None) -> str:
    """The command line that opens the UI over this store, as it can be typed into a shell wherever one is."""
    program = "orchestrator" if shutil.which("orchestrator") else shlex.quote(str(Path(sys.argv[0]).absolute()))
    command = f"{program} ui" + (f" --target {target}" if target else "")
    return command if os.environ.get("MLFLOW_TRACKING_URI") else f"cd {shlex.quote(str(Path.cwd()))} && {command}"


def _paged(store: PromptStore, search: str, **wanted: Any) -> Iterator[Any]:
    token = None
    while True:
        with mlflow_errors(store.tracking_uri):
            page = getattr(store.client, search)(**wanted, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
