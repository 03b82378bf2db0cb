"""Token ids in files are those that would be held, whoever maps them."""

import errno
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines import encode_stream as module
from pipelines.backbone import load_tokenizer
from pipelines.encode import Encoded, collate, encode
from pipelines.encode_stream import MappedRows, encode_stream
from pipelines.errors import PipelineError
from tasks import Example, Rows, Selection, hold_out, load_task
from tests.pipelines.tiny import KINDS, TinyFolder
from tests.tasks.test_draw import Stream

N, S = 40, 12


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "BATCH", 7)
    return tmp_path / "streams"


@pytest.fixture
def tokenised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each batch that is tokenised."""
    calls: list[int] = []
    real = module.tokenise

    def counted(rows: Rows, *rest: object) -> object:
        calls.append(len(rows))
        return real(rows, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "tokenise", counted)
    return calls


def rows_of(name: str) -> Rows:
    task = load_task(name)
    made = []
    for i in range(N):
        texts = tuple(f"{field} number {i} " + "and so on " * (i % 7) for field in task.fields)
        made.append(
            Example.of(texts, i % 2)
            if task.gold == "class"
            else Example.valued(texts, i % 6)
            if task.gold == "value"
            else Example.answered(texts, (f"so {i}", "on"))
        )
    return Rows.of(task, "train", made, "made")


def both(name: str) -> tuple[Selection, Rows]:
    """Training rows as a selection of a stream, and held."""
    rows = rows_of(name)
    return hold_out(Stream(rows), 4, 0)[0], hold_out(rows, 4, 0)[0]


def assert_same(one: Encoded, other: Encoded) -> None:
    for name in ("ids", "segments", "offsets", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)
    for name in ("values", "targets", "target_offsets"):
        np.testing.assert_array_equal(getattr(one.gold, name), getattr(other.gold, name), strict=True)
    assert (one.truncated, len(one)) == (other.truncated, len(other))


def numbers(encoded: Encoded, places: Sequence[int]) -> list[torch.Tensor]:
    batch = collate([(0, encoded, i) for i in places], torch.device("cpu"))
    return [batch.ids, batch.mask, batch.segments, batch.labels, batch.values, *batch.targets]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("kind", "name"),
    [("bert", "mrpc"), ("bert", "stsb"), ("t5", "mrpc"), ("t5", "stsb"), ("t5", "squad"), ("llama", "squad")],
)
def test_files_hold_what_memory_would(kind: str, name: str, tiny_folder: TinyFolder) -> None:
    tokenizer, family = load_tokenizer(tiny_folder(kind)), KINDS[kind]
    stream, rows = both(name)
    assert stream.digest == rows.digest
    held = encode(rows, tokenizer, family, S)
    mapped = encode_stream(stream, tokenizer, "f", family, S)
    assert held.truncated > 0
    there = pickle.dumps(mapped)
    assert len(there) < 1000
    for found in (mapped, mapped.in_memory(), pickle.loads(there), pickle.loads(pickle.dumps(mapped.in_memory()))):
        assert_same(found, held)
    assert isinstance(mapped.ids, np.memmap)
    assert not isinstance(mapped.in_memory().ids, np.memmap)
    places = [3, 30, 4, 17]
    for one, other in zip(numbers(mapped, places), numbers(held, places), strict=True):
        assert one.equal(other)


def test_files_are_made_once_and_again_when_damaged(
    tiny_folder: TinyFolder, tokenised: list[int], folder: Path
) -> None:
    tokenizer, (stream, _) = load_tokenizer(tiny_folder("bert")), both("mrpc")

    def encoded(fingerprint: str = "f", s: int = S) -> MappedRows:
        tokenised.clear()
        return encode_stream(stream, tokenizer, fingerprint, "encoder", s)

    first = encoded()
    assert tokenised == [7, 7, 7, 7, 7, 1]
    assert_same(encoded(), first)
    assert tokenised == []
    for other in ({"fingerprint": "g"}, {"s": S + 1}):
        assert encoded(**other).folder != first.folder  # type: ignore[arg-type]
        assert tokenised
    whole = np.array(first.ids)
    for damage in ("flip", "short", "gone", "card"):
        path = first.folder / ("card.json" if damage == "card" else "ids")
        data = path.read_bytes()
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes({"flip": bytes([data[0] ^ 1]) + data[1:], "short": data[:-4], "card": b"{"}[damage])
        np.testing.assert_array_equal(encoded().ids, whole)
        assert tokenised, damage
    assert len(list(folder.glob("*/*"))) == 3, "nothing half-written stays"


def test_a_full_disk_is_said(tiny_folder: TinyFolder, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    tokenizer, (stream, _) = load_tokenizer(tiny_folder("bert")), both("mrpc")

    def full(self: object, part: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module._Array, "write", full)
    with pytest.raises(PipelineError, match=r"token ids of made .*No space left on device.*ORCHESTRATOR_CACHE"):
        encode_stream(stream, tokenizer, "f", "encoder", S)
    assert not list(folder.glob("*/*"))
