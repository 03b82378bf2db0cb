"""Commands whose driver is killed with SIGKILL go on to the numbers of one that was left alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.commands.resume import resume
from orchestrator.errors import UsageError
from orchestrator.heartbeat import Heartbeat, Sign, is_alive
from orchestrator.outcomes import Outcome, Outcomes
from orchestrator.plan import Plan, long_tag, read_long_tag
from orchestrator.recorder import Recorder
from orchestrator.settings import FewshotSettings, PretrainSettings
from prompts_store import PromptStore
from prompts_store.checking import verify
from prompts_store.cleaning import collect
from tests.orchestrator.helpers import console
from tests.orchestrator.processes import command, environment, run, runs
from tests.orchestrator.test_search import report
from tests.orchestrator.tiny_work import UNMEASURED, write_rows
from tests.pipelines.tiny import TinyFolder

FEWSHOT = ["fewshot", "--target", "cb", "--k", "4", "--from", "scratch", "--trials", "4", "--pack", "2", "--seeds", "1"]
FEWSHOT += ["--steps", "400", "--eval-every", "100"]
SOURCES = ["pretrain-source", "--tasks", "sst2,mnli", "--steps", "6", "--eval-every", "3", "--batch", "8"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, tiny_folder: TinyFolder) -> list[str]:
    """Settings by which a command takes little more than its start."""
    rows = write_rows(tmp_path_factory.mktemp("rows") / "rows")
    return ["--data", str(rows), "--backbone", str(tiny_folder("bert")), *UNMEASURED]


def parents(found: list[Run]) -> list[Run]:
    return [r for r in found if "mlflow.parentRunId" not in r.data.tags and "orchestrator.plan" in r.data.tags]


def children(found: list[Run], parent: Run) -> list[Run]:
    return [r for r in found if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def numbers(client: MlflowClient, experiment: str) -> dict[str, Any]:
    """Everything a command's children logged, with the whole history of each metric."""
    found = runs(client, experiment)
    (parent,) = parents(found)
    return {
        r.info.run_name: (
            r.info.status,
            r.data.params,
            {
                key: [(point.step, point.value) for point in client.get_metric_history(r.info.run_id, key)]
                for key in sorted(r.data.metrics)
            },
        )
        for r in children(found, parent)
    }


def kill_when(
    folder: Path, arguments: list[str], experiment: str, ended: int, ready: Callable[[], bool] = lambda: True
) -> None:
    """Start a command and kill its driver once so many of its configurations have ended, and all else is ready."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command(*arguments), cwd=folder, env=environment(), stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                assert process.poll() is None, (folder / "log.txt").read_text()
                if client.get_experiment_by_name(experiment):
                    states = [r.data.tags.get("orchestrator.state") for r in runs(client, experiment)]
                    if len(states) > 1 and sum(state is not None for state in states) >= ended and ready():
                        return
                time.sleep(0.05)
            raise AssertionError("it took too long")
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()


def place(folder: Path, empty_database: Path) -> Path:
    folder.mkdir()
    shutil.copyfile(empty_database, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, empty_database: Path, tiny: list[str]) -> dict[str, Any]:
    folder = place(tmp_path_factory.mktemp("undisturbed") / "work", empty_database)
    run(folder, *FEWSHOT, *tiny)
    return numbers(MlflowClient(f"sqlite:///{folder / 'mlflow.db'}"), "fewshot.cb")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_search_goes_on_to_the_same_numbers(
    tmp_path: Path, empty_database: Path, tiny: list[str], undisturbed: dict[str, Any]
) -> None:
    folder = place(tmp_path / "work", empty_database)
    kill_when(folder, [*FEWSHOT, *tiny], "fewshot.cb", 2)
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (parent,) = parents(runs(client, "fewshot.cb"))
    assert parent.info.status == "RUNNING"
    assert parent.info.run_id[:8] in run(folder, "resume")
    text = run(folder, "resume", "latest")
    assert "had ended" in text
    assert numbers(client, "fewshot.cb") == undisturbed
    assert {r.info.status for r in runs(client, "fewshot.cb")} == {"FINISHED"}
    assert len(PromptStore(f"sqlite:///{folder / 'mlflow.db'}").list()) == 1
    assert "nothing to resume" in run(folder, "resume")


KILLED_AT_THE_SECOND = """
import os, signal
from mlflow import MlflowClient
call, calls = MlflowClient.create_model_version, []
def killed(*arguments, **named):
    calls.append(call(*arguments, **named))
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return calls[-1]
MlflowClient.create_model_version = killed
from orchestrator.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sources_of_a_command_killed_while_storing_are_stored_once_each(
    tmp_path: Path, empty_database: Path, tiny: list[str]
) -> None:
    """Killed when the first has ended, and the second's version is there but its run does not know it yet."""
    folder = place(tmp_path / "work", empty_database)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT_THE_SECOND, *SOURCES, *tiny],
        cwd=folder, env=environment() | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    store = PromptStore(f"sqlite:///{folder / 'mlflow.db'}")
    before = [(p.task, p.ref, p.tensors_sha256, p.created) for p in store.list()]
    assert sorted(task for task, *_ in before) == ["mnli", "sst2"]
    run(folder, "resume", "sst2,mnli")
    stored = store.list()
    assert [(p.task, p.ref, p.tensors_sha256, p.created) for p in stored] == before
    assert all(set(p.aliases) == {"best", "latest"} for p in stored)
    assert [checked.problem for checked in verify(store)] == [None, None]
    found = runs(store.client, "pretrain-source")
    assert {r.info.status for r in found} == {"FINISHED"}
    (parent,) = parents(found)
    assert {(r.data.tags["prompt"], r.info.run_id) for r in children(found, parent)} == {
        (p.ref, p.run_id) for p in stored
    }
    in_store = [rubbish for rubbish in collect(store, dry_run=True, grace=0) if not rubbish.what.startswith("/")]
    assert in_store == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_long_source_goes_on_from_its_checkpoint(tmp_path: Path, empty_database: Path, tiny: list[str]) -> None:
    arguments = ["pretrain-source", "--tasks", "sst2", "--checkpoint-every", "0", *tiny]
    arguments += ["--steps", "600", "--eval-every", "50", "--batch", "8"]
    whole, killed = (place(tmp_path / name, empty_database) for name in ("whole", "killed"))
    run(whole, *arguments)
    kill_when(killed, arguments, "pretrain-source", 0, lambda: bool(checkpoints(killed)))
    done = subprocess.run(
        command("resume", "latest"), cwd=killed, env=environment(), capture_output=True, text=True, timeout=400,
        check=True,
    )  # fmt: skip
    assert "sst2: going on from checkpoints" in done.stderr
    assert not checkpoints(killed)
    expected, found = (
        numbers(MlflowClient(f"sqlite:///{folder / 'mlflow.db'}"), "pretrain-source") for folder in (whole, killed)
    )
    assert found == expected


def checkpoints(folder: Path) -> list[Path]:
    return list(folder.rglob("checkpoints/*.safetensors"))


def test_an_outcome_is_read_as_it_was_recorded() -> None:
    outcomes = Outcomes()
    outcomes.expect(3, 2)
    outcomes.update([report(3, seed, "training", 0.1 + seed / 3, 2) for seed in range(2)])
    outcomes.update([report(3, 0, "finished", 0.7, 4), report(3, 1, "dropped", 0.2, 4)])
    then = outcomes[3]
    again = Outcome.recorded(3, [r.spec for r in then.reports], then.record())
    assert (again.state, again.step, again.history) == (then.state, then.step, then.history)
    assert (again.objective, again.dev_score) == (then.objective, then.dev_score)
    assert again.record() == then.record()


@pytest.mark.parametrize(
    "settings", [FewshotSettings(target="cb", k=4, alpha1=0.1), PretrainSettings(tasks=("a", "b"), dtype="float32")]
)
def test_a_plan_is_read_as_it_was_written(settings: FewshotSettings | PretrainSettings) -> None:
    name = "fewshot" if isinstance(settings, FewshotSettings) else "pretrain-source"
    sources = tuple(f"dept-minilm-task{n}/{n}" for n in range(400))
    plan = Plan(name, settings, "f" * 64, {"draw 0": "aa:bb"}, sources, 2)
    assert all(len(value) < 8000 for value in plan.tags().values())
    assert Plan.read(plan.tags()) == plan
    assert Plan.read({}) is None


def test_changed_rows_and_backbones_are_refused_with_the_reason() -> None:
    settings = FewshotSettings(target="cb", k=4)
    then = Plan("fewshot", settings, "f" * 64, {"draw 0": "aa"}, (), 1)
    then.check_unchanged(then)
    with pytest.raises(UsageError, match=r"rows of draw 0 \(digest aa, now bb\)"):
        then.check_unchanged(Plan("fewshot", settings, "f" * 64, {"draw 0": "bb"}, (), 1))
    with pytest.raises(UsageError, match="backbone's files"):
        then.check_unchanged(Plan("fewshot", settings, "0" * 64, {"draw 0": "aa"}, (), 1))
    with pytest.raises(UsageError, match="version 0"):
        Plan.read(Plan("fewshot", settings, "f", {}, (), 1, version="0").tags())


def test_a_long_tag_is_put_together_again() -> None:
    text = "".join(chr(97 + n % 26) for n in range(20_000))
    assert read_long_tag("k", long_tag("k", text)) == text


def test_only_one_process_works_on_a_run(tracking_uri: str) -> None:
    store = PromptStore(tracking_uri)
    run_id = store.client.create_run(store.ensure_experiment("x")).info.run_id
    assert not is_alive(run_id, None)
    with Heartbeat(store.client, run_id):
        assert is_alive(run_id, None)
        with pytest.raises(UsageError, match="another process"), Heartbeat(store.client, run_id):
            pass
    assert not is_alive(run_id, None)


def test_the_last_sign_of_life_tells_the_progress_at_the_end(tracking_uri: str) -> None:
    store = PromptStore(tracking_uri)
    run_id = store.client.create_run(store.ensure_experiment("x")).info.run_id
    with Heartbeat(store.client, run_id) as heartbeat:
        heartbeat.progress = lambda: (7, 7, "")
    sign = Sign.read(store.client.get_run(run_id).data.tags)
    assert sign is not None
    assert (sign.done, sign.total) == (7, 7)


def test_places_are_known_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cb").mkdir()
    (tmp_path / "own.yaml").touch()
    settings = FewshotSettings(target="own.yaml", k=4, data="cb", backbone="cb")
    assert (settings.target, settings.data, settings.backbone) == tuple(
        str(tmp_path / name) for name in ("own.yaml", "cb", "cb")
    )
    settings = FewshotSettings(target="cb", k=4, data="sample", backbone="google-t5/t5-base")
    assert (settings.target, settings.data, settings.backbone) == ("cb", "sample", "google-t5/t5-base")
    sources = PretrainSettings(tasks=("cb", "own.yaml"), data="nowhere")
    assert (sources.tasks, sources.data) == (("cb", str(tmp_path / "own.yaml")), "nowhere")


def test_resume_takes_an_address_whose_password_was_not_kept(
    tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    settings = FewshotSettings(target="cb", k=4, ray_address="ray://someone:password@head:10001")
    plan = Plan("fewshot", settings, "f" * 64, {}, (), 1)
    recorder = Recorder(PromptStore(tracking_uri), "x", name="x", kind="fewshot", params={}, tags={}, plan=plan)
    with pytest.raises(KeyboardInterrupt), recorder:
        raise KeyboardInterrupt
    given: list[str | None] = []
    monkeypatch.setattr(
        "orchestrator.commands.fewshot.fewshot", lambda settings, *_, **__: given.append(settings.ray_address)
    )
    resume("latest", console()[0])
    resume("latest", console()[0], settings.ray_address)
    assert given == ["ray://head:10001", "ray://someone:password@head:10001"]
