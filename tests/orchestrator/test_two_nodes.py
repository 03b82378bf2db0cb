"""The main job across two Ray nodes on loopback, with an MLflow server, and a backbone that travels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestrator.nodes import Cluster, two_nodes
from tests.orchestrator.tiny_work import UNMEASURED, children, write_rows
from tests.pipelines.tiny import TinyFolder
from tests.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with two_nodes(separate=False) as cluster:
        yield cluster


def test_both_commands_on_both_nodes(
    cluster: Cluster, shared_server: Server, tiny_folder: TinyFolder, tmp_path: Path
) -> None:
    uri, folder = shared_server.uri, tmp_path / "empty"
    folder.mkdir()
    common = ["--backbone", str(tiny_folder("bert")), "--data", str(write_rows(tmp_path / "rows")), *UNMEASURED]
    sources = ["pretrain-source", "--tasks", "mnli,sst2", "--steps", "6", "--eval-every", "3", "--batch", "8"]
    cluster.run(uri, folder, *sources, *common, "--ray-address", cluster.address)  # this machine is a node
    learned = children(uri, "pretrain-source")
    assert {run.data.tags["prompt"] for run in learned} == {"dept-bert-mnli/1", "dept-bert-sst2/1"}
    assert {run.data.tags["node"] for run in learned} == {cluster.head.address, cluster.other.address}
    target = ["fewshot", "--target", "cb", "--k", "8", "--trials", "2", "--pack", "1", "--seeds", "1"]
    target += ["--steps", "2", "--eval-every", "1", *common, "--ray-address", cluster.client_address]
    assert "stored dept-bert-cb/1" in cluster.run(uri, folder, *target)
    found = children(uri, "fewshot.cb")
    assert {run.info.status for run in found} == {"FINISHED"}
    assert {"scratch", "mnli"} <= {run.data.params["start_task"] for run in found}
    assert not list(folder.iterdir())


@pytest.mark.cluster
def test_one_source_on_both_nodes(
    cluster: Cluster, shared_server: Server, tiny_folder: TinyFolder, tmp_path: Path
) -> None:
    """Each node has one CPU, so that two workers are on both."""
    arguments = ["pretrain-source", "--tasks", "sst2", "--steps", "6", "--eval-every", "3", "--batch", "7", *UNMEASURED]
    arguments += ["--backbone", str(tiny_folder("bert")), "--data", str(write_rows(tmp_path / "rows"))]
    found = {}
    for parallel in (1, 2):
        given = ["--parallel", str(parallel), "--ray-address", cluster.address]
        cluster.run(shared_server.uri, tmp_path, *arguments, *given)
        (run,) = children(shared_server.uri, "pretrain-source")
        assert run.info.status == "FINISHED"
        found[parallel] = run.data
    assert found[1].params == found[2].params
    assert found[1].metrics == pytest.approx(found[2].metrics, rel=1e-4)  # float32
