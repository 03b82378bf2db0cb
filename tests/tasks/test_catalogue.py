import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tasks import Example, HubSource, TaskError, load_task, task_names

GLUE = ["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2"]
SUPERGLUE = ["boolq", "cb", "wic"]
OTHERS = ["ag_news", "imdb", "paws", "scitail", "snli", "trec", "yelp_polarity"]
NAMES = sorted(GLUE + SUPERGLUE + OTHERS)


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
    text = task.render(Example.of(tuple(f"text {i}" for i in range(len(task.fields))), 0))
    assert all(f"text {i}" in text for i in range(len(task.fields)))
    assert text.endswith(":"), "a label word has to follow naturally"
    assert pickle.loads(pickle.dumps(task)) == task
    assert isinstance(hash(task), int)


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
        ({"form": "triple"}, "form is 'triple': the forms are single, pair"),
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
        ({"hub": {"path": "a/b"}}, "missing key 'hub.splits'"),
        ({"hub": {"path": "a/b", "splits": {"train": "train"}}}, "must name 'train' and 'validation'"),
        ({"hub": {"path": "a/b", "splits": {"train": "train", "dev": "dev"}}}, "hub.splits has 'dev'"),
    ],
)
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
