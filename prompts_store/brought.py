"""Runs for prompts that were learned elsewhere: in MLflow, files belong to a run."""

from typing import Any

from prompts_store.card import Card
from prompts_store.tracking import ensure_experiment

EXPERIMENT = "brought"
"""Where the runs of prompts are that were imported, pushed or pulled."""

_TENSORS, _ORIGIN = "tensors_sha256", "origin_run"


def brought_run(client: Any, uri: str, card: Card, tensors_sha256: str) -> str:
    """The id of the finished run that holds a prompt learned elsewhere: the one that is there, or a new one.

    A run that a killed process made and never finished is taken up again.
    """
    experiment = ensure_experiment(client, uri, EXPERIMENT)
    origin = card.origin_run or ""
    wanted = f"tags.{_TENSORS} = '{tensors_sha256}' AND tags.{_ORIGIN} = '{origin}'"
    there = client.search_runs([experiment], wanted, max_results=1)
    run = there[0] if there else None
    if run is None:
        tags = {_TENSORS: tensors_sha256, _ORIGIN: origin, "task": card.task, "backbone": card.backbone}
        run = client.create_run(experiment, run_name=f"{card.method} {card.task}", tags=tags)
    if run.info.status != "FINISHED":
        client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)
