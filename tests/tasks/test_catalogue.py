import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tasks import ENCODER_FORMS, Example, HubSource, TaskError, load_task, task_names
from tasks._hub import _check_columns, _check_label_names

GLUE = ["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb"]
SUPERGLUE = ["boolq", "cb", "copa", "multirc", "record", "wic", "wsc"]
MRQA = ["hotpotqa", "newsqa", "nq", "searchqa", "squad"]
OTHERS = ["ag_news", "imdb", "paws", "scitail", "snli", "trec", "winogrande", "yelp_polarity"]
NAMES = sorted(GLUE + SUPERGLUE + MRQA + OTHERS)
HUB = json.loads((Path(__file__).parent / "hub_metadata.json").read_text())["data_sets"]
EXAMPLES = {
    "class": lambda texts: Example.of(texts, 0),
    "value": lambda texts: Example.valued(texts, 1.0),
    "answers": lambda texts: Example.answered(texts, ("an answer",)),
}


def test_catalogue_holds_the_tasks() -> None:
    assert task_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_task_is_whole(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    assert task.version >= 1
    assert task.hub is not None
    assert "/" in task.hub.path, "datasets runs no scripts: the repository needs its owner's name"
    assert task.title
    assert task.description
    assert len(task.label_words) == len(task.labels)
    example = EXAMPLES[task.gold](tuple(f"text {i}" for i in range(len(task.fields))))
    text = task.render(example)
    assert all(f"text {i}" in text for i in range(len(task.fields)))
    assert text.endswith(":"), "an answer has to follow naturally"
    assert task.answer(example)
    assert (task.form in ENCODER_FORMS) == (name not in {"copa", "winogrande", "record", *MRQA})
    assert pickle.loads(pickle.dumps(task)) == task
    assert isinstance(hash(task), int)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_the_hub(name: str) -> None:
    task, there = load_task(name), HUB[name]
    assert task.hub is not None
    assert task.hub.path == there["path"]
    assert task.hub.name == there["config"]
    assert set(task.hub.splits.values()) <= set(there["splits"])
    _check_columns(task, there["columns"], name)
    assert task.label_field == there["label"]
    _check_label_names(task, there["label_names"], name)
    assert not there["label_names"] or len(there["label_names"]) == len(task.labels)
    assert there["confirmed"].keys() == {"where", "what"}


def test_forms() -> None:
    forms = {name: load_task(name).form for name in NAMES}
    assert {name for name, form in forms.items() if form == "choice"} == {"copa", "winogrande"}
    assert {name for name, form in forms.items() if form == "span"} == {"record", *MRQA}
    assert {name for name, form in forms.items() if form == "regression"} == {"stsb"}
    assert {load_task(name).max_length for name in MRQA} == {512}
    assert load_task("multirc").max_length == 348


def test_label_words_and_digits() -> None:
    cb = load_task("cb")
    assert cb.words() == ("yes", "no", "maybe")
    assert cb.words("digits") == ("0", "1", "2")
    example = Example.of(("It rains.", "It is wet."), 2)
    assert (cb.answer(example), cb.answer(example, "digits")) == ("maybe", "2")


@pytest.mark.parametrize(("value", "said"), [(0.0, "0.0"), (4.75, "4.8"), (2.5, "2.4"), (3.09, "3.0"), (5.0, "5.0")])
def test_numbers_are_said_in_steps(value: float, said: str) -> None:
    assert load_task("stsb").answer(Example.valued(("a", "b"), value)) == said


def test_both_options_are_shown() -> None:
    text = load_task("winogrande").render(Example.of(("_ ran.", "Ann", "Bob"), 1))
    assert "option 1: Ann" in text
    assert "option 2: Bob" in text


def test_label_order_is_the_hubs() -> None:
    assert load_task("mnli").labels == ("entailment", "neutral", "contradiction")
    assert load_task("cb").labels == ("entailment", "contradiction", "neutral")
    assert load_task("trec").labels == ("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM")
    assert load_task("qnli").labels == ("entailment", "not_entailment")


def test_unknown_task_names_near_ones() -> None:
    with pytest.raises(TaskError, match=r"unknown task 'mnly'; did you mean 'mnli'.*orchestrator tasks list"):
        load_task("mnly")


def test_task_from_a_path(tmp_path: Path) -> None:
    task = write(tmp_path, {})
    assert load_task(task).labels == ("ham", "spam")
    assert load_task(str(task)).hub is None
    with pytest.raises(TaskError, match=r"no task file"):
        load_task(tmp_path / "other.yaml")


GOOD = {
    "name": "mail",
    "version": 1,
    "form": "single",
    "title": "Mail",
    "description": "Is it spam?",
    "fields": ["text"],
    "labels": ["ham", "spam"],
    "label_words": ["good", "bad"],
    "template": "mail: {text} This is",
    "metric": "accuracy+f1",
}


def write(folder: Path, changes: dict, without: str = "") -> Path:
    path = folder / "mail.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in (GOOD | changes).items() if key != without}))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lables": ["a"]}, "unknown key 'lables'; did you mean 'labels'"),
        ({"name": "post"}, "name is 'post': it must be the file's, 'mail'"),
        ({"form": "triple"}, "form is 'triple': the forms are single, pair, choice, span, regression"),
        ({"fields": ["text", "more"]}, "has 1 text field"),
        ({"labels": [False, True]}, "labels must hold strings, got False"),
        ({"labels": ["ham", "ham"]}, "labels must be two or more different names"),
        ({"label_words": ["good"]}, "label_words must be 2 different words"),
        ({"template": "mail: {mail} This is"}, "template must use each of"),
        ({"template": "mail: {text"}, "template .* is malformed"),
        ({"template": "mail: {text!r} This is"}, "only plain {field} names"),
        ({"metric": "acuracy"}, "unknown metric 'acuracy'.*did you mean 'accuracy'"),
        ({"version": "1"}, "version must be of type int, got '1'"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"label_aliases": {"junk": "spma"}}, "label_aliases maps 'junk' to 'spma'"),
        ({"compose": {"txt": "{a}"}}, "compose has 'txt'"),
        ({"form": "choice", "fields": ["text", "a", "b"]}, "template must use each of"),
        ({"form": "choice", "labels": ["a", "b", "c"], "label_words": ["1", "2", "3"], "fields": ["x", "y", "z"]},
         "a choice has one label per option and a text before the options"),
        ({"form": "span", "fields": ["text", "more"]}, "of form 'span' has no classes: leave labels, label_words"),
        ({"value_range": [0, 1]}, "value_range is for tasks of form 'regression'"),
        ({"value_range": [0]}, "value_range must hold two numbers"),
        ({"metric": "pearson"}, "unknown metric 'pearson': metrics are accuracy"),
        ({"metric": "question_match"}, "needs to know the question of each row"),
        ({"labels_from": {"enron": {"junk": "spam"}}}, "labels_from.enron has 'junk': labels are"),
        ({"labels_from": {"enron": "spam"}}, "labels_from.enron must be of type dict, got 'spam'"),
        ({"hub": {"path": "a/b"}}, "missing key 'hub.splits'"),
        ({"hub": {"path": "a/b", "splits": {"train": "train"}}}, "must name 'train' and 'validation'"),
        ({"hub": {"path": "a/b", "splits": {"train": "train", "dev": "dev"}}}, "hub.splits has 'dev'"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused_by_name(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(TaskError, match=message) as error:
        load_task(write(tmp_path, changes))
    assert "mail.yaml" in str(error.value)


def test_missing_keys_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"missing key 'metric'"):
        load_task(write(tmp_path, {}, without="metric"))
    (tmp_path / "mail.yaml").write_text("- 1\n- 2\n")
    with pytest.raises(TaskError, match=r"must hold keys and values"):
        load_task(tmp_path / "mail.yaml")
    (tmp_path / "mail.yaml").write_text("a: [")
    with pytest.raises(TaskError, match=r"not a YAML file"):
        load_task(tmp_path / "mail.yaml")


def test_a_regression_needs_its_range(tmp_path: Path) -> None:
    without = {key: value for key, value in GOOD.items() if not key.startswith("label")}
    (tmp_path / "mail.yaml").write_text(yaml.safe_dump(without | {"form": "regression", "metric": "pearson"}))
    with pytest.raises(TaskError, match="value_range must give the least and the greatest number, got None"):
        load_task(tmp_path / "mail.yaml")


def test_f1_needs_two_classes() -> None:
    with pytest.raises(TaskError, match=r"use 'macro_f1'"):
        replace(load_task("mnli"), metric="f1")


def test_prefix_and_braces() -> None:
    task = load_task("sst2").with_prefix("sample.")
    assert task.name == "sample.sst2"
    assert "a {curious} text" in task.render(Example.of(("a {curious} text",), 1))


def test_hub_splits_are_checked() -> None:
    with pytest.raises(TaskError, match=r"must name 'train' and 'validation'"):
        HubSource("a/b", {"train": "train"})


def test_all_but_those_nobody_is_known_to_have_pinned_name_a_commit() -> None:
    pinned = {name for name in NAMES if re.fullmatch("[0-9a-f]{40}", _revision(name))}
    following = {"hotpotqa", "newsqa", "nq", "scitail", "searchqa", "yelp_polarity"}
    assert set(NAMES) - pinned == {"trec"} | following
    assert _revision("trec") == "refs/convert/parquet"


def _revision(name: str) -> str:
    hub = load_task(name).hub
    return (hub.revision if hub else None) or ""
