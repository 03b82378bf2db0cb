"""The main job across two real Ray nodes and an MLflow server, from a machine that is no node of the cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.orchestrator.nodes import Cluster, two_nodes
from tests.prompts_store.conftest import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]

TOP = Path(__file__).parents[2]
PRETRAIN = ["pretrain-source", "--tasks", "mnli,sst2", "--data", "sample", "--batch", "8", "--steps", "16"]
PRETRAIN += ["--eval-every", "8", "--dtype", "float32", "--max-length", "48"]
FEWSHOT = ["fewshot", "--target", "cb", "--k", "8", "--data", "sample", "--trials", "2", "--pack", "1"]
FEWSHOT += ["--seeds", "1", "--steps", "2", "--eval-every", "1"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server on 127.0.0.1, which the nodes do not reach: only the driver writes."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--artifacts-destination", f"{folder}/files", "--backend-store-uri"]
    environment = {n: v for n, v in os.environ.items() if not n.startswith("MLFLOW")}
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"sqlite:///{folder}/mlflow.db"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)


@pytest.fixture(scope="module")
def cluster(server: str) -> Iterator[Cluster]:
    if Path(sys.prefix).is_relative_to("/tmp"):
        pytest.skip("nodes have a /tmp of their own, and this environment lies in it")
    with two_nodes() as cluster:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{server}/health", timeout=2).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the MLflow server did not start within 90 s"
                time.sleep(0.2)
        yield cluster


def start(cluster: Cluster, server: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": server, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": cluster.token,
        "PYTHONPATH": str(TOP), "ORCHESTRATOR_CACHE": str(folder.parent / f"{folder.name}-cache"),
    }  # fmt: skip
    command = [sys.executable, "-m", "orchestrator", *arguments, "--ray-address", cluster.client_address]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    try:
        output, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output


def children(server: str, experiment: str) -> list[Run]:
    """The configurations of the newest command."""
    client = MlflowClient(server)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id], order_by=["attributes.start_time DESC"])
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert parent.info.status == "FINISHED"
    return [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


@pytest.fixture(scope="module")
def pretrained(cluster: Cluster, server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The sources by task, learned in an empty folder."""
    folder = tmp_path_factory.mktemp("empty")
    finish(start(cluster, server, folder, *PRETRAIN))
    assert not list(folder.iterdir())
    return {run.data.tags["task"]: run for run in children(server, "pretrain-source")}


def test_sources_are_learned_on_both_nodes(cluster: Cluster, pretrained: dict[str, Run]) -> None:
    assert pretrained.keys() == {"sample.mnli", "sample.sst2"}
    assert all(run.data.tags["prompt"] == f"dept-minilm-{task}/1" for task, run in pretrained.items())
    assert {run.data.tags["node"] for run in pretrained.values()} == {cluster.head.address, cluster.other.address}


@pytest.mark.usefixtures("pretrained")
def test_a_target_is_learned_from_them(cluster: Cluster, server: str, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "stored dept-minilm-sample.cb/1" in finish(start(cluster, server, folder, *FEWSHOT))
    assert not list(folder.iterdir())
    found = children(server, "fewshot.sample.cb")
    assert {run.info.status for run in found} == {"FINISHED"}
    assert {"scratch", "sample.mnli"} <= {run.data.params["start_task"] for run in found}
