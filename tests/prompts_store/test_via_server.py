import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prompts_store import PromptStore, StoreError
from prompts_store.changes import delete, promote, rename
from prompts_store.checking import Checked, verify
from prompts_store.cleaning import collect
from prompts_store.copying import copy_prompt
from prompts_store.files import TENSORS_FILE
from prompts_store.similar import similar
from prompts_store.transfer import MODEL_TYPE
from tests.prompts_store.conftest import make_artifact
from tests.servers import Server


@pytest.fixture
def server(shared_server: Server) -> Server:
    return shared_server


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_through_a_server(server: Server, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    store = PromptStore()
    assert store.tracking_uri == server.uri
    experiment = store.ensure_experiment("runs")
    runs = [store.client.create_run(experiment).info.run_id for _ in range(2)]
    artifact = make_artifact(task="sample.mnli", backbone="google-t5/t5-base", dev_score=0.9)
    first = store.put(artifact, run_id=runs[0])
    second = store.put(make_artifact(1, task="sample.mnli", backbone="google-t5/t5-base", k=16), run_id=runs[1])
    assert type(first.version) is int
    assert (first.version, first.aliases, second.version, second.aliases) == (1, ("best", "latest"), 2, ("latest",))
    assert store.put(artifact, run_id=runs[0]).version == 1
    fetched = store.get("sample.mnli")
    assert fetched.card.run_id == runs[0]
    assert all(torch.equal(fetched.tensors[name], tensor) for name, tensor in artifact.tensors.items())
    assert [p.version for p in store.find(task="sample.mnli", k=None)] == [1]
    assert store.resolve(f"{first.name}@latest").version == 2
    with pytest.raises(StoreError, match="No stored prompt"):
        store.get("nobody.stored.this")
    assert list(tmp_path.iterdir()) == []
    kept = sorted(path.name for path in cache.glob("files/*/*"))
    assert kept == sorted([first.card_sha256, first.tensors_sha256])
    for path in (server.folder / "files").glob("**/prompt.safetensors"):
        path.write_bytes(path.read_bytes()[:-4] + b"nope")
    assert all(torch.equal(store.get(first.ref).tensors[name], fetched.tensors[name]) for name in fetched.tensors)
    (cache / "files" / first.tensors_sha256[:2] / first.tensors_sha256).write_bytes(b"damaged on this machine")
    with pytest.raises(StoreError, match=f"{first.ref} is refused.*changed or damaged"):
        store.get(first.ref)


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_looked_after_through_a_server(
    server: Server,
    store: PromptStore,
    new_run: Callable[[], str],
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a team does with its server: push from a store of one's own, pull, promote, rename, compare, clean."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store.put(make_artifact(1, task="pushed"), run_id=new_run())
    store.put(make_artifact(2, task="target", k=16, start="dept-minilm-pushed/1"), run_id=new_run())
    team = PromptStore(server.uri)
    for new in (True, False):
        assert [copied.new for copied in copy_prompt(store, "target", team)] == [new] * 2
    assert [copied.new for copied in copy_prompt(team, "target", store)] == [False] * 2
    assert team.get("target").card.origin_run == store.get("target").card.run_id

    experiment = team.ensure_experiment("runs")
    run_id = team.client.create_run(experiment).info.run_id
    better = team.put(make_artifact(3, task="pushed", dev_score=0.99), run_id=run_id)
    assert promote(team, "dept-minilm-pushed/1").aliases == ("best",)
    assert rename(team, "dept-minilm-pushed", "team.pushed")[1].version == better.version
    again = team.put(make_artifact(4, task="pushed", dev_score=0.995), run_id=run_id)
    assert again.ref == "team.pushed/3"
    assert team.resolve("dept-minilm-pushed").version == 1
    assert team.resolve("target").start == "dept-minilm-pushed/1"
    assert len(similar(team, "target")) >= 3
    shutil.rmtree(cache / "files")
    assert len(similar(team, "target", measure="pairs")) >= 3
    assert not (cache / "files").exists(), "vectors are kept apart from the files"

    with pytest.raises(StoreError, match="started from team"):
        delete(team, "team.pushed/1")
    place = server.folder / "files"
    assert len(list(place.glob(f"**/{again.model_id}/**/{TENSORS_FILE}"))) == 1
    delete(team, again.ref)
    assert len(list(place.glob(f"**/{again.model_id}/**/{TENSORS_FILE}"))) == 0

    (file,) = place.glob(f"**/{better.model_id}/**/{TENSORS_FILE}")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    wrong = {checked.ref: checked.problem for checked in verify(team) if checked.problem}
    assert "changed or damaged" in wrong["team.pushed/2"]
    assert Checked("team.pushed/1", None) in list(verify(team))
    file.unlink()
    half = team.client.create_logged_model(experiment, "half", model_type=MODEL_TYPE, source_run_id=run_id)
    removed = {rubbish.what for rubbish in collect(team, grace=0)}
    assert {"team.pushed/2", half.model_id} <= removed
    assert [prompt.version for prompt in team.find(task="pushed")] == [1]
