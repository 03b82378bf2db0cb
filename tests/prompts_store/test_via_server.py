import time
import urllib.request
from pathlib import Path

import pytest
import torch

from prompts_store import PromptStore, StoreError
from tests.prompts_store.conftest import Server, make_artifact


@pytest.fixture
def server(starting_server: Server) -> Server:
    """An MLflow server of the tests' own that answers."""
    deadline = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(f"{starting_server.address}/health", timeout=2).close()
            return starting_server
        except OSError:
            log = (starting_server.folder / "server.log").read_text()[-2000:]
            assert starting_server.process.poll() is None, log
            assert time.monotonic() < deadline, f"the server did not start within 90 s: {log}"
            time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_through_a_server(server: Server, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    store = PromptStore()
    assert store.tracking_uri == server.address
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
        store.get("mnli")
    assert list(tmp_path.iterdir()) == []
    kept = sorted(path.name for path in cache.glob("files/*/*"))
    assert kept == sorted([first.card_sha256, first.tensors_sha256])
    for path in (server.folder / "files").glob("**/prompt.safetensors"):
        path.write_bytes(path.read_bytes()[:-4] + b"nope")
    assert all(torch.equal(store.get(first.ref).tensors[name], fetched.tensors[name]) for name in fetched.tensors)
    (cache / "files" / first.tensors_sha256[:2] / first.tensors_sha256).write_bytes(b"damaged on this machine")
    with pytest.raises(StoreError, match=f"{first.ref} is refused.*changed or damaged"):
        store.get(first.ref)
