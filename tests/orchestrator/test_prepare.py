"""From a task and a folder to what a slot trains on."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import UsageError
from orchestrator.prepare import Prepared, Preparer
from pipelines.backbone import describe_backbone
from pipelines.encode import Encoded
from pipelines.encode_stream import MappedRows
from tasks import Rows, RowStream, open_data
from tests.pipelines.conftest import shared
from tests.pipelines.tiny import build_model, build_tokenizer

__all__ = ["shared"]


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """Forty reviews, one of them malformed."""
    folder = tmp_path / "rows" / "sst2"
    folder.mkdir(parents=True)
    for split, words in (("train", "abcdefghij"), ("validation", "klmno")):
        lines = [
            json.dumps({"sentence": f"{word} {other}", "label": n % 2})
            for n, word in enumerate(words)
            for other in "xyz"
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + ('\n{"sentence"\n' if split == "train" else "\n"))
    return str(tmp_path / "rows")


def preparer(rows: str, backbone: str, label_words: str = "words", *, shipped: bool = False) -> Preparer:
    source = open_data(rows, ["sst2"], skip_bad=True)
    return Preparer(source, describe_backbone(backbone), label_words, shipped=shipped)  # type: ignore[arg-type]


def test_label_words_or_digits(rows: str, shared: Path) -> None:
    folder = shared / "models" / "stories260k-llama"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    for style, wanted in (("words", ("negative", "positive")), ("digits", ("0", "1"))):
        prepared = preparer(rows, str(folder), style)
        data = prepared.full("sst2", 32, 0).data
        assert tuple(prepared.tokenizer.decode(list(word)).strip() for word in data.words) == wanted


def test_words_that_a_tokenizer_cannot_tell_apart(rows: str, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    build_model("llama").save_pretrained(folder)
    build_tokenizer("decoder").save_pretrained(folder)
    with pytest.raises(UsageError, match=r"label words \('0', '1'\) of sst2 are not told apart by the"):
        preparer(rows, str(folder), "digits").full("sst2", 32, 0)


def test_what_was_left_out_is_said(rows: str) -> None:
    prepared = preparer(rows, "minilm")
    (note,) = prepared.full("sst2", 32, 0).notes
    assert note.startswith("sst2, train: 1 malformed rows were left out: ")
    assert "train.jsonl, line 31" in note


def test_the_released_sampler(rows: str) -> None:
    """It says how far it is from k and from balance; the other draw is exact."""
    made = preparer(rows, "minilm")
    draws = {
        protocol: made.fewshot("sst2", 32, 4, range(6), per_class=False, dev="k", protocol=protocol)  # type: ignore[arg-type]
        for protocol in ("balanced", "released")
    }
    positive = {name: {int(d.data.train.labels.sum()) for d in drawn} for name, drawn in draws.items()}
    assert positive["balanced"] == {2}
    assert positive["released"] & {1, 3}
    assert all(any("the released sampler drew" in note for note in d.notes) for d in draws["released"])


def test_a_large_source_is_mapped_from_files(rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = preparer(rows, "minilm").full("sst2", 32, 0)
    monkeypatch.setattr("orchestrator.prepare.HELD_BYTES", 0)
    monkeypatch.setattr(RowStream, "held", only("validation", RowStream.held))
    mapped = preparer(rows, "minilm").full("sst2", 32, 0)
    assert (mapped.digest, mapped.notes) == (held.digest, held.notes)
    assert isinstance(mapped.data.train, MappedRows)
    for name in ("ids", "segments", "offsets", "labels"):
        for split in ("train", "dev", "test"):
            np.testing.assert_array_equal(*(getattr(getattr(p.data, split), name) for p in (mapped, held)))
    shipped = preparer(rows, "minilm", shipped=True).full("sst2", 32, 0)
    assert type(shipped.data.train) is Encoded


def test_a_large_file_is_drawn_from_without_being_held(rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def draws() -> list[Prepared]:
        drawn = preparer(rows, "minilm").fewshot("sst2", 32, 4, range(3), per_class=False, dev="k", protocol="balanced")
        return list(drawn)

    held = draws()
    monkeypatch.setattr("orchestrator.prepare.HELD_BYTES", 0)
    monkeypatch.setattr(RowStream, "held", only("validation", RowStream.held))
    streamed = draws()
    assert [d.digest for d in streamed] == [d.digest for d in held]
    assert [d.notes for d in streamed] == [d.notes for d in held]


def test_test_rows_among_the_training_rows_are_named(rows: str) -> None:
    path = Path(rows) / "sst2" / "validation.jsonl"
    path.write_text(path.read_text() + '{"sentence": "A  x", "label": 0}\n')
    notes = preparer(rows, "minilm").full("sst2", 32, 0).notes
    assert any("1 test rows of sst2 also stand in its 27 training rows: 'A  x'" in note for note in notes)


def only(split: str, held: Callable[[RowStream], Rows]) -> Callable[[RowStream], Rows]:
    """A `RowStream.held` for one split alone."""

    def checked(self: RowStream) -> Rows:
        assert self.split == split
        return held(self)

    return checked
