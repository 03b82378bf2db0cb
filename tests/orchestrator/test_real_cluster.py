"""Commands across two real Ray nodes in network namespaces, and an MLflow server, from a machine that is no node.

The nodes have neither our code nor a disk in common with anyone, and no way to the MLflow server. It has PostgreSQL
where that is installed (and psycopg2).
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.orchestrator.nodes import Cluster, Node, finish, namespaces_allowed, two_nodes
from tests.orchestrator.postgres import postgres, postgres_programs
from tests.orchestrator.tiny_work import UNMEASURED, children, numbers, write_rows
from tests.pipelines.tiny import TinyFolder
from tests.servers import serving

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

PRETRAIN = ["pretrain-source", "--tasks", "mnli,sst2", "--data", "sample", "--batch", "8", "--steps", "16"]
PRETRAIN += ["--eval-every", "8", "--dtype", "float32", "--max-length", "48"]
FEWSHOT = ["fewshot", "--target", "cb", "--k", "8", "--data", "sample", "--trials", "2", "--pack", "1"]
FEWSHOT += ["--seeds", "1", "--steps", "2", "--eval-every", "1"]
SEARCH = ["fewshot", "--target", "cb", "--k", "8", "--from", "scratch", "--trials", "4", "--pack", "1", "--seeds", "1"]
SEARCH += ["--steps", "1500", "--eval-every", "100", "--checkpoint-every", "0", *UNMEASURED]
SOURCES = ["pretrain-source", "--tasks", "mnli,sst2", "--steps", "6", "--eval-every", "3", "--batch", "8"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    programs = postgres_programs()
    with (
        postgres(programs) if programs else nullcontext() as database,
        serving(tmp_path_factory.mktemp("server"), database) as started,
    ):
        yield started.uri


def nodes() -> Iterator[Cluster]:
    if not namespaces_allowed():
        pytest.skip("network namespaces need Linux, root, iproute2 and util-linux; test_two_nodes.py runs without")
    if Path(sys.prefix).is_relative_to("/tmp"):
        pytest.skip("nodes have a /tmp of their own, and this environment lies in it")
    with two_nodes(separate=True) as cluster:
        yield cluster


cluster = pytest.fixture(scope="module")(nodes)
doomed = pytest.fixture(nodes)


@pytest.fixture(scope="module")
def pretrained(cluster: Cluster, server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The sources by task, learned in an empty folder."""
    folder = tmp_path_factory.mktemp("empty")
    cluster.run(server, folder, *PRETRAIN, "--ray-address", cluster.client_address)
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
    output = cluster.run(server, folder, *FEWSHOT, "--ray-address", cluster.client_address)
    assert "stored dept-minilm-sample.cb/1" in output
    assert not list(folder.iterdir())
    found = children(server, "fewshot.sample.cb")
    assert {run.info.status for run in found} == {"FINISHED"}
    assert {"scratch", "sample.mnli"} <= {run.data.params["start_task"] for run in found}


@pytest.mark.parametrize("given", ["auto", "host:port"])
def test_a_backbone_travels_from_a_command_on_a_node(
    cluster: Cluster, tiny_folder: TinyFolder, empty_database: Path, given: str
) -> None:
    node = cluster.head
    work = node.place / "work"
    shutil.rmtree(work, ignore_errors=True)
    write_rows(work / "rows")
    shutil.copytree(tiny_folder("bert"), work / "bert")
    shutil.copyfile(empty_database, work / "mlflow.db")
    address = given if given == "auto" else cluster.address
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": cluster.token}
    arguments = [*SOURCES, "--backbone", "bert", "--data", "rows", "--ray-address", address]
    finish(node.start(environment, *arguments))
    learned = children(f"sqlite:///{work}/mlflow.db", "pretrain-source")
    assert {run.data.tags["prompt"] for run in learned} == {"dept-bert-mnli/1", "dept-bert-sst2/1"}
    assert {run.data.tags["node"] for run in learned} == {cluster.head.address, cluster.other.address}
    assert (len(copies(cluster.head)), len(copies(cluster.other))) == (0, 1)


def copies(node: Node) -> list[Path]:
    """Backbones that travelled to a node."""
    return list((node.place / ".cache/orchestrator/backbones").glob("*/model.safetensors"))


def test_an_address_for_nodes_is_refused_elsewhere(cluster: Cluster, server: str, tmp_path: Path) -> None:
    began = time.monotonic()
    output = finish(cluster.start(server, tmp_path, *PRETRAIN, "--ray-address", cluster.address), code=2)
    assert f"ray://{cluster.head.address}:10001" in output
    assert time.monotonic() - began < 60


def test_a_search_outlives_a_node(doomed: Cluster, server: str, tiny_folder: TinyFolder, tmp_path: Path) -> None:
    search = [*SEARCH, "--backbone", str(tiny_folder("bert")), "--data", str(write_rows(tmp_path / "rows"))]
    search += ["--ray-address", doomed.client_address]
    experiment = "fewshot.cb"
    doomed.run(server, tmp_path, *search)
    undisturbed = children(server, experiment)
    assert {run.data.tags["node"] for run in undisturbed} == {doomed.head.address, doomed.other.address}
    process = doomed.start(server, tmp_path, *search)
    try:
        lost = wait_for_work(server, experiment, doomed.other, {run.info.run_id for run in undisturbed})
        doomed.other.kill()
        finish(process)
    finally:
        process.kill()
    disturbed = children(server, experiment)
    assert numbers(disturbed) == numbers(undisturbed)
    assert {run.info.status for run in disturbed} == {"FINISHED"}
    (moved,) = [run for run in disturbed if run.info.run_id == lost]
    assert moved.data.tags["node"] == doomed.head.address


def wait_for_work(server: str, experiment: str, node: Node, known: set[str]) -> str:
    """Until a new configuration trains on a node and has been evaluated there; returns its run."""
    client = MlflowClient(server)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for run in client.search_runs([found.experiment_id], filter_string=f"tags.node = '{node.address}'"):
            if run.info.run_id not in known and run.info.status == "RUNNING" and run.data.metrics:
                return str(run.info.run_id)
        time.sleep(0.2)
    raise AssertionError(f"nothing trained on {node.address}")
