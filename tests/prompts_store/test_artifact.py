import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from prompts_store import Artifact, StoreError, load_artifact, save_artifact
from prompts_store.files import CARD_FILE, TENSORS_FILE
from tests.prompts_store.conftest import make_artifact, make_card


def replace_tensors(folder: Path, data: bytes) -> None:
    """Put other bytes in place and make the card's hash agree, as someone with bad intent would."""
    (folder / TENSORS_FILE).write_bytes(data)
    card = json.loads((folder / CARD_FILE).read_text())
    card["tensors_sha256"] = hashlib.sha256(data).hexdigest()
    (folder / CARD_FILE).write_text(json.dumps(card))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_artifact(make_artifact(), tmp_path / "a")
    return tmp_path / "a"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"r": 0},
        {"m": 0},
        {"m": 0, "r": 0, "s": 0},
        {"head": None},
        {"family": "decoder", "head": None, "gamma": 8.0},
    ],
)
def test_round_trip(tmp_path: Path, changes: dict[str, Any]) -> None:
    artifact = make_artifact(**changes)
    card = save_artifact(artifact, tmp_path / "new" / "a")
    loaded = load_artifact(tmp_path / "new" / "a")
    assert loaded.card == card
    assert card.model_copy(update={"tensors_sha256": None}) == artifact.card
    assert loaded.tensors.keys() == artifact.tensors.keys()
    for name, tensor in artifact.tensors.items():
        assert torch.equal(loaded.tensors[name], tensor)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["a"]
    assert sorted(p.name for p in (tmp_path / "new" / "a").iterdir()) == [CARD_FILE, TENSORS_FILE]


def test_equal_tensors_give_equal_bytes(tmp_path: Path) -> None:
    one, other = make_artifact(), make_artifact()
    shuffled = Artifact(other.card, dict(reversed(other.tensors.items())))
    assert save_artifact(one, tmp_path / "1").tensors_sha256 == save_artifact(shuffled, tmp_path / "2").tensors_sha256


def test_tensors_are_kept_apart_from_training() -> None:
    card = make_card(head=None)
    prompt = torch.nn.Parameter(torch.zeros(8, 3)).T
    artifact = Artifact(card, {"prompt": prompt, "A": torch.zeros(5, 2), "B": torch.zeros(2, 8)})
    assert not artifact.tensors["prompt"].requires_grad
    assert artifact.tensors["prompt"].is_contiguous()
    copy = pickle.loads(pickle.dumps(artifact))
    assert copy.card == card
    assert torch.equal(copy.tensors["prompt"], prompt)


def test_head() -> None:
    assert make_artifact().head.keys() == {"0.weight", "0.bias"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": torch.zeros(4, 8)}, r"'prompt' has shape \(4, 8\).*\(3, 8\)"),
        ({"A": torch.zeros(2, 5)}, r"'A' has shape \(2, 5\)"),
        ({"B": torch.zeros(2, 8, dtype=torch.float64)}, r"torch\.float64"),
        ({"B": torch.full((2, 8), torch.nan)}, "NaN or infinite"),
        ({"head.0.bias": torch.tensor([torch.inf, 0, 0])}, "1 values"),
        ({"surprise": torch.zeros(1)}, "unknown tensors"),
        ({"head.": torch.zeros(1)}, "unknown tensors"),
        ({"A": None}, r"lacks the tensors \['A'\]"),
        ({"head.0.weight": None, "head.0.bias": None}, "head='mlp'"),
    ],
)
def test_tensors_are_checked(change: dict[str, torch.Tensor | None], message: str) -> None:
    good = make_artifact()
    tensors = {name: t for name, t in {**good.tensors, **change}.items() if t is not None}
    with pytest.raises(StoreError, match=message):
        Artifact(good.card, tensors)


def test_head_without_a_name() -> None:
    with pytest.raises(StoreError, match="head=None"):
        Artifact(make_card(head=None), make_artifact().tensors)


def test_other_files_are_not_looked_at(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(print))
    load_artifact(folder)


def test_flipped_bit(folder: Path) -> None:
    data = bytearray((folder / TENSORS_FILE).read_bytes())
    data[-5] ^= 1
    (folder / TENSORS_FILE).write_bytes(data)
    with pytest.raises(StoreError, match="changed or damaged"):
        load_artifact(folder)


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("agree", [False, True])
def test_pickle_is_never_opened(folder: Path, agree: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    bomb = pickle.dumps(Bomb())
    if agree:
        replace_tensors(folder, bomb)
    else:
        (folder / TENSORS_FILE).write_bytes(bomb)
    with pytest.raises(StoreError, match="pickle, which is never opened"):
        load_artifact(folder)
    assert not Path("exploded").exists()


def test_tensors_of_other_sizes_with_a_hash_that_agrees(folder: Path) -> None:
    replace_tensors(folder, save({**make_artifact().tensors, "A": torch.zeros(6, 2)}))
    with pytest.raises(StoreError, match=r"'A' has shape \(6, 2\)"):
        load_artifact(folder)


@pytest.mark.parametrize("file", [CARD_FILE, TENSORS_FILE])
def test_missing_file(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(StoreError, match=f"no file .*{file}"):
        load_artifact(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid JSON"),
        ("[]", "should be an object"),
        ('{"format": 1}', "Field required"),
        ("\udcff", "Invalid JSON"),
        ("9" * (1 << 20) + "9", "at most"),
    ],
)
def test_bad_card(folder: Path, text: str, message: str) -> None:
    (folder / CARD_FILE).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(StoreError, match=message):
        load_artifact(folder)


@pytest.mark.parametrize("change", [{"format": 2}, {"d": "8x"}, {"run_id": "../../x"}, {"tensors_sha256": None}])
def test_changed_card(folder: Path, change: dict[str, Any]) -> None:
    card = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps(card | change))
    with pytest.raises(StoreError, match=next(iter(change))):
        load_artifact(folder)


@given(data=st.binary(max_size=200), agree=st.booleans())
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, agree: bool) -> None:
    folder = tmp_path_factory.mktemp("fuzz") / "a"
    save_artifact(make_artifact(), folder)
    if agree:
        replace_tensors(folder, data)
    else:
        (folder / CARD_FILE).write_bytes(data)
    with pytest.raises(StoreError):
        load_artifact(folder)


def test_existing_folder_is_kept(folder: Path) -> None:
    before = (folder / TENSORS_FILE).read_bytes()
    with pytest.raises(StoreError, match="not an empty folder"):
        save_artifact(make_artifact(seed=1), folder)
    assert (folder / TENSORS_FILE).read_bytes() == before


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        save_artifact(make_artifact(), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
