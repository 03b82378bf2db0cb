import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts_store import StoreError, clean_name, model_name, original_name
from prompts_store.names import MAX_NAME

# Names full of the characters that the rules are about.
tricky = st.text(st.sampled_from("ab-/~._:\\ é\0%'2d"), min_size=1, max_size=12)
texts = st.one_of(tricky, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("minilm", "minilm"),
        ("google-t5/t5-base", "google-t5--t5-base"),
        ("sample.mnli", "sample.mnli"),
        ("a--b", "a~2d~2db"),
        ("a:b c", "a~3ab~20c"),
        ("../x", "~2e.--x"),
        ("-rf", "~2drf"),
    ],
)
def test_examples(text: str, cleaned: str) -> None:
    assert clean_name(text) == cleaned


@given(texts)
def test_clean_names_are_safe_and_reversible(text: str) -> None:
    name = clean_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_~][A-Za-z0-9._~-]*|--[A-Za-z0-9._~-]*", name)
    assert len(name) <= MAX_NAME
    if "~~" in name:
        with pytest.raises(StoreError, match="was cut"):
            original_name(name)
    else:
        assert original_name(name) == text


@given(st.tuples(tricky, tricky), st.tuples(tricky, tricky))
def test_names_do_not_collide(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (model_name("dept", *one) == model_name("dept", *other)) == (one == other)


def test_hyphens_do_not_move_between_backbone_and_task() -> None:
    assert model_name("dept", "bert", "base-cb") != model_name("dept", "bert-base", "cb")


def test_long_names_differ_after_the_cut() -> None:
    one, other = clean_name("x" * 500 + "1"), clean_name("x" * 500 + "2")
    assert one != other
    assert len(one) == len(other) == MAX_NAME


def test_mlflow_takes_every_clean_name() -> None:
    from mlflow.utils.validation import _validate_model_name

    for text in ("google-t5/t5-base", "..", "a/../b", "./x", "~", "a:b", "/", "//", "é" * 300):
        _validate_model_name(model_name("dept", text, text))


@pytest.mark.parametrize("text", ["", "\ud800"])
def test_refused(text: str) -> None:
    with pytest.raises(StoreError):
        clean_name(text)


@pytest.mark.parametrize("method", ["", "Dept", "a-b", "a/b"])
def test_refused_methods(method: str) -> None:
    with pytest.raises(StoreError, match="method"):
        model_name(method, "minilm", "cb")


@pytest.mark.parametrize("name", ["a/b", "a~zz", "~ff", "a~41"])
def test_not_a_cleaned_name(name: str) -> None:
    with pytest.raises(StoreError):
        original_name(name)
