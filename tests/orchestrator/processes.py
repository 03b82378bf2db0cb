"""Commands in processes of their own, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator", *arguments]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read_until(process: subprocess.Popen[str], wanted: Callable[[str], bool], seconds: float = 180) -> None:
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    lines = []
    for line in process.stdout:
        lines.append(line)
        if wanted(line):
            return
        assert time.monotonic() < deadline, "".join(lines)
    raise AssertionError("the command ended first:\n" + "".join(lines))


def runs(client: MlflowClient, experiment: str) -> list[Run]:
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id], order_by=["attributes.start_time"]))
