"""Held-out rows: what is on which side, in memory and from a stream."""

import contextlib
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import (
    Example,
    Rows,
    RowStream,
    Selection,
    TaskError,
    draw_fewshot,
    hold_out,
    load_task,
    read_rows,
    stream_rows,
)
from tests.tasks.test_draw import Stream, drawn_or_refused, requests, rows_with_twins, sizes

MULTIRC = load_task("multirc")


@st.composite
def grouped(draw: st.DrawFn) -> Rows:
    """Rows of paragraphs of any sizes, a few of which repeat."""
    counts = draw(st.lists(st.integers(1, 12), min_size=2, max_size=12))
    rng = random.Random(draw(st.integers(0, 9)))
    examples = [
        Example.of((f"question {i % 9}", f"paragraph {p}"), rng.randrange(2), f"{p} {i % 9 // 3}", f"{p}")
        for p, count in enumerate(counts)
        for i in range(count)
    ]
    rng.shuffle(examples)
    return Rows.of(MULTIRC, "train", examples, "made")


def split_or_refused(rows: Rows | Stream, n: int, seed: int) -> object:
    try:
        train, dev = hold_out(rows, n, seed)
    except TaskError as error:
        return str(error)
    return tuple(train), train.digest, len(train), train.source, dev


@given(st.one_of(rows_with_twins(), grouped()), st.integers(1, 40), st.integers(0, 99))
def test_a_stream_is_split_like_rows_in_memory(rows: Rows, n: int, seed: int) -> None:
    assert split_or_refused(Stream(rows), n, seed) == split_or_refused(rows, n, seed)


@given(st.one_of(rows_with_twins(), grouped()), st.integers(1, 40), st.integers(0, 99), st.randoms())
def test_the_order_of_the_rows_changes_neither_side(rows: Rows, n: int, seed: int, rng: random.Random) -> None:
    shuffled = list(rows.examples)
    rng.shuffle(shuffled)
    try:
        train, dev = hold_out(rows, n, seed)
    except TaskError:
        return
    other_train, other_dev = hold_out(Rows.of(rows.task, rows.split, shuffled, "made"), n, seed)
    assert other_dev == dev
    assert other_train.digest == train.digest


@given(grouped(), st.integers(1, 40), st.integers(0, 99))
def test_a_block_stands_on_one_side(rows: Rows, n: int, seed: int) -> None:
    """Whole blocks, and no row is lost where one fits into dev."""
    sizes_of = Counter(example.block for example in {e.texts: e for e in rows.examples}.values())
    if n >= sum(sizes_of.values()):
        with pytest.raises(TaskError, match=f"cannot hold {n} of the {sum(sizes_of.values())} different rows"):
            hold_out(rows, n, seed)
        return
    train, dev = hold_out(rows, n, seed)
    held = Counter(example.block for example in dev.examples)
    assert not set(held) & {example.block for example in train.examples}
    assert len(dev) <= n
    assert len({example.texts for example in dev.examples}) == len(dev)
    if min(sizes_of.values()) <= n:
        assert all(count == sizes_of[block] for block, count in held.items())
        assert min((sizes_of[b] for b in sizes_of if b not in held), default=n) > n - len(dev)
    else:
        assert len(dev) == n
        (block,) = held
        assert sizes_of[block] == min(sizes_of.values())


@given(grouped(), st.integers(2, 12), st.integers(0, 99))
def test_a_draw_has_no_block_on_two_sides(rows: Rows, k: int, seed: int) -> None:
    with contextlib.suppress(TaskError):  # where too few rows, or rows of other blocks, are left
        drawn = draw_fewshot(rows, k, seed)
        assert len(drawn.train) == len(drawn.dev) == k
        assert not {e.block for e in drawn.train} & {e.block for e in drawn.dev}
    without = draw_fewshot(rows, 2, seed, dev="none")
    blocks = {e.block for e in without.train}
    others = [e for e in rows.examples if e.block not in blocks]
    if others:
        full = draw_fewshot(rows, 2, seed, dev="full")
        assert full.train == without.train
        assert Counter(full.dev) == Counter(others)
    else:
        with pytest.raises(TaskError, match="no row of multirc is left for dev"):
            draw_fewshot(rows, 2, seed, dev="full")


@given(grouped(), st.integers(2, 12), st.integers(0, 99), st.sampled_from(["k", "none"]), st.booleans())
def test_a_stream_of_blocks_gives_the_same_draw(rows: Rows, k: int, seed: int, dev: str, per_class: bool) -> None:
    asked = (k, seed, dev, per_class)
    assert drawn_or_refused(Stream(rows), *asked) == drawn_or_refused(rows, *asked)


def test_too_few_blocks_are_said() -> None:
    examples = [Example.of((f"question {i}", "the paragraph"), i % 2, f"{i}", "p") for i in range(40)]
    rows = Rows.of(MULTIRC, "train", examples, "made")
    with pytest.raises(
        TaskError, match=r"no 4 dev rows of multirc are left with another paragraph .*--dev none, or leave"
    ):
        draw_fewshot(rows, 4, 0)
    with pytest.raises(TaskError, match="all rows of multirc have the same paragraph"):
        hold_out(rows, 4, 0)
    assert len(draw_fewshot(rows, 4, 0, dev="none").train) == 4


def test_a_share_of_the_rows() -> None:
    rows = Rows.of(load_task("sst2"), "train", [Example.of((f"t {i}",), i % 2) for i in range(50)], "made")
    train, dev = hold_out(rows, 500, 0, share=0.1)
    assert (len(train), sizes(dev.examples, 2)) == (45, [3, 2])


@given(requests())
def test_a_selection_counts_its_rows(request: tuple[list[int], int, int]) -> None:
    counts, n, seed = request
    rows = Rows.of(load_task("sst2"), "train", [Example.of((f"t {i}",), i % 2) for i in range(sum(counts))], "made")
    train, _ = hold_out(Stream(rows), n, seed)
    assert isinstance(train, Selection)
    assert len(train) == len(list(train)) == len(rows) - n
    assert [int(e.digest, 16) for e in train] == train.digests.tolist()


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(f'{{"sentence": "s {i}", "label": {i % 2}}}\n' for i in range(20)))
    train, _ = hold_out(stream_rows(path, load_task("sst2")), 4, 0)
    path.write_text(path.read_text() * 2)
    with pytest.raises(TaskError, match=r"train\.jsonl was changed while it was being read"):
        list(train)


def test_a_long_stream_is_split_in_a_few_bytes_a_row() -> None:
    import tracemalloc

    n, text, task = 6_000, "word " * 100, load_task("sst2")
    stream = RowStream(
        lambda: ((i, {"sentence": f"{i} {text}", "label": i % 2}) for i in range(n)),
        task,
        "train",
        "made",
        size=n * 500,
    )
    hold_out(stream, 4, 1)  # what is imported does not count
    tracemalloc.start()
    train, dev = hold_out(stream, 500, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(train), len(dev)) == (n - 500, 500)
    assert peak < 150 * n + 500 * 2 * len(text), f"{peak / n:.0f} bytes a row"


def test_real_paragraphs(real_rows: Path) -> None:
    """MultiRC: 500 of 2,286 rows held out, and no paragraph is read on both sides."""
    rows = read_rows(real_rows / "multirc" / "train.jsonl", MULTIRC)
    train, dev = hold_out(rows, 500, 0)
    assert 480 <= len(dev) <= 500
    assert len(train) + len(dev) >= len(rows) - 60  # repeated rows of dev are in neither
    for one, other in ((train, dev), (draw_fewshot(rows, 16, 0).train, draw_fewshot(rows, 16, 0).dev)):
        assert not {e.texts[1] for e in one} & {e.texts[1] for e in other}
