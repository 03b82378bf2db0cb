from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from pipelines.backbone import Backbone, load_backbone
from tests.pipelines.tiny import KINDS, Tiny, TinyFolder, build_model, build_tokenizer

# the first call of anything in torch is a hundred times slower than the next
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny products are slower on more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    """Makes the folder of a tiny random model of some kind, once."""
    root = tmp_path_factory.mktemp("backbones")

    @cache
    def folder(kind: str) -> Path:
        build_model(kind).save_pretrained(root / kind)
        build_tokenizer(KINDS[kind]).save_pretrained(root / kind)
        return root / kind

    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: TinyFolder) -> Tiny:
    """Loads a tiny random model of some kind in float64, once."""

    @cache
    def load(kind: str) -> Backbone:
        return load_backbone(str(tiny_folder(kind)), dtype=torch.float64)

    return load


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models and data."""
    folder = Path(os.environ.get("ORCHESTRATOR_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip("no folder of real models: set ORCHESTRATOR_SHARED")
    return folder
