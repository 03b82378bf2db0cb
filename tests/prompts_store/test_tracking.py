import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prompts_store import PromptStore, StoreError, artifact_root, default_tracking_uri, prepare_store
from prompts_store.secrets import without_secrets
from prompts_store.tracking import resolve_tracking_uri
from tests.prompts_store.conftest import make_artifact


def test_default_is_a_file_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert default_tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    assert artifact_root(default_tracking_uri()) == tmp_path / "mlartifacts"


def test_environment_comes_before_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert default_tracking_uri() == "http://127.0.0.1:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///here.db")
    assert default_tracking_uri() == f"sqlite:///{tmp_path}/here.db"
    assert artifact_root("http://127.0.0.1:5000") is None


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "./mlruns", "/tmp/mlruns", "sqlite://", "sqlite:///:memory:"])
def test_stores_that_cannot_be_used(uri: str) -> None:
    with pytest.raises(StoreError, match="use sqlite:///PATH"):
        resolve_tracking_uri(uri)


@pytest.mark.parametrize("name", ["a b#é", "a%20b?c"])
def test_folder_with_an_odd_name(
    name: str, tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    shutil.copyfile(empty_database, folder / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(folder)
    store = PromptStore()
    run_id = store.client.create_run(store.ensure_experiment("my/runs: 1")).info.run_id
    store.get(store.put(make_artifact(), run_id=run_id).ref)
    assert sorted(p.name for p in folder.iterdir()) == ["mlartifacts", "mlflow.db"]
    assert len(list(folder.glob("mlartifacts/my--runs~3a~201/models/*/artifacts/prompt.safetensors"))) == 1


def test_database_is_made_without_noise(tmp_path: Path) -> None:
    code = "from prompts_store import prepare_store as p; import os; assert p() == p() == p(p()); print(os.listdir())"
    environment = {n: v for n, v in os.environ.items() if not n.startswith("MLFLOW")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (out.stdout, out.stderr) == ("['mlflow.db']\n", "")


def test_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is a text of more than sixteen characters")
    with pytest.raises(StoreError, match="not an SQLite database"):
        prepare_store(f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(StoreError, match="cannot be opened"):
        prepare_store(f"sqlite:///{tmp_path}/mlflow.db/mlflow.db")


def test_no_server(unused_port: int) -> None:
    with pytest.raises(
        StoreError, match=rf"No MLflow server answers at http://127\.0\.0\.1:{unused_port}/m "
    ) as caught:
        prepare_store(f"http://me:hunter2@127.0.0.1:{unused_port}/m")
    assert "hunter2" not in str(caught.value)


def test_without_secrets() -> None:
    assert without_secrets("postgresql://me:hunter2@db:5432/x?a=b") == "postgresql://db:5432/x?a=b"
    assert without_secrets("http://host/a@b") == "http://host/a@b"


def test_experiments(tracking_uri: str) -> None:
    store = PromptStore(tracking_uri)
    one = store.ensure_experiment("dept")
    assert store.ensure_experiment("dept") == one != store.ensure_experiment("other")
    store.client.delete_experiment(one)
    with pytest.raises(StoreError, match=f"mlflow experiments restore --experiment-id {one}"):
        store.ensure_experiment("dept")
    with pytest.raises(StoreError, match="empty"):
        store.ensure_experiment(" ")
