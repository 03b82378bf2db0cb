import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import LabelMap, TaskError, label_map, load_task, match_labels, task_names

NLI = ("entailment", "neutral", "contradiction")


def test_labels_match_by_name_whatever_their_order() -> None:
    assert label_map(load_task("cb"), "mnli", NLI) == LabelMap({0: 0, 1: 2, 2: 1}, "name")
    assert label_map(load_task("cb"), "sample.mnli", NLI).how == "name"
    assert label_map(load_task("mnli"), "rte", ("entailment", "not_entailment")) == LabelMap({0: 0}, "name")
    assert label_map(load_task("sst2"), "mnli", NLI) == LabelMap({}, "none")


def test_a_map_says_what_names_cannot() -> None:
    qqp = load_task("qqp").labels
    assert label_map(load_task("mrpc"), "qqp", qqp) == LabelMap({0: 0, 1: 1}, "map")
    assert label_map(load_task("mrpc"), "sample.qqp", qqp[::-1]) == LabelMap({0: 1, 1: 0}, "map")
    assert label_map(load_task("rte"), "mnli", NLI) == LabelMap({0: 0, 1: 1}, "map")
    assert label_map(load_task("qnli"), "snli", NLI) == LabelMap({0: 0, 1: 1}, "map")
    assert label_map(load_task("scitail"), "rte", ("entailment", "not_entailment")) == LabelMap({0: 0, 1: 1}, "map")
    assert label_map(load_task("scitail"), "mnli", NLI) == LabelMap({0: 0, 1: 1}, "name")


def test_the_sample_form_of_a_target_has_the_same_map() -> None:
    target = load_task("mrpc").with_prefix("sample.")
    assert label_map(target, "sample.qqp", load_task("qqp").labels).how == "map"


def test_equal_names_can_be_said_to_mean_nothing() -> None:
    assert label_map(load_task("wic"), "boolq", ("False", "True")) == LabelMap({}, "none")
    assert label_map(load_task("multirc"), "boolq", ("False", "True")) == LabelMap({0: 0, 1: 1}, "name")


def test_a_label_the_map_leaves_out_starts_fresh() -> None:
    target = replace(load_task("cb"), labels_from={"mine": {"neutral": "unknown"}})
    assert label_map(target, "mine", ("entailment", "unknown")) == LabelMap({2: 1}, "map")


def test_a_label_the_source_does_not_have() -> None:
    with pytest.raises(
        TaskError, match=r"'not_duplicate' for the source qqp, which has no, duplicates; did you mean 'duplicates'"
    ):
        label_map(load_task("mrpc"), "qqp", ("no", "duplicates"))


def test_maps_of_the_catalogue_name_labels_that_are_there() -> None:
    found = 0
    for name in task_names():
        for source, names in load_task(name).labels_from.items():
            assert set(names.values()) <= set(load_task(source).labels), (name, source)
            found += 1
    assert found >= 20


@pytest.mark.parametrize(
    ("sources", "targets", "mapping"),
    [
        (["entailment", "neutral", "contradiction"], ["contradiction", "entailment", "neutral"], {0: 2, 1: 0, 2: 1}),
        (["entailment", "not_entailment"], ["Not-Entailment", "ENTAILMENT "], {0: 1, 1: 0}),
        (["not  entailment"], ["not_entailment", "other"], {0: 0}),
        (["negative", "positive"], ["yes", "no"], {}),
        (["1", "0"], ["-1", "1"], {1: 0}),
        (["Yes", "yes"], ["yes", "YES"], {0: 1, 1: 0}),
        (["YES", "yEs"], ["yes"], {}),
        (["yes"], ["YES", "yEs"], {}),
        (["-", "+"], ["+", "-", "_"], {0: 1, 1: 0}),
        ([], ["a"], {}),
    ],
)
def test_match_labels(sources: list[str], targets: list[str], mapping: dict[int, int]) -> None:
    assert match_labels(sources, targets) == mapping


labels = st.lists(st.text(string.ascii_letters[:2] + "AB _-1", max_size=4), max_size=6, unique=True)


@given(labels, labels)
def test_matches_are_one_to_one_and_symmetric(sources: list[str], targets: list[str]) -> None:
    mapping = match_labels(sources, targets)
    assert len(set(mapping.values())) == len(mapping)
    assert {v: k for k, v in mapping.items()} == match_labels(targets, sources)
    assert match_labels(sources, sources) == {i: i for i in range(len(sources))}
