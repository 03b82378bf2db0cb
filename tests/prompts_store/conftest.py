import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prompts_store import Artifact, Card, PromptStore
from tests.servers import free_port

FINGERPRINT = "a" * 64

PROCESSES = multiprocessing.get_context("forkserver")
"""Processes of a test's own, which find the slow imports done."""
PROCESSES.set_forkserver_preload(["prompts_store.artifact", "prompts_store.store", "mlflow"])


def make_card(**changes: Any) -> Card:
    fields: dict[str, Any] = {
        "task": "mnli",
        "task_version": 1,
        "labels": ["entailment", "neutral", "contradiction"],
        "backbone": "minilm",
        "backbone_fingerprint": FINGERPRINT,
        "tokenizer_fingerprint": "b" * 64,
        "family": "encoder",
        "d": 8,
        "m": 3,
        "r": 2,
        "s": 5,
        "gamma": 1.0,
        "head": "mlp",
        "alpha1": 5e-2,
        "alpha2": 1e-3,
        "steps": 300,
        "batch": 32,
        "seed": 0,
        "metric": "accuracy",
        "dev_score": 0.6,
        "rows_train": 1000,
        "data_source": "sample",
        "data_digest": "c" * 64,
        "orchestrator_version": "0.1.0",
    }
    return Card(**{**fields, **changes})


def make_artifact(seed: int = 0, **changes: Any) -> Artifact:
    card = make_card(**changes)
    generator = torch.Generator().manual_seed(seed)
    shapes = {"prompt": (card.m, card.d), "A": (card.s, card.r), "B": (card.r, card.d)}
    if card.head:
        shapes |= {"head.0.weight": (3, 4 * card.d), "head.0.bias": (3,)}
    return Artifact(card, {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()})


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(folder))
    return folder


@pytest.fixture
def store(tracking_uri: str) -> PromptStore:
    return PromptStore(tracking_uri)


@pytest.fixture
def new_run(store: PromptStore) -> Callable[[], str]:
    def make() -> str:
        return str(store.client.create_run(store.ensure_experiment("runs")).info.run_id)

    return make


@pytest.fixture
def unused_port() -> int:
    return free_port()
