"""Runs that are to be made in MLflow: once each, even where the answer that one was made got lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.patience import patiently

KEY = "orchestrator.key"
"""The tag by which a run that was just made is found again."""


@dataclass(frozen=True)
class Opening:
    """A run to be made.

    Attributes:
        key: The same for the same run whoever makes it, and unlike that of any other.
        experiment_id: Where.
        name: What it is called.
        tags: What it has from the start.
        at: When it began, in ms.
    """

    key: str
    experiment_id: str
    name: str
    tags: Mapping[str, str]
    at: int


def open_run(client: Any, opening: Opening, *, again: bool = False) -> str:
    """Make a run, patiently; returns its id.

    Args:
        client: MLflow's client.
        opening: The run.
        again: Whether it may be there already; the answer to an earlier try may have been lost, too.
    """
    tags = {KEY: opening.key, **opening.tags}

    def make() -> str:
        nonlocal again
        if again:
            condition = f"tags.`{KEY}` = '{opening.key}'"
            if there := client.search_runs([opening.experiment_id], condition, max_results=1):
                return str(there[0].info.run_id)
        again = True
        return str(client.create_run(opening.experiment_id, opening.at, tags, opening.name).info.run_id)

    return patiently(make)
