"""Token ids that were kept are those that would be made, and damaged files are made again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines import encode_cache
from pipelines.backbone import load_tokenizer
from pipelines.encode import Encoded, encode
from pipelines.encode_cache import EncodeCache
from tasks import Example, Rows, Task, load_task
from tests.pipelines.tiny import KINDS, TinyFolder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCHESTRATOR_CACHE", str(tmp_path))
    monkeypatch.setattr(encode_cache, "LEAST_ROWS", 2)
    return tmp_path / "encoded"


@pytest.fixture
def tokenised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each set that is tokenised."""
    calls: list[int] = []
    real = encode_cache.tokenise

    def counted(rows: Rows, *rest: object) -> object:
        calls.append(len(rows))
        return real(rows, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(encode_cache, "tokenise", counted)
    return calls


def rows_of(task: Task, n: int = 6) -> Rows:
    texts = [tuple(f"{field} number {i} " + "and so on " * i for field in task.fields) for i in range(n)]
    return Rows.of(task, "train", [Example.of(text, i % 2) for i, text in enumerate(texts)], "made")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def same(one: Encoded, other: Encoded) -> bool:
    names = ("ids", "segments", "offsets", "labels")
    arrays = [(getattr(one, name), getattr(other, name)) for name in names]
    return one.truncated == other.truncated and all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in arrays)


@pytest.mark.parametrize("kind", ["bert", "t5", "llama"])
def test_what_was_kept_is_what_would_be_made(
    kind: str, folder: Path, tiny_folder: TinyFolder, tokenised: list[int]
) -> None:
    family, tokenizer = KINDS[kind], load_tokenizer(tiny_folder(kind))
    cache = EncodeCache(tokenizer, "f", family)
    rows = rows_of(load_task("mrpc"))
    made, kept = cache.encode(rows, 12), EncodeCache(tokenizer, "f", family).encode(rows, 12)
    assert tokenised == [6]
    assert made.truncated > 0
    assert same(made, kept)
    assert same(kept, encode(rows, tokenizer, family, 12))


CHANGES: list[tuple[str, Callable[[Rows], Rows]]] = [
    ("order", lambda rows: Rows.of(rows.task, "train", rows.examples[::-1], "made")),
    ("a text", lambda rows: Rows.of(rows.task, "train", [*rows.examples[:-1], Example.of(("a", "b"), 0)], "made")),
    ("the boundary of texts", lambda rows: Rows.of(rows.task, "train", [_moved(e) for e in rows.examples], "made")),
    ("the wording", lambda rows: replace(rows, task=replace(rows.task, template="{sentence1} {sentence2} The same:"))),
]


def _moved(example: Example) -> Example:
    one, other = example.texts
    return Example.of((one + other[:1], other[1:]), example.label)


@pytest.mark.parametrize(("what", "changed"), CHANGES, ids=[what for what, _ in CHANGES])
def test_other_rows_are_tokenised_anew(
    what: str, changed: Callable[[Rows], Rows], folder: Path, tiny_folder: TinyFolder, tokenised: list[int]
) -> None:
    cache = EncodeCache(load_tokenizer(tiny_folder("t5")), "f", KINDS["t5"])
    rows = rows_of(load_task("mrpc"))
    cache.encode(rows, 32)
    other = changed(rows)
    assert same(cache.encode(other, 32), encode(other, cache.tokenizer, cache.family, 32))
    assert len(tokenised) == 2


def test_other_lengths_and_tokenizers_are_kept_apart(
    folder: Path, tiny_folder: TinyFolder, tokenised: list[int]
) -> None:
    tokenizer, rows = load_tokenizer(tiny_folder("bert")), rows_of(load_task("mrpc"))
    EncodeCache(tokenizer, "f", KINDS["bert"]).encode(rows, 8)
    EncodeCache(tokenizer, "f", KINDS["bert"]).encode(rows, 9)
    EncodeCache(tokenizer, "g", KINDS["bert"]).encode(rows, 8)
    assert len(tokenised) == len(files(folder)) == 3


def test_labels_are_read_anew(folder: Path, tiny_folder: TinyFolder, tokenised: list[int]) -> None:
    cache = EncodeCache(load_tokenizer(tiny_folder("bert")), "f", KINDS["bert"])
    rows = rows_of(load_task("mrpc"))
    turned = Rows.of(rows.task, "train", [Example.of(e.texts, 1 - e.label) for e in rows.examples], "made")
    assert cache.encode(rows, 8).labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert cache.encode(turned, 8).labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert tokenised == [6]


@pytest.mark.parametrize("damage", [b"", b"PK", None])
def test_damaged_files_are_made_again(
    damage: bytes | None, folder: Path, tiny_folder: TinyFolder, tokenised: list[int]
) -> None:
    cache = EncodeCache(load_tokenizer(tiny_folder("bert")), "f", KINDS["bert"])
    rows = rows_of(load_task("mrpc"))
    made = cache.encode(rows, 8)
    (path,) = files(folder)
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:] if damage is None else damage)
    assert same(cache.encode(rows, 8), made)
    assert len(tokenised) == 2
    assert path.read_bytes() == data


def test_a_whole_file_of_another_layout_is_made_again(
    folder: Path, tiny_folder: TinyFolder, tokenised: list[int]
) -> None:
    cache = EncodeCache(load_tokenizer(tiny_folder("bert")), "f", KINDS["bert"])
    rows = rows_of(load_task("mrpc"))
    made = cache.encode(rows, 8)
    (path,) = files(folder)
    cache._cache.write(path.name, b"something else")
    assert same(cache.encode(rows, 8), made)
    assert len(tokenised) == 2


def test_few_rows_leave_no_file(folder: Path, tiny_folder: TinyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode_cache, "LEAST_ROWS", 7)
    EncodeCache(load_tokenizer(tiny_folder("bert")), "f", KINDS["bert"]).encode(rows_of(load_task("mrpc")), 8)
    assert files(folder) == []
