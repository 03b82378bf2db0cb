"""The commands whose runs a store has: finding one by what a person calls it, and what state it is in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.heartbeat import Sign, is_alive
from orchestrator.plan import PLAN
from orchestrator.reading import existing_store, store_place
from prompts_store import PromptStore
from prompts_store.tracking import mlflow_errors, paged

LATEST = "latest"


def the_store() -> PromptStore:
    """The store, which has to be there.

    Raises:
        UsageError: If none has been made yet.
    """
    store = existing_store()
    if store is None:
        raise UsageError(f"there is no store at {store_place()} yet, and so no run")
    return store


def commands(store: PromptStore) -> Iterator[Any]:
    """Parent runs of commands that can be followed and resumed, newest first."""
    with mlflow_errors(store.tracking_uri):
        experiments = [e.experiment_id for e in paged(store.client.search_experiments, size=1000)]
        yield from paged(
            store.client.search_runs,
            experiments,
            filter_string=f"tags.`{PLAN}` LIKE '%'",
            order_by=["attributes.start_time DESC", "attributes.run_id ASC"],
            size=1000,
        )


def find_command(store: PromptStore, ref: str) -> Any:
    """The command's parent run that ``ref`` means: a run's id or the beginning of it, its name, or ``latest``.

    Raises:
        UsageError: If none or several answer to it.
    """
    found = list(commands(store))
    if ref == LATEST and found:
        return found[0]
    named = [run for run in found if run.info.run_name == ref]
    matching = named or [run for run in found if ref and run.info.run_id.startswith(ref)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        ids = ", ".join(run.info.run_id[:8] for run in matching)
        raise UsageError(f"{ref!r} means several runs ({ids}): give one of these")
    raise UsageError(f"there is no run {ref!r} of a command: 'orchestrator status' lists those there are")


def condition(parent: Any) -> str:
    """How a command is: ``running``, ``dead`` (its driver is gone), ``finished``, ``failed`` or ``killed``."""
    status: str = parent.info.status
    if status != "RUNNING":
        return status.lower()
    return "running" if is_alive(parent.info.run_id, Sign.read(parent.data.tags)) else "dead"
