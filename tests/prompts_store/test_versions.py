"""What is read out of the registry, where anyone may write, and the choice of the best."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts_store.errors import StoreError
from prompts_store.versions import TAG, StoredPrompt, best, by_score, marked_best, matching, read_versions, version_tags
from tests.prompts_store.conftest import make_card

GOOD = json.loads(version_tags(make_card(tensors_sha256="d" * 64), card_sha256="e" * 64, model_id="m-1")[TAG])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


def version(tag: str | None, name: str = "nli", number: str | int = 1) -> SimpleNamespace:
    tags = {} if tag is None else {TAG: tag}
    return SimpleNamespace(name=name, version=number, tags=tags, run_id="", source=None)


def prompt(number: int, **changes: Any) -> StoredPrompt:
    (read,) = read_versions([version(json.dumps(GOOD | changes), number=number)], {})
    return read


def test_numbers_may_be_text() -> None:
    texts = [version(json.dumps(GOOD), number=number) for number in ("10", "9")]
    prompts = read_versions(texts, {"nli": {"best": "9", "mine": "10"}})
    assert [(p.version, p.aliases) for p in prompts] == [(9, ("best",)), (10, ("mine", "latest"))]
    assert prompts[0].run_id is None


@given(tag=st.none() | st.text(max_size=99) | JSON.map(json.dumps))
def test_any_text_in_the_tag_is_passed_over(tag: str | None) -> None:
    assert read_versions([version(tag)], {}) == []


@given(field=st.sampled_from(sorted(GOOD)), value=JSON)
def test_any_value_in_the_tag_is_of_the_right_kind_or_passed_over(field: str, value: Any) -> None:
    for read in read_versions([version(json.dumps(GOOD | {field: value}))], {}):
        kind = {"k": int, "dev_score": float, "origin_run": str}.get(field, type(GOOD[field]))
        got = getattr(read, field)
        assert type(got) is kind or (got is None and field in ("k", "dev_score", "origin_run"))
        assert got == got, "a score that is not a number could be neither better nor worse"
        assert {read}, "a prompt can be put into a set"


def test_a_field_that_is_missing_makes_it_none_of_ours() -> None:
    for field in GOOD:
        assert read_versions([version(json.dumps({n: v for n, v in GOOD.items() if n != field}))], {}) == []


def test_fields_of_later_versions_are_let_through() -> None:
    assert prompt(1, surprise=3).version == 1


def test_the_best_of_several_names() -> None:
    marked = prompt(1, dev_score=0.1).model_copy(update={"aliases": ("best",)})
    others = [prompt(2, dev_score=0.9), *(prompt(n, dev_score=n / 10).model_copy(update={"name": "b"}) for n in (3, 4))]
    left = marked_best([marked, *others])
    assert [(p.name, p.version) for p in left] == [("nli", 1), ("b", 3), ("b", 4)]
    assert best(left).ref == "b/4"
    with pytest.raises(StoreError, match="no stored prompt to choose from"):
        best([])


def test_unknown_scores_come_last_and_fit_no_minimum() -> None:
    prompts = [prompt(1, dev_score=None), prompt(2, dev_score=-1.0), prompt(3, dev_score=0.5)]
    assert [p.version for p in sorted(prompts, key=by_score)] == [3, 2, 1]
    assert [p.version for p in matching(prompts, min_score=-5)] == [2, 3]
