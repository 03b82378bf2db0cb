"""Where checkpoints are kept: in memory, and in the command's run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from orchestrator.checkpoints import Checkpoints
from pipelines.checkpoint import PackState, SlotState
from prompts_store import PromptStore


def payload(step: int, *configs: int) -> bytes:
    slots = {
        f"{config}/0": SlotState({"spec": {"config": config}, "step": step}, {"prompt": torch.full((2,), float(step))})
        for config in configs
    }
    return PackState(slots, frozenset()).dump()


@pytest.fixture
def store(tracking_uri: str) -> PromptStore:
    return PromptStore(tracking_uri)


@pytest.fixture
def run_id(store: PromptStore) -> str:
    run_id: str = store.client.create_run(store.ensure_experiment("test")).info.run_id
    return run_id


def files(store: PromptStore, run_id: str) -> list[Path]:
    artifacts = Path(store.client.get_run(run_id).info.artifact_uri.removeprefix("file://"))
    return sorted((artifacts / "checkpoints").iterdir())


def test_the_newest_of_each_configuration(store: PromptStore, run_id: str) -> None:
    with Checkpoints(store, run_id) as checkpoints:
        assert checkpoints.newest([0, 1]) == ()
        checkpoints.save([0, 1], payload(1, 0, 1))
        checkpoints.save([0], payload(2, 0))
        assert checkpoints.newest([0]) == (payload(2, 0),)
        assert checkpoints.newest([1, 7]) == (payload(1, 0, 1),)
        assert checkpoints.newest([0, 1]) == (payload(1, 0, 1), payload(2, 0))
    again = Checkpoints(store, run_id)
    assert again.newest([0, 1])[-1] == payload(2, 0)
    again.close()


def test_two_of_each_configuration_are_kept_and_none_at_the_end(store: PromptStore, run_id: str) -> None:
    for step in range(1, 6):
        with Checkpoints(store, run_id) as checkpoints:  # closed each time, so that none is overtaken
            checkpoints.save([0, 1], payload(step, 0, 1))
    assert [file.name[:8] for file in files(store, run_id)] == ["00000004", "00000005"]
    checkpoints = Checkpoints(store, run_id)
    assert checkpoints.newest([1]) == (payload(5, 0, 1),)
    checkpoints.forget()
    assert files(store, run_id) == []
    assert checkpoints.newest([1]) == ()


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_file_is_passed_over_for_the_one_before(
    store: PromptStore, run_id: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        with Checkpoints(store, run_id) as checkpoints:
            checkpoints.save([0], payload(step, 0))
    newest = files(store, run_id)[-1]
    data = newest.read_bytes()
    newest.write_bytes({"cut": data[:-3], "flipped": data[:-1] + bytes([data[-1] ^ 1]), "emptied": b""}[damage])
    with caplog.at_level(logging.WARNING), Checkpoints(store, run_id) as checkpoints:
        assert checkpoints.newest([0]) == (payload(1, 0),)
    assert "is passed over" in caplog.text


def test_what_cannot_be_written_costs_a_warning(
    store: PromptStore, run_id: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with caplog.at_level(logging.WARNING), Checkpoints(store, run_id) as checkpoints:
        monkeypatch.setattr(checkpoints._repository, "log_artifact", full)
        checkpoints.save([0], payload(1, 0))
    assert checkpoints.newest([0]) == (payload(1, 0),)
    assert "No space left on device" in caplog.text
