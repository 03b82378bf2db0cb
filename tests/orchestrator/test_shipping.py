"""A backbone's folder on a machine that lacks it."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray

from orchestrator import shipping
from orchestrator.errors import UsageError
from orchestrator.settings import PretrainSettings
from orchestrator.shipping import BackboneFiles, digest, ship
from pipelines.backbone import load_backbone
from tests.pipelines.tiny import TinyFolder

Sent = tuple[Path, BackboneFiles, list[Any]]


@pytest.fixture
def sent(tmp_path: Path, tiny_folder: TinyFolder, monkeypatch: pytest.MonkeyPatch) -> Sent:
    """A folder, its files in pieces of 1,000 bytes, and the pieces asked for; an object of Ray is its own value."""
    asked: list[Any] = []

    def get(piece: bytes) -> bytes:
        asked.append(piece)
        return piece

    monkeypatch.setattr(ray, "put", lambda piece: piece)
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(shipping, "PIECE_BYTES", 1000)
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("t5"), folder)
    (folder / "README.md").write_text("stays at home")
    files = ship(settings(folder))
    assert files is not None
    return folder, files, asked


def settings(backbone: str | Path, address: str | None = "auto") -> PretrainSettings:
    return PretrainSettings(tasks=("mnli",), backbone=str(backbone), ray_address=address)


def test_the_copy_is_the_backbone(sent: Sent, tmp_path: Path) -> None:
    folder, files, asked = sent
    expected = load_backbone(str(folder)).info
    assert max(map(len, (piece for pieces in files.pieces.values() for piece in pieces))) == 1000
    assert (files(), asked) == (str(folder), [])  # it is there
    folder.rename(tmp_path / "elsewhere")
    kept = Path(files())
    assert kept.parent == tmp_path / "cache" / "backbones"
    assert "README.md" not in {file.name for file in kept.iterdir()}
    found = load_backbone(str(kept)).info
    assert (found.fingerprint, found.tokenizer_fingerprint) == (expected.fingerprint, expected.tokenizer_fingerprint)
    assert found.architecture == expected.architecture
    assert len(asked) == sum(map(len, files.pieces.values()))
    assert files() == str(kept)
    assert len(asked) == sum(map(len, files.pieces.values())), "nothing is fetched twice"


def test_another_folder_of_that_name_is_not_taken(sent: Sent) -> None:
    folder, files, _ = sent
    with (folder / "config.json").open("a") as file:
        file.write(" ")
    assert files() != str(folder)


def test_a_damaged_copy_is_fetched_again(sent: Sent) -> None:
    folder, files, _ = sent
    shutil.rmtree(folder)
    weights = Path(files(), "model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    assert digest(Path(files())) == files.sha256


def test_a_cache_that_cannot_be_written_is_named(sent: Sent, tmp_path: Path) -> None:
    folder, files, _ = sent
    shutil.rmtree(folder)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UsageError, match=r"cannot be kept in .*cache/backbones .*ORCHESTRATOR_CACHE"):
        files()


@pytest.mark.timeout(60)
def test_workers_of_one_node_fetch_once(sent: Sent) -> None:
    folder, files, _ = sent
    shutil.rmtree(folder)
    context = multiprocessing.get_context("fork")
    out: Any = context.Queue()
    workers = [context.Process(target=_fetch, args=(files, out)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [out.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert len({folder for folder, _ in found}) == 1
    assert sorted(fetched > 0 for _, fetched in found) == [False, False, False, True]


def _fetch(files: Callable[[], str], out: Any) -> None:
    count = 0
    get = ray.get

    def counted(piece: bytes) -> Any:
        nonlocal count
        count += 1
        return get(piece)

    ray.get = counted
    out.put((files(), count))


def test_names_do_not_travel(tiny_folder: TinyFolder) -> None:
    assert ship(settings("minilm")) is None
    assert ship(settings("google-t5/t5-small")) is None
    assert ship(settings(tiny_folder("t5"), address=None)) is None
