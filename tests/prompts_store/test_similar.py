import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity

from prompts_store import Artifact, PromptStore, StoreError
from prompts_store.similar import MEASURES, Measure, similar
from tests.prompts_store.conftest import make_artifact, make_card

NewRun = Callable[[], str]
NAME = "dept-minilm-mnli"


def naive(p: torch.Tensor, q: torch.Tensor, measure: Measure) -> float:
    """As SPoT writes it, pair by pair."""
    p, q = p.double(), q.double()
    if measure == "mean":
        return float(cosine_similarity(p.mean(0), q.mean(0), dim=0))
    return float(torch.stack([cosine_similarity(a, b, dim=0) for a in p for b in q]).mean())


@pytest.mark.parametrize("measure", MEASURES)
def test_as_defined(store: PromptStore, new_run: NewRun, measure: Measure) -> None:
    artifacts = {store.put(a, run_id=new_run()).ref: a for a in (make_artifact(seed, m=3 + seed) for seed in range(6))}
    query = artifacts[f"{NAME}/3"].tensors["prompt"]
    for _ in range(2):  # worked out, then from the cache
        found = similar(store, f"{NAME}/3", measure=measure)
        assert sorted(prompt.ref for prompt, _ in found) == sorted(artifacts.keys() - {f"{NAME}/3"})
        for prompt, score in found:
            wanted = naive(query, artifacts[prompt.ref].tensors["prompt"], measure)
            assert score == pytest.approx(wanted, abs=1e-6)
        scores = [score for _, score in found]
        assert scores == sorted(scores, reverse=True)


def test_only_prompts_that_can_be_compared(store: PromptStore, new_run: NewRun) -> None:
    same = store.put(make_artifact(0), run_id=new_run())
    twin = store.put(make_artifact(0, task="qqp"), run_id=new_run())
    store.put(make_artifact(1, backbone_fingerprint="f" * 64), run_id=new_run())
    store.put(make_artifact(2, d=16), run_id=new_run())
    rowless = store.put(make_artifact(3, m=0), run_id=new_run())
    ((found, score),) = similar(store, same.ref)
    assert (found, score) == (twin, pytest.approx(1.0, abs=1e-6))
    with pytest.raises(StoreError, match=r"no prompt rows \(m=0\)"):
        similar(store, rowless.ref)


def test_a_prompt_of_zeros_is_like_none(store: PromptStore, new_run: NewRun) -> None:
    tensors = {**make_artifact().tensors, "prompt": torch.zeros(3, 8)}
    zeros = store.put(Artifact(make_card(), tensors), run_id=new_run())
    store.put(make_artifact(), run_id=new_run())
    for measure in MEASURES:
        ((_, score),) = similar(store, zeros.ref, measure=measure)
        assert score == 0.0


def test_a_damaged_file_is_refused(
    store: PromptStore, new_run: NewRun, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = [store.put(make_artifact(seed), run_id=new_run()) for seed in range(3)]
    (path,) = Path(stored[1].source.removeprefix("file://")).glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match=f"{NAME}/2 is refused.*changed or damaged"):
        similar(store, stored[1].ref)
    assert [prompt.ref for prompt, _ in similar(store, stored[0].ref)] == [f"{NAME}/3"]
    assert f"{NAME}/2 is left out: The stored prompt {NAME}/2 is refused." in caplog.text


def test_what_is_cached_may_be_damaged(store: PromptStore, new_run: NewRun, cache: Path) -> None:
    for seed in range(3):
        ref = store.put(make_artifact(seed), run_id=new_run()).ref
    found = similar(store, ref)
    damages = (b"", bytes(100), hashlib.sha256(b"x").digest() + b"x")
    for path, data in zip(cache.glob("vectors/*/*"), damages, strict=True):
        path.write_bytes(data)
    again = similar(store, ref)
    assert [(p.ref, pytest.approx(score)) for p, score in again] == [(p.ref, score) for p, score in found]


def test_needs_no_torch(store: PromptStore, new_run: NewRun) -> None:
    for seed in range(2):
        store.put(make_artifact(seed), run_id=new_run())
    code = (
        "import sys; from prompts_store import PromptStore; from prompts_store.similar import similar\n"
        f"print([p.ref for p, _ in similar(PromptStore({store.tracking_uri!r}), 'mnli')], 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout == f"[{NAME + '/2'!r}] False\n"
