import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import (
    Example,
    FewShotDraw,
    Rows,
    RowStream,
    TaskError,
    draw_fewshot,
    find_leaks,
    hold_out,
    load_task,
    read_rows,
    stream_rows,
)
from tasks._pools import Strata, first_of_pools, pools, rank
from tasks._rows import text_key

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


class Stream(RowStream):
    """Rows in memory that are only gone through."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(list, rows.task, rows.split, rows.source, size=0)
        self._examples = rows.examples

    def __iter__(self) -> Iterator[Example]:
        return iter(self._examples)


@st.composite
def rows_with_twins(draw: st.DrawFn) -> Rows:
    """Few different texts, so that the same text often stands there several times, with the same or another label."""
    n = draw(st.sampled_from([2, 3]))
    texts, labels = st.integers(0, draw(st.integers(4, 60))), st.integers(0, n - 1)
    drawn = draw(st.lists(st.tuples(texts, labels), min_size=6, max_size=200))
    fields = len(TASKS[n].fields)
    return Rows.of(TASKS[n], "train", [Example.of((f"text {i}",) * fields, label) for i, label in drawn], "made")


def drawn_or_refused(rows: Rows | RowStream, k: int, seed: int, dev: str, per_class: bool) -> object:
    try:
        return draw_fewshot(rows, k, seed, dev=dev, per_class=per_class)
    except TaskError as error:
        return str(error).partition("(")[0]


@given(rows_with_twins(), st.integers(2, 20), st.integers(0, 99), st.sampled_from(["k", "none"]), st.booleans())
def test_a_stream_gives_the_same_draw(rows: Rows, k: int, seed: int, dev: str, per_class: bool) -> None:
    asked = (k, seed, dev, per_class)
    assert drawn_or_refused(Stream(rows), *asked) == drawn_or_refused(rows, *asked)


@given(rows_with_twins(), st.integers(2, 20), st.integers(0, 99), st.randoms())
def test_order_changes_nothing_where_texts_repeat(rows: Rows, k: int, seed: int, rng: random.Random) -> None:
    shuffled = list(rows.examples)
    rng.shuffle(shuffled)
    other = Rows.of(rows.task, rows.split, shuffled, rows.source)
    assert drawn_or_refused(other, k, seed, "k", False) == drawn_or_refused(rows, k, seed, "k", False)


def test_a_stream_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    row = {"premise": "It rains.", "hypothesis": "h"}
    path.write_text("\n".join(json.dumps(row | {"premise": f"p {i}", "label": i % 7 % 3}) for i in range(500)))
    stream, rows = stream_rows(path, CB), read_rows(path, CB)
    assert draw_fewshot(stream, 16, 3) == draw_fewshot(rows, 16, 3)
    with pytest.raises(TaskError, match="use dev 'k' or 'none'"):
        draw_fewshot(stream, 16, 3, dev="full")
    with pytest.raises(TaskError, match="read them with read_rows"):
        draw_fewshot(stream, 16, 3, protocol="released")


STSB = load_task("stsb")


def valued(values: list[float], order: int = 0) -> Rows:
    examples = [Example.valued((f"a {i}", f"b {i}"), value) for i, value in enumerate(values)]
    random.Random(order).shuffle(examples)
    return Rows.of(STSB, "train", examples, "made")


@given(st.lists(st.floats(0, 5), min_size=12, max_size=120), st.integers(1, 6), st.integers(0, 99), st.integers(1, 9))
def test_a_regression_is_drawn_over_its_whole_range(values: list[float], k: int, seed: int, order: int) -> None:
    rows = valued(values)
    drawn = draw_fewshot(rows, k, seed)
    assert len(drawn.train) == len(drawn.dev) == k
    assert set(drawn.train).isdisjoint(drawn.dev)
    assert draw_fewshot(valued(values, order), k, seed) == drawn
    parts = [sum(low < value <= low + 1 or value == low == 0 for value in values) for low in range(5)]
    chosen = [
        sum(low < e.value <= low + 1 or e.value == low == 0 for e in drawn.train if e.value is not None)
        for low in range(5)
    ]
    assert_level(chosen, parts)


def test_a_regression_held_out_keeps_its_proportions() -> None:
    train, dev = hold_out(valued([0.5] * 80 + [4.5] * 20), 10, 0)
    assert Counter(example.value for example in dev.examples) == {0.5: 8, 4.5: 2}
    assert len(train) == 90
    with pytest.raises(TaskError, match="stsb has no classes to draw 4 rows of each"):
        draw_fewshot(valued([1.0] * 20), 4, 0, per_class=True)


def test_rows_with_answers_are_drawn_without_classes() -> None:
    squad = load_task("squad")
    rows = Rows.of(squad, "train", [Example.answered((f"q {i}", "c"), ("a",)) for i in range(9)], "made")
    drawn = draw_fewshot(rows, 3, 0)
    assert len({*drawn.train, *drawn.dev}) == 6
    assert drawn.notes == ()
    with pytest.raises(TaskError, match="k=0: must be at least 1"):
        draw_fewshot(rows, 0, 0)
    with pytest.raises(TaskError, match="the released sampler draws by class, squad has none"):
        draw_fewshot(rows, 3, 0, protocol="released")


class TestReleased:
    """The sampler of the released code, whose faults are named in the docs."""

    def test_four_rows_of_two_classes_can_be_one_and_three(self) -> None:
        rows = make([50, 50])
        found = {
            tuple(sizes(draw_fewshot(rows, 4, seed, protocol="released", dev="none").train, 2)) for seed in range(40)
        }
        assert found == {(2, 2), (1, 3), (3, 1)}

    def test_thirty_two_rows_of_three_classes_are_thirty(self) -> None:
        drawn = draw_fewshot(make([50, 50, 50]), 32, 0, protocol="released", dev="none")
        assert sizes(drawn.train, 3) == [10, 10, 10]
        assert drawn.notes == ("the released sampler drew 30 of k=32: entailment 10, contradiction 10, neutral 10",)
        assert len(draw_fewshot(make([50, 50, 50]), 16, 0, protocol="released", dev="none").train) == 16

    def test_it_shuffles_as_the_datasets_library_does(self) -> None:
        import datasets

        rows = make([30, 30])
        order = datasets.Dataset.from_dict({"i": range(60)}).shuffle(seed=7)["i"]
        taken = [rows.examples[i] for i in order]
        drawn = draw_fewshot(rows, 16, 7, protocol="released", dev="none").train
        assert [example for example in taken if example in drawn] == list(drawn)
        assert drawn[0] == taken[0]
        other = Rows.of(SST2, "train", rows.examples[::-1], "made")
        assert draw_fewshot(other, 16, 7, protocol="released", dev="none").train != drawn, "as released: by file order"

    @given(requests(), st.sampled_from(["k", "full", "none"]))
    def test_any_distribution(self, request: tuple[list[int], int, int], dev: str) -> None:
        counts, k, seed = request
        rows = make(counts)
        drawn = draw_fewshot(rows, k, seed, protocol="released", dev=dev)
        share = k // len(counts)
        assert len(drawn.train) <= k
        assert sum(max(0, size - share) for size in sizes(drawn.train, len(counts))) <= 1
        assert find_leaks(drawn.train, drawn.dev) == []
        assert len(drawn.dev) <= {"k": k, "full": len(rows) - len(drawn.train), "none": 0}[dev]
        assert drawn == draw_fewshot(rows, k, seed, protocol="released", dev=dev), "no count is carried over"

    def test_a_regression_is_cut_at_the_middle(self) -> None:
        rows = valued([2.5] * 20 + [2.6] * 20)
        drawn = draw_fewshot(rows, 9, 0, protocol="released", dev="none").train
        assert sorted(Counter(example.value for example in drawn).values()) == [4, 5]

    def test_what_it_cannot_do(self) -> None:
        with pytest.raises(TaskError, match="the released sampler has no --per-class"):
            draw_fewshot(make([9, 9]), 2, 0, protocol="released", per_class=True)
        with pytest.raises(TaskError, match="protocol is 'other'"):
            draw_fewshot(make([9, 9]), 2, 0, protocol="other")  # type: ignore[arg-type]


def test_choices_are_drawn_by_the_right_option() -> None:
    copa = replace(load_task("copa"), name="mine")
    rows = Rows.of(copa, "train", [Example.of((f"p {i}", "a", "b"), i % 2) for i in range(20)], "made")
    assert sizes(draw_fewshot(rows, 4, 0).train, 2) == [2, 2]


@given(rows_with_twins(), st.integers(0, 99), st.integers(1, 4))
def test_first_of_pools_are_the_first_of_the_pools(rows: Rows, seed: int, count: int) -> None:
    strata = Strata.of_task(rows.task)
    whole = [pool[:count] for pool in pools(rows.examples, strata, seed)]
    assert first_of_pools(rows.examples, strata, seed, count) == whole


def test_first_of_pools_looks_for_more_where_candidates_belong_to_another_class() -> None:
    # each of 60 texts stands in both classes, and class 0 wins all but the last five by rank
    ordered = sorted((f"text {i}" for i in range(60)), key=lambda text: rank(text_key((text,)), 0))
    examples = []
    for place, text in enumerate(ordered):
        both = sorted((Example.of((text,), label) for label in (0, 1)), key=lambda e: e.digest)
        winner = int(place >= 55)
        examples += both if both[0].label == winner else [e for e in both if e.label == winner]
    strata = Strata.of_task(SST2)
    assert any(e.label == 1 for e in examples[:100])
    found = first_of_pools(examples, strata, 0, 2)
    assert found == [pool[:2] for pool in pools(examples, strata, 0)]
    assert [example.texts[0] for example in found[1]] == ordered[55:57]
