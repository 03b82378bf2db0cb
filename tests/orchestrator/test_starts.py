"""Damaged sources: a named one is refused, an automatic choice goes on without it."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.starts import find_sources
from prompts_store import PromptStore, StoreError
from prompts_store.files import TENSORS_FILE
from tasks import load_task
from tests.prompts_store.conftest import FINGERPRINT, make_artifact

Damage = Callable[[Path], Any]
DAMAGES: dict[str, Damage] = {
    "a bit flipped": lambda file: file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1])),
    "a pickle": lambda file: file.write_bytes(b"\x80\x04cposix\nsystem\n"),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_source(
    damage: str, tracking_uri: str, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(tmp_path / "cache"))
    store = PromptStore(tracking_uri)
    run = store.client.create_run(store.ensure_experiment("runs")).info.run_id
    good, bad = (store.put(make_artifact(seed, task=task), run_id=run) for seed, task in enumerate(("mnli", "snli")))
    DAMAGES[damage](Path(bad.source.removeprefix("file://"), TENSORS_FILE))
    setup: Any = SimpleNamespace(store=store, info=SimpleNamespace(fingerprint=FINGERPRINT, family="encoder"))
    with pytest.raises(StoreError, match=f"{bad.ref} is refused"):
        find_sources(setup, load_task("cb"), "snli")
    with caplog.at_level(logging.WARNING, logger="orchestrator"):
        sources = find_sources(setup, load_task("cb"), "auto")
    assert [source.stored.ref for source in sources] == [good.ref]
    assert f"going on without {bad.ref}" in caplog.text
