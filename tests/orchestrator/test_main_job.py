"""The main job as a user runs it: real backbone, real Ray, real MLflow, on sample tasks."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.orchestrator.processes import command, environment, read_until, run, runs
from tests.orchestrator.tiny_work import UNMEASURED, write_rows
from tests.pipelines.tiny import TinyFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PRETRAIN = ["pretrain-source", "--tasks", "mnli,sst2", "--data", "sample", "--steps", "10", "--eval-every", "10"]
FEWSHOT = [
    *("fewshot", "--target", "cb", "--k", "16", "--data", "sample"),
    *("--trials", "4", "--seeds", "2", "--steps", "8", "--eval-every", "2"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which the two commands were run."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "pretrain.txt").write_text(run(folder, *PRETRAIN))
    (folder / "fewshot.txt").write_text(run(folder, *FEWSHOT))
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def role(run: Run) -> str | None:
    return run.data.tags.get("orchestrator.role")


def test_sources_are_stored_with_head_card_and_aliases(folder: Path, client: MlflowClient) -> None:
    from prompts_store import PromptStore

    store = PromptStore(f"sqlite:///{folder / 'mlflow.db'}")
    stored = {prompt.task: prompt for prompt in store.find(k=None)}
    assert stored.keys() == {"sample.mnli", "sample.sst2"}
    artifact = store.get(stored["sample.mnli"].ref)
    assert artifact.card.labels == ["entailment", "neutral", "contradiction"]
    assert artifact.card.data_source == "sample"
    assert artifact.tensors["prompt"].shape == (20, 384)
    assert artifact.tensors["head.output.weight"].shape == (3, 256)
    assert set(stored["sample.mnli"].aliases) == {"best", "latest"}
    text = (folder / "pretrain.txt").read_text()
    assert stored["sample.mnli"].ref in text
    children = [r for r in runs(client, "pretrain-source") if "mlflow.parentRunId" in r.data.tags]
    assert {r.info.status for r in children} == {"FINISHED"}
    assert {r.data.tags["prompt"] for r in children} == {prompt.ref for prompt in stored.values()}
    assert all(len(client.get_metric_history(r.info.run_id, "dev_score")) == 2 for r in children)


def test_fewshot_leaves_a_parent_and_comparable_children(client: MlflowClient) -> None:
    found = [r for r in runs(client, "fewshot.sample.cb") if r.data.tags["orchestrator.kind"] == "fewshot"]
    (parent,) = [r for r in found if "mlflow.parentRunId" not in r.data.tags]
    children = [r for r in found if r is not parent]
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parent.info.run_id}
    assert {r.info.status for r in found} == {"FINISHED"}
    trials = [r for r in children if role(r) == "trial"]
    assert len(trials) == 4
    for child in trials:
        assert {"alpha1", "alpha2", "m", "r", "k", "seed", "start", "start_task"} <= child.data.params.keys()
        assert child.data.params["k"] == "16"
        assert len(child.data.tags["data_digest"].split()) == 2
        assert "objective" in child.data.metrics
    assert {r.data.tags["orchestrator.state"] for r in trials} == {"finished", "pruned"}
    assert {r.data.params["start_task"] for r in trials} >= {"scratch", "sample.mnli", "sample.sst2"}


def test_finals_are_tested_and_trace_their_start(folder: Path, client: MlflowClient) -> None:
    finals = {
        (r.data.params["method"], r.data.params["start_task"] == "scratch"): r
        for r in runs(client, "fewshot.sample.cb")
        if role(r) == "final"
    }
    assert finals.keys() == {("dept", True), ("dept", False), ("zero-shot", False)}
    source = finals["zero-shot", False]
    assert source.data.params["start_task"] == "sample.mnli"  # sst2 has none of the labels
    assert source.data.tags["start_version"].startswith("dept-minilm-sample.mnli/")
    assert "contradiction from contradiction" in source.data.tags["label_map"]
    scratch = finals["dept", True]
    assert len(client.get_metric_history(scratch.info.run_id, "test_score_by_seed")) == 2
    assert {"test_score", "test_std", "test_ci_low", "test_ci_high"} <= scratch.data.metrics.keys()
    text = (folder / "fewshot.txt").read_text()
    assert "zero-shot" in text
    assert "stored dept-minilm-sample.cb/1" in text


def test_what_the_search_trained_to_its_end_is_not_trained_again(client: MlflowClient) -> None:
    """A finalist that halving had dropped is: it is evaluated at its start, as whatever is trained."""
    found = runs(client, "fewshot.sample.cb")
    trials = {r.info.run_name.partition(":")[0]: r for r in found if role(r) == "trial"}
    finals = [r for r in found if role(r) == "final" and "searched_as" in r.data.tags]
    assert len(finals) == 2
    ended = set()
    for final in finals:
        searched = trials[final.data.tags["searched_as"]]
        steps = [point.step for point in client.get_metric_history(final.info.run_id, "dev_score")]
        state = searched.data.tags["orchestrator.state"]
        assert (len(steps), steps[0] > 0) == ((1, True) if state == "finished" else (len(steps), False))
        if state == "finished":
            assert final.data.metrics["best_objective"] == searched.data.metrics["best_objective"]
        ended.add(state)
    assert "finished" in ended


def test_compare_prints_the_table_and_writes_it(folder: Path) -> None:
    text = run(folder, "compare", "--target", "cb")
    assert "sample.cb" in text
    assert "zero-shot" in text
    with (folder / "comparison" / "sample.cb.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["start"], row["method"]) for row in rows} >= {("sample.mnli", "zero-shot"), ("scratch", "dept")}
    assert (folder / "comparison" / "sample.cb.png").stat().st_size > 1000


def test_the_same_command_gives_the_same_numbers(folder: Path, client: MlflowClient) -> None:
    run(folder, *FEWSHOT)
    parents = [
        r for r in runs(client, "fewshot.sample.cb")
        if r.data.tags["orchestrator.kind"] == "fewshot" and "mlflow.parentRunId" not in r.data.tags
    ]  # fmt: skip
    assert len(parents) == 2

    def numbers(parent: Run) -> dict[str, Any]:
        children = [
            r for r in runs(client, "fewshot.sample.cb")
            if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id
        ]  # fmt: skip
        return {r.info.run_name: (r.data.params, r.data.metrics) for r in children}

    assert numbers(parents[0]) == numbers(parents[1])


def test_an_interrupt_closes_the_runs_and_leaves_no_process(tmp_path: Path, tiny_folder: TinyFolder) -> None:
    """Ctrl-C; what `cancel` sends ends a command in the same way (test_status_cancel.py)."""
    arguments = ["pretrain-source", "--tasks", "sst2", "--steps", "1000000", "--eval-every", "100", *UNMEASURED]
    arguments += ["--data", str(write_rows(tmp_path / "rows")), "--backbone", str(tiny_folder("bert"))]
    process = subprocess.Popen(
        command(*arguments), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        read_until(process, lambda line: "/1000000 steps" in line and not line.startswith("pretraining: 0/"))
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 130, out
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    found = runs(MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}"), "pretrain-source")
    assert [r.info.status for r in found] == ["KILLED", "KILLED"]
    assert not list((tmp_path / "mlartifacts").rglob("*.safetensors"))


def test_without_dev_rows_every_start_is_tested_and_stored(folder: Path, client: MlflowClient) -> None:
    text = run(
        folder, *("fewshot", "--target", "qqp", "--k", "8", "--data", "sample", "--dev", "none"),
        *("--seeds", "1", "--steps", "2", "--eval-every", "2"),
    )  # fmt: skip
    assert "note: without dev rows nothing is chosen" in text
    found = runs(client, "fewshot.sample.qqp")
    children = [r for r in found if "mlflow.parentRunId" in r.data.tags]
    assert {role(r) for r in children} == {"final"}
    assert sorted(r.data.params["start_task"] for r in children) == ["sample.mnli", "sample.sst2", "scratch"]
    assert {r.data.params["dev_rows"] for r in children} == {"0"}
    assert all("test_score" in r.data.metrics for r in children)
    assert not any("best_dev_score" in r.data.metrics or "objective" in r.data.metrics for r in children)
    stored = [r.data.tags["prompt"] for r in children]
    assert len(set(stored)) == 3
    assert all(ref in text for ref in stored)
    (parent,) = [r for r in found if r not in children]
    assert parent.data.tags["winner"] in {
        r.data.tags["prompt"] for r in children if r.data.params["start"] != "scratch"
    }
    assert "qqp" in run(folder, "compare", "--target", "qqp", "--out", str(folder / "qqp"))
