import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import Example, FewShotDraw, Rows, TaskError, draw_fewshot, find_leaks, hold_out, load_task

CB, SST2, TREC = load_task("cb"), load_task("sst2"), load_task("trec")
TASKS = {2: SST2, 3: CB, 6: TREC}


def make(counts: list[int], order: int = 0) -> Rows:
    task = TASKS[len(counts)]
    examples = [
        Example.of(tuple(f"{field} {label} {i}" for field in task.fields), label)
        for label, count in enumerate(counts)
        for i in range(count)
    ]
    random.Random(order).shuffle(examples)
    return Rows.of(task, "train", examples, "made")


def sizes(examples: tuple[Example, ...], n: int) -> list[int]:
    counts = Counter(example.label for example in examples)
    return [counts[label] for label in range(n)]


def assert_level(chosen: list[int], available: list[int]) -> None:
    """Assert that classes differ by at most one, but for those that ran out."""
    for size, limit in zip(chosen, available, strict=True):
        assert size <= limit
        assert size == limit or size >= max(chosen) - 1


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[int], int, int]:
    n = draw(st.sampled_from([2, 3, 6]))
    counts = draw(st.lists(st.integers(0, 40), min_size=n, max_size=n).filter(lambda c: sum(c) >= 2 * n))
    return counts, draw(st.integers(n, sum(counts) // 2)), draw(st.integers(0, 2**32))


@given(requests())
def test_size_balance_and_disjointness(request: tuple[list[int], int, int]) -> None:
    counts, k, seed = request
    drawn = draw_fewshot(make(counts), k, seed)
    assert len(drawn.train) == len(drawn.dev) == k
    train, dev = sizes(drawn.train, len(counts)), sizes(drawn.dev, len(counts))
    assert_level(train, counts)
    assert_level(dev, [count - size for count, size in zip(counts, train, strict=True)])
    assert len({example.digest for example in drawn.train + drawn.dev}) == 2 * k
    assert (max(train) - min(train) > 1) == any("train is not balanced" in note for note in drawn.notes)
    assert (max(dev) - min(dev) > 1) == any("dev is not balanced" in note for note in drawn.notes)


@given(requests(), st.integers(1, 1000), st.sampled_from(["k", "full", "none"]))
def test_order_of_rows_changes_nothing(request: tuple[list[int], int, int], order: int, dev: str) -> None:
    counts, k, seed = request
    assert draw_fewshot(make(counts), k, seed, dev=dev) == draw_fewshot(make(counts, order), k, seed, dev=dev)


@given(requests())
def test_dev_full_and_none(request: tuple[list[int], int, int]) -> None:
    counts, k, seed = request
    rows = make(counts)
    full = draw_fewshot(rows, k, seed, dev="full")
    assert len(full.dev) == len(rows) - k
    assert set(full.train).isdisjoint(full.dev)
    none = draw_fewshot(rows, k, seed, dev="none")
    assert none == FewShotDraw(full.train, (), none.notes)
    assert draw_fewshot(rows, k, seed).train == full.train


def test_seeds_differ_and_extra_rows_rotate() -> None:
    rows = make([50, 50, 50])
    assert len({frozenset(draw_fewshot(rows, 16, seed).train) for seed in range(20)}) == 20
    assert {tuple(sizes(draw_fewshot(rows, 16, seed).train, 3)) for seed in range(6)} == {
        (6, 5, 5),
        (5, 6, 5),
        (5, 5, 6),
    }


def test_smaller_draws_are_part_of_larger_ones() -> None:
    rows = make([50, 50, 50])
    assert set(draw_fewshot(rows, 4, 3).train) < set(draw_fewshot(rows, 16, 3).train)


def test_cb_with_its_sixteen_neutral_rows() -> None:
    rows = make([115, 119, 16])
    for seed in range(6):
        drawn = draw_fewshot(rows, 16, seed)
        assert sorted(sizes(drawn.train, 3)) == sorted(sizes(drawn.dev, 3)) == [5, 5, 6]
        assert drawn.notes == ()
        drawn = draw_fewshot(rows, 32, seed)
        assert sorted(sizes(drawn.train, 3)) == [10, 11, 11]
        assert sum(sizes(drawn.dev, 3)) == 32
        assert sizes(drawn.train, 3)[2] + sizes(drawn.dev, 3)[2] == 16
        assert len(drawn.notes) == 1


def test_per_class() -> None:
    rows = make([115, 119, 16])
    drawn = draw_fewshot(rows, 4, 0, per_class=True)
    assert sizes(drawn.train, 3) == sizes(drawn.dev, 3) == [4, 4, 4]
    assert sizes(draw_fewshot(rows, 16, 0, per_class=True, dev="none").train, 3) == [16, 16, 16]
    with pytest.raises(TaskError, match=r"k=9 per class needs 18 .*'neutral' has too few .*neutral 16.*--dev none"):
        draw_fewshot(rows, 9, 0, per_class=True)
    with pytest.raises(TaskError, match=r"must be at least 1"):
        draw_fewshot(rows, 0, 0, per_class=True)


def test_errors_state_the_counts() -> None:
    rows = make([10, 10, 5])
    with pytest.raises(TaskError, match=r"k=2 is smaller than the 3 classes of cb.*use 3 or more"):
        draw_fewshot(rows, 2, 0)
    with pytest.raises(TaskError, match=r"k=13 needs 26 different rows of cb .*there are 25 .*neutral 5\): lower k"):
        draw_fewshot(rows, 13, 0)
    with pytest.raises(TaskError, match=r"k=26 needs 26 different rows"):
        draw_fewshot(rows, 26, 0, dev="none")
    with pytest.raises(TaskError, match=r"dev is 'all'"):
        draw_fewshot(rows, 4, 0, dev="all")  # type: ignore[arg-type]


def test_same_texts_count_once_and_stay_on_one_side() -> None:
    twins = [
        Example.of((f"{'A' if copy else 'a'} text {i}{' ' * copy}",), (i + (copy == 2)) % 2)
        for i in range(20)
        for copy in range(3)
    ]
    rows = Rows.of(SST2, "train", twins, "made")
    for dev in ("k", "full"):
        drawn = draw_fewshot(rows, 8, 1, dev=dev)
        assert find_leaks(drawn.train, drawn.dev) == []
        assert len({example.texts[0].strip().lower() for example in drawn.train}) == 8
    with pytest.raises(TaskError, match=r"there are 20"):
        draw_fewshot(rows, 11, 1)
    train, dev_rows = hold_out(rows, 5, 0)
    assert find_leaks(train.examples, dev_rows.examples) == []


@given(requests())
def test_hold_out(request: tuple[list[int], int, int]) -> None:
    counts, n, seed = request
    rows = make(counts)
    train, dev = hold_out(rows, n, seed)
    assert len(dev) == n
    assert len(train) == len(rows) - n
    assert set(train.examples).isdisjoint(dev.examples)
    for size, count in zip(sizes(dev.examples, len(counts)), counts, strict=True):
        assert abs(size - n * count / len(rows)) < 1
    assert hold_out(make(counts, 5), n, seed)[1] == dev
    assert dev.split == "dev"


def test_hold_out_refuses_what_it_cannot_do() -> None:
    for n in (0, 20):
        with pytest.raises(TaskError, match=f"cannot hold {n} of the 20 different rows"):
            hold_out(make([10, 10]), n, 0)
