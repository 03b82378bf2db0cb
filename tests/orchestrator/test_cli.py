"""The command line as a person meets it: in processes of its own, in an empty folder."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from prompts_store import PromptStore
from tests.prompts_store.conftest import make_artifact

HEAVY = {
    *("torch", "transformers", "peft", "ray", "mlflow", "optuna", "datasets", "numpy", "scipy", "sklearn"),
    *("matplotlib", "pydantic", "pandas", "rich", "yaml", "safetensors", "huggingface_hub"),
}
COMMANDS = [
    [],
    ["pretrain-source"],
    ["fewshot"],
    ["compare"],
    ["ui"],
    ["doctor"],
    ["bench"],
    *([name] for name in ("resume", "status", "cancel")),
    ["prompts"],
    ["prompts", "list"],
    ["prompts", "show"],
    *(["prompts", name] for name in ("find", "similar", "promote", "rename", "delete", "gc", "verify", "push", "pull")),
    *(["prompts", name] for name in ("import", "export")),
    ["tasks"],
    *(["tasks", name] for name in ("list", "show", "new", "check")),
]
MAIN = "from orchestrator.cli import main; main()"


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "HF_", "COVERAGE"))}
    return kept | {"COLUMNS": "200", "HF_HUB_OFFLINE": "1"}


def orchestrator(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", MAIN, *arguments]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help(command: list[str], tmp_path: Path) -> None:
    result = orchestrator(*command, "--help", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Usage:" in result.stdout
    assert not list(tmp_path.iterdir())


def test_help_starts_fast(tmp_path: Path) -> None:
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        assert orchestrator("--help", folder=tmp_path).returncode == 0
        best = min(best, time.perf_counter() - start)
        if best < 0.3:
            break
    assert best < 0.3, f"orchestrator --help takes {best:.2f} s"


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv = ['orchestrator', '--help']\n"
        "from orchestrator.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('heavy:', sorted({HEAVY!r} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "heavy: []", result.stdout + result.stderr


def test_unknown_command_and_option_are_bad_input(tmp_path: Path) -> None:
    for arguments in (
        ["few-shot"],
        ["fewshot", "--target", "cb", "--k", "many"],
        ["ui", "--port", "0"],
        ["fewshot", "--dtype", "int8"],
    ):
        assert orchestrator(*arguments, folder=tmp_path).returncode == 2


def test_unknown_task_from_a_shell(tmp_path: Path) -> None:
    result = orchestrator("tasks", "show", "mmli", folder=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: unknown task 'mmli'; did you mean 'mnli'")
    assert not list(tmp_path.iterdir())


# One process runs all these, each in a folder of its own: importing torch, Ray and MLflow takes longer than they do.
ALL_IN_ONE = """
import contextlib, io, json, os, sys
from orchestrator.cli import main
found = {}
for name, (folder, arguments) in json.loads(sys.stdin.read()).items():
    os.chdir(folder)
    sys.argv = ["orchestrator", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException as error:
            code, _ = 1, err.write(f"{type(error).__name__}: {error}")
    found[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
print("RESULT" + json.dumps(found))
"""

SAMPLE = ["--data", "sample"]
FEWSHOT = ["fewshot", "--target", "cb"]
BAD = {
    "task": (["pretrain-source", "--tasks", "mnli,qpq", *SAMPLE], ["unknown task 'qpq'", "did you mean 'qqp'"]),
    "target": (["fewshot", "--target", "cbb", "--k", "16", *SAMPLE], ["unknown task 'cbb'", "did you mean 'cb'"]),
    "no sample": (["pretrain-source", "--tasks", "rte", *SAMPLE], ["'rte'", "sst2, qqp, mnli, cb", "--data"]),
    "twice": (["pretrain-source", "--tasks", "mnli,mnli", *SAMPLE], ["names mnli twice"]),
    "empty": (["pretrain-source", "--tasks", "mnli,", *SAMPLE], ["'mnli,'"]),
    "backbone": ([*FEWSHOT, "--k", "16", "--backbone", "minlim", *SAMPLE], ["'minlim'", "minilm"]),
    "backbone folder": ([*FEWSHOT, "--k", "16", "--backbone", ".", *SAMPLE], ["config.json"]),
    "k too large": ([*FEWSHOT, "--k", "5000", *SAMPLE], ["5000", "lower k"]),
    "k too small": ([*FEWSHOT, "--k", "2", *SAMPLE], ["k=2", "3 classes"]),
    "k zero": ([*FEWSHOT, "--k", "0", *SAMPLE], ["--k must be at least 1, got 0"]),
    "too long": ([*FEWSHOT, "--k", "16", "--m", "300", "--max-length", "256", *SAMPLE], ["300", "512", "--max-length"]),
    "no source": ([*FEWSHOT, "--k", "16", "--from", "mnli", *SAMPLE], ["mnli'", "pretrain-source --tasks mnli"]),
    "other backbone": ([*FEWSHOT, "--k", "16", "--from", "mnli", *SAMPLE], ["mnli/1", "aaaaaaaaaaaa", "backbone"]),
    "no folder": (["pretrain-source", "--tasks", "mnli", "--data", "nowhere"], ["'nowhere'", "--data takes"]),
    "no task there": (["pretrain-source", "--tasks", "mnli", "--data", "rows"], ["no task 'mnli'", "cb"]),
    "no split": ([*FEWSHOT, "--k", "16", "--data", "rows"], ["validation.jsonl", "train.jsonl"]),
    "malformed row": ([*FEWSHOT, "--k", "3", "--data", "bad"], ["train.jsonl, line 2"]),
    "no runs": (["compare", "--target", "cb"], ["fewshot --target cb --k 16"]),
    "no such prompt": (["prompts", "show", "mnli/7"], ["mnli"]),
    "no runs to show": (["ui", "--target", "cb"], ["'cb'"]),
}
WITHOUT_STORE = {
    "no runs to show": "no store at",
    "no such prompt": "no prompts are stored",
    "no runs": "fewshot",
    "no source": "--data sample",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Mapping[str, Any]:
    """Every case of `BAD`, and some again in a folder without a store."""
    top = tmp_path_factory.mktemp("bad")
    jobs = {}
    for name, (arguments, _) in BAD.items():
        folder = top / name.replace(" ", "-")
        (folder / "rows" / "cb").mkdir(parents=True)
        (folder / "bad" / "cb").mkdir(parents=True)
        shutil.copyfile(empty_database, folder / "mlflow.db")
        good = json.dumps({"premise": "It rains.", "hypothesis": "It is wet.", "label": 0})
        (folder / "rows" / "cb" / "train.jsonl").write_text(f"{good}\n" * 50)
        (folder / "bad" / "cb" / "validation.jsonl").write_text(f"{good}\n")
        (folder / "bad" / "cb" / "train.jsonl").write_text(f'{good}\n{{"premise": "It rains."\n{good}\n')
        if name == "other backbone":
            store = PromptStore(f"sqlite:///{folder / 'mlflow.db'}")
            run = store.client.create_run(store.ensure_experiment("pretrain-source")).info.run_id
            store.put(make_artifact(task="sample.mnli"), run_id=run)
        jobs[name] = (str(folder), arguments)
    for name in WITHOUT_STORE:
        folder = top / f"{name.replace(' ', '-')}-without-store"
        folder.mkdir()
        jobs[f"{name} without store"] = (str(folder), BAD[name][0])
    before = {name: listing(Path(folder)) for name, (folder, _) in jobs.items()}
    result = subprocess.run(
        [sys.executable, "-c", ALL_IN_ONE],
        input=json.dumps(jobs),
        cwd=top,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    line = next((line for line in result.stdout.splitlines() if line.startswith("RESULT")), None)
    assert line is not None, result.stdout + result.stderr
    found: dict[str, Any] = json.loads(line.removeprefix("RESULT"))
    for name, (folder, _) in jobs.items():
        found[name] |= {"folder": folder, "before": before[name], "after": listing(Path(folder))}
    return found


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.name.startswith("mlflow.db-"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, results: Mapping[str, Any]) -> None:
    result = results[name]
    message = result["err"]
    assert result["code"] == 2, message
    assert message.startswith("error: ")
    assert "Traceback" not in message
    for part in BAD[name][1]:
        assert part in message, message
    assert result["after"] == result["before"], "something was left behind"
    store = PromptStore(f"sqlite:///{result['folder']}/mlflow.db")
    ids = [experiment.experiment_id for experiment in store.client.search_experiments()]
    runs = store.client.search_runs(ids)
    assert len(runs) == len(store.list()) == (1 if name == "other backbone" else 0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", WITHOUT_STORE)
def test_reading_commands_make_no_store(name: str, results: Mapping[str, Any]) -> None:
    result = results[f"{name} without store"]
    assert result["code"] == 2
    assert WITHOUT_STORE[name] in result["err"]
    assert result["after"] == []
