"""No secret is kept or said, no code of a model or data set is run, and no YAML is read but safely."""

import ast
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.recorder import Recorder
from orchestrator.spool import Spool
from pipelines.backbone import describe_backbone
from pipelines.errors import PipelineError
from prompts_store import PromptStore
from tests.orchestrator.test_cli import environment

TOP = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "pipelines", "prompts_store", "tasks")
SECRETS = {
    **{name: f"marked-{name.lower()}" for name in ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN")},
    **{name: f"marked/{name.lower()}" for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")},
}
ADDRESS = "ray://someone:marked-in-address@127.0.0.1:{port}"


def run(folder: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "orchestrator", *arguments]
    kept = environment() | SECRETS | {"PYTHONPATH": str(TOP), "RAY_AUTH_MODE": "disabled"} | more
    return subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=200, check=False)


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def record_a_failure(store: PromptStore, address: str) -> None:
    """A command that fails with secrets in whatever is kept of it."""
    everything = f"GET {address} {' '.join(SECRETS.values())}"
    recorder = Recorder(
        store, "marked", name=everything, kind="test", params={"ray_address": address}, tags={"note": everything}
    )
    with recorder:
        recorder.start(0, everything, {"given": SECRETS["HF_TOKEN"]}, {"tag": address})
        recorder.attach(0, "traceback.txt", everything)
        recorder.finish(0, "failed", everything, {"slots": {}, "reason": everything})
        raise RuntimeError(everything)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_secret_is_kept_or_said(tmp_path: Path) -> None:
    address = ADDRESS.format(port=closed_port())
    training = ["pretrain-source", "--tasks", "sst2", "--data", "sample", "--steps", "2", "--eval-every", "1"]
    refused = run(tmp_path, *training, "--ray-address", address, "-v")
    assert refused.returncode != 0
    assert "127.0.0.1" in refused.stderr
    store = PromptStore(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in SECRETS.items():
            patched.setenv(name, value)
        patched.setenv("ORCHESTRATOR_CACHE", str(tmp_path / "cache"))
        for emptied in ("clear", "remove"):
            patched.setattr(Spool, emptied, lambda _: None)
        with pytest.raises(RuntimeError):
            record_a_failure(store, address)
    server = f"http://someone:marked-in-address@127.0.0.1:{closed_port()}"
    away = run(tmp_path, "prompts", "list", MLFLOW_TRACKING_URI=server)
    assert away.returncode == 2
    assert "No MLflow server answers at http://127.0.0.1:" in away.stderr

    for said in (refused, away):
        assert "marked" not in said.stdout + said.stderr, said.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "traceback.txt" for path in files)
    assert any(path.parent.name == "spool" for path in files)
    for path in files:
        content = path.read_bytes()
        for secret in (*SECRETS.values(), "marked-in-address"):
            assert secret.encode() not in content, f"{secret} stands in {path}"
    experiments = MlflowClient(store.tracking_uri).search_experiments()
    assert {experiment.name for experiment in experiments} >= {"marked"}


def calls() -> "list[tuple[str, ast.Call]]":
    found = []
    for package in PACKAGES:
        for path in sorted((TOP / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [(f"{path}:{node.lineno}", node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return found


def test_nothing_lets_code_from_elsewhere_run() -> None:
    loads = 0
    for where, call in calls():
        name = ast.unparse(call.func)
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        assert "trust_remote_code" not in named, f"{where}: code from the hub is never run"
        assert not name.startswith(("pickle.load", "joblib", "dill")), where
        if name.startswith("cloudpickle.load"):
            assert "/orchestrator/" in where, f"{where}: what the user's own Ray cluster sends is read there alone"
        assert name not in ("eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load", "yaml.full_load"), where
        if name == "torch.load":
            loads += 1
            assert ast.unparse(named["weights_only"]) == "True", where
        if name.startswith("subprocess."):
            assert "shell" not in named, where
    assert loads >= 1


@pytest.mark.timeout(120)
def test_a_backbone_that_brings_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "odd", "auto_map": {"AutoConfig": "code.Odd", "AutoModel": "code.Odd"}}'
    )
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')")
    with pytest.raises(PipelineError, match="cannot be used as transformers has it"):
        describe_backbone(str(tmp_path))
    assert not (tmp_path / "was-run").exists()
