"""Processes killed while they store, and what is cleaned up after them."""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from prompts_store import PromptStore, StoreError
from prompts_store.changes import delete
from prompts_store.cleaning import collect
from prompts_store.files import TENSORS_FILE
from prompts_store.transfer import MODEL_TYPE
from tests.prompts_store.conftest import PROCESSES, make_artifact

NewRun = Callable[[], str]
NAME = "dept-minilm-mnli"
STEPS = {
    "create_logged_model": "an upload that no version was made of",
    "log_model_artifacts": "an upload that no version was made of",
    "half of log_model_artifacts": "an upload that no version was made of",
    "finalize_logged_model": "an upload that no version was made of",
    "create_registered_model": "an upload that no version was made of",
    "create_model_version": None,
}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of the test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def files(store: PromptStore) -> list[Path]:
    folder = Path(store.tracking_uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    return sorted(path for path in folder.rglob("*") if path.is_file())


def models(store: PromptStore) -> set[str]:
    found = store.client.search_logged_models([store.ensure_experiment("runs")])
    return {model.model_id for model in found}


def put_and_hang(uri: str, run_id: str, temporary: str, step: str, there: Connection) -> None:
    """Store a prompt, and never come back from one of the calls to MLflow."""
    torch.set_num_threads(1)
    tempfile.tempdir = temporary
    store = PromptStore(uri)
    name = step.removeprefix("half of ")
    call = getattr(store.client, name)

    def hang(*arguments: object, **named: object) -> None:
        if name != step:
            path = Path(str(arguments[1]), TENSORS_FILE)
            path.write_bytes(path.read_bytes()[:100])
        call(*arguments, **named)
        there.send(step)
        time.sleep(60)

    setattr(store.client, name, hang)
    store.put(make_artifact(), run_id=run_id)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("step", STEPS)
def test_killed_while_storing(store: PromptStore, new_run: NewRun, temporary: Path, step: str) -> None:
    run_id = new_run()
    here, there = PROCESSES.Pipe()
    process = PROCESSES.Process(target=put_and_hang, args=(store.tracking_uri, run_id, str(temporary), step, there))
    process.start()
    assert here.poll(60), "the process did not come so far"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)

    visible = [f"{NAME}/1"] if STEPS[step] is None else []
    assert [prompt.ref for prompt in store.list()] == visible
    assert len(models(store)) == 1
    assert len(list(temporary.glob("orchestrator-*"))) == 1
    assert collect(store) == [], "whoever writes it may be alive"
    reasons = [STEPS[step], "a file or folder that was being written"]
    wanted = [reason for reason in reasons if reason]
    assert [rubbish.reason for rubbish in collect(store, dry_run=True, grace=0)] == wanted
    assert len(models(store)) == 1
    assert [rubbish.reason for rubbish in collect(store, grace=0)] == wanted
    assert collect(store, grace=0) == []
    assert list(temporary.glob("orchestrator-*")) == []
    assert len(files(store)) == 2 * len(visible)
    assert len(models(store)) == len(visible)
    assert [prompt.ref for prompt in store.list() if "best" in prompt.aliases] == visible

    assert store.put(make_artifact(), run_id=run_id).ref == f"{NAME}/1"
    assert store.resolve(f"{NAME}@best").version == 1
    assert len(store.list()) == len(models(store)) == 1
    store.get("mnli")


def put_many(uri: str, run_id: str, temporary: str, first: int, there: Connection) -> None:
    torch.set_num_threads(1)
    tempfile.tempdir = temporary
    store = PromptStore(uri)
    for seed in range(first, first + 1000):
        store.put(make_artifact(seed, dev_score=seed / 10_000), run_id=run_id)
        there.send(seed)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_killed_at_any_time(store: PromptStore, new_run: NewRun, temporary: Path) -> None:
    """Two processes at once, killed in the middle, again and again: whatever is visible is whole."""
    run_id, seed = new_run(), random.randrange(10**6)
    print("seed", seed)
    delays = random.Random(seed)
    for attempt in range(3):
        here, there = PROCESSES.Pipe()
        starts = (1000 * (2 * attempt), 1000 * (2 * attempt + 1))
        processes = [
            PROCESSES.Process(target=put_many, args=(store.tracking_uri, run_id, str(temporary), start, there))
            for start in starts
        ]
        for process in processes:
            process.start()
        assert here.poll(60), "nothing was stored"
        time.sleep(delays.uniform(0, 1))
        for process in processes:
            process.kill()
            process.join(10)
    stored = store.list()
    assert len(stored) >= 3
    assert len({prompt.tensors_sha256 for prompt in stored}) == len(stored)
    for prompt in stored:
        store.get(prompt.ref)
    collect(store, grace=0)
    assert store.list() != []
    assert models(store) == {prompt.model_id for prompt in stored}
    assert len(files(store)) == 2 * len(stored)
    scores = [prompt.dev_score for prompt in stored if prompt.dev_score is not None]
    assert store.resolve(f"{NAME}@best").dev_score == max(scores)


def test_a_version_without_its_files_is_removed(store: PromptStore, new_run: NewRun) -> None:
    stored = [store.put(make_artifact(seed, dev_score=seed / 10), run_id=new_run()) for seed in range(3)]
    Path(stored[2].source.removeprefix("file://"), TENSORS_FILE).unlink()
    (found,) = collect(store, dry_run=True)
    assert (found.what, found.reason) == (f"{NAME}/3", "a version without its prompt.safetensors")
    assert len(store.list()) == 3
    assert collect(store) == [found]
    assert [(p.version, p.aliases) for p in store.list()] == [(1, ()), (2, ("best", "latest"))]
    assert len(files(store)) == 4


def test_nothing_is_removed_where_the_place_of_the_files_is_away(store: PromptStore, new_run: NewRun) -> None:
    """Such as a network folder that is not mounted just now."""
    for seed in range(2):
        store.put(make_artifact(seed), run_id=new_run())
    root = Path(store.tracking_uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    root.rename(root.with_name("away"))
    with pytest.raises(StoreError, match=r"None of the 2 versions has its files.*bring that place back"):
        collect(store)
    root.with_name("away").rename(root)
    assert collect(store) == []
    assert len(store.list()) == 2


def test_a_failed_upload_is_removed_at_once(
    store: PromptStore, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.client, "log_model_artifacts", full)
    with pytest.raises(StoreError, match=r"mlflow\.db refused: .*No space left"):
        store.put(make_artifact(), run_id=new_run())
    assert [rubbish.reason for rubbish in collect(store)] == ["an upload that failed"]
    assert models(store) == set()


def test_what_others_made_is_left_alone(store: PromptStore, new_run: NewRun, temporary: Path) -> None:
    experiment = store.ensure_experiment("runs")
    theirs = store.client.create_logged_model(experiment, "theirs", model_type="forecast")
    ours = store.put(make_artifact(), run_id=new_run())
    assert store.client.get_logged_model(ours.model_id).model_type == MODEL_TYPE
    store.client.create_registered_model("copied")  # by hand, from our files
    store.client.create_model_version("copied", ours.source)
    store.client.delete_model_version(NAME, "1")
    (temporary / "somebody-else").mkdir()
    assert collect(store, grace=0) == []
    assert models(store) == {theirs.model_id, ours.model_id}
    assert len(files(store)) == 2


def test_a_delete_that_was_killed_half_way_is_finished(
    store: PromptStore, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = store.put(make_artifact(), run_id=new_run()).ref
    with monkeypatch.context() as killed:
        killed.setattr("prompts_store.transfer.remove", lambda *_: None)
        delete(store, ref)
    assert len(files(store)) == 2
    assert len(collect(store, grace=0)) == 1
    assert files(store) == []
