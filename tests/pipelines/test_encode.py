from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.architecture import FamilyName
from pipelines.encode import Encoded, chunks, collate, encode
from tasks import Example, Rows
from tests.pipelines.tiny import FIRST, LAST, WORDS, build_tokenizer, toy_task


def ids(words: str) -> list[int]:
    return [WORDS.index(word) for word in words.split()]


def encoded(texts: Sequence[tuple[str, ...]], family: FamilyName, s: int = 20) -> Encoded:
    task = toy_task("single" if len(texts[0]) == 1 else "pair", classes=3)
    examples = [Example.of(row, i % 3) for i, row in enumerate(texts)]
    return encode(Rows.of(task, "train", examples, "toy"), build_tokenizer(family), family, s)


def row(rows: Encoded, i: int) -> tuple[list[int], list[int]]:
    place = slice(int(rows.offsets[i]), int(rows.offsets[i + 1]))
    return rows.ids[place].tolist(), rows.segments[place].tolist()


def test_encoder_reads_pairs_as_its_tokenizer_joins_them() -> None:
    rows = encoded([("a b", "c"), ("d", "e f g")], "encoder")
    assert row(rows, 0) == ([FIRST, *ids("a b"), LAST, *ids("c"), LAST], [0, 1, 1, 0, 2, 0])
    assert row(rows, 1) == ([FIRST, *ids("d"), LAST, *ids("e f g"), LAST], [0, 1, 0, 2, 2, 2, 0])
    assert rows.labels.tolist() == [0, 1]
    assert (len(rows), rows.lengths.tolist(), rows.truncated) == (2, [6, 7], 0)


def test_encoder_reads_single_texts() -> None:
    assert row(encoded([("a b",)], "encoder"), 0) == ([FIRST, *ids("a b"), LAST], [0, 1, 1, 0])


@pytest.mark.parametrize(
    ("family", "tokens"),
    [("encoder-decoder", [*ids("a v b w"), LAST]), ("decoder", [FIRST, *ids("a v b w")])],
)
def test_other_families_read_the_template(family: FamilyName, tokens: list[int]) -> None:
    assert row(encoded([("a", "b")], family), 0)[0] == tokens


def test_truncation_is_at_s_and_counted() -> None:
    texts = [("a b c",), ("a b c d",), ("a b c d e f g",)]  # 5, 6 and 9 tokens with the special ones
    rows = encoded(texts, "encoder", s=5)
    assert rows.lengths.tolist() == [5, 5, 5]
    assert rows.truncated == 2
    assert row(rows, 2) == ([FIRST, *ids("a b c"), LAST], [0, 1, 1, 1, 0])


def test_a_template_keeps_its_question_when_cut() -> None:
    """What follows the last field, and the end of the sequence, stay: without them nothing asks for the answer."""
    texts = [("a b c d e", "f g h"), ("a", "b")]  # a template of both with "v" between and "w" at the end
    for family, first, last in (("encoder-decoder", [], [LAST]), ("decoder", [FIRST], [])):
        rows = encoded(texts, family, s=7)  # type: ignore[arg-type]
        kept = 7 - 1 - len(first) - len(last)
        assert row(rows, 0)[0] == [*first, *ids("a b c d e v f g h")[:kept], *ids("w"), *last]
        assert row(rows, 1)[0] == [*first, *ids("a v b w"), *last]
        assert rows.truncated == 1
        assert encoded(texts, family, s=1).lengths.tolist() == [1, 1]  # type: ignore[arg-type]


def test_types_are_small() -> None:
    rows = encoded([("a b", "c")], "encoder")
    assert (rows.ids.dtype, rows.segments.dtype, rows.labels.dtype) == (np.int32, np.uint8, np.int64)


def test_collate_pads_on_the_right_to_the_longest() -> None:
    one, other = encoded([("a",), ("b c d",)], "encoder"), encoded([("e f",)], "encoder")
    batch = collate([(0, one, 1), (2, other, 0), (0, one, 0)], torch.device("cpu"))
    assert batch.mask.tolist() == [[True] * 5, [True] * 4 + [False], [True] * 3 + [False] * 2]
    assert batch.ids[batch.mask].tolist() == [*row(one, 1)[0], *row(other, 0)[0], *row(one, 0)[0]]
    assert batch.segments.tolist() == [[0, 1, 1, 1, 0], [0, 1, 1, 0, 0], [0, 1, 0, 0, 0]]
    assert batch.labels.tolist() == [1, 0, 0]
    assert batch.slot.tolist() == [0, 2, 0]
    assert batch.ids.dtype == batch.labels.dtype == batch.slot.dtype == torch.int64


@given(st.lists(st.integers(1, 40), max_size=40), st.integers(1, 100))
def test_chunks(lengths: list[int], tokens: int) -> None:
    groups = chunks(lengths, tokens)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert group
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= tokens
    for before, after in pairwise(groups):
        assert max(lengths[i] for i in before) <= min(lengths[i] for i in after)
        assert (len(before) + 1) * lengths[after[0]] > tokens  # nobody was sent on who would have fitted
    assert chunks(lengths, tokens) == groups


def test_chunks_of_equal_lengths_keep_the_order() -> None:
    assert chunks([3, 3, 3, 2], 6) == [[3, 0], [1, 2]]
