"""Work that costs little: tiny rows, settings of tiny backbones, and what commands left in MLflow."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

LABELS = {"mnli": 3, "sst2": 2, "cb": 3}
ROWS = {"train": 120, "validation": 24}
UNMEASURED = ["--dtype", "float32", "--attention", "eager", "--chunk-tokens", "1024"]
"""Nothing is left to measure, which would take longer than the training of a tiny backbone."""


def write_rows(folder: Path) -> Path:
    """Rows of letters for three tasks of the catalogue."""
    draw = random.Random(0)
    for task, classes in LABELS.items():
        (folder / task).mkdir(parents=True)
        for split, count in ROWS.items():
            lines = [json.dumps(_row(task, i % classes, draw)) for i in range(count)]
            (folder / task / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def _row(task: str, label: int, draw: random.Random) -> dict[str, Any]:
    def text() -> str:
        return " ".join(draw.choices(string.ascii_lowercase, k=draw.randint(3, 9)))

    texts = {"sentence": text()} if task == "sst2" else {"premise": text(), "hypothesis": text()}
    return texts | {"label": label}


def children(tracking_uri: str, experiment: str) -> list[Run]:
    """The configurations of the newest command, which must have ended well, in their order."""
    client = MlflowClient(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id], order_by=["attributes.start_time DESC"])
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert parent.info.status == "FINISHED"
    own = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return sorted(own, key=lambda run: int(run.data.tags["orchestrator.config"]))


def numbers(runs: list[Run]) -> list[tuple[dict[str, str], dict[str, float]]]:
    """What configurations were and what came out, for comparison."""
    return [(run.data.params, run.data.metrics) for run in runs]
