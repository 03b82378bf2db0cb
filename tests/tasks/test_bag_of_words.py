from pathlib import Path

import pytest

from tasks import Example, Rows, TaskError, bag_of_words, load_task, read_rows, score

SST2, QQP = load_task("sst2"), load_task("qqp")
GOOD = ("good", "bad")


def rows(task, examples: list[Example]) -> Rows:
    return Rows.of(task, "train", examples, "made")


def test_it_learns_words() -> None:
    train = [Example.of((f"{('bad', 'good')[i % 2]} film {i}",), i % 2) for i in range(40)]
    assert bag_of_words(rows(SST2, train), rows(SST2, train[:4])) == [0, 1, 0, 1]


def test_it_tells_the_texts_of_a_pair_apart_and_what_they_share() -> None:
    order = [Example.of((f"{a} {i}", f"{b} {i}"), int(a == "good")) for i in range(30) for a, b in (GOOD, GOOD[::-1])]
    assert bag_of_words(rows(QQP, order), rows(QQP, order[:2])) == [1, 0]
    pairs = [("cat", "cat"), ("cat", "dog"), ("dog", "cat"), ("dog", "dog")]
    same = [Example.of((f"a {a} {i}", f"the {b} {-i}"), int(a == b == "cat")) for i in range(30) for a, b in pairs]
    assert bag_of_words(rows(QQP, same), rows(QQP, same[:4])) == [1, 0, 0, 0]


def test_what_it_cannot_learn_from() -> None:
    one = rows(SST2, [Example.of(("a",), 1)] * 3)
    with pytest.raises(TaskError, match="all 3 training rows of sst2 have the same class"):
        bag_of_words(one, one)
    valued = rows(load_task("stsb"), [Example.valued(("a", "b"), 1.0)])
    with pytest.raises(TaskError, match="stsb has no classes for a bag of words"):
        bag_of_words(valued, valued)


@pytest.mark.parametrize(("name", "least", "most"), [("sst2", 0.68, 0.82), ("wic", 0.45, 0.6), ("cola", 0.66, 0.72)])
def test_real_tasks(real_rows: Path, name: str, least: float, most: float) -> None:
    train, test = (read_rows(real_rows / name / f"{split}.jsonl", load_task(name)) for split in ("train", "validation"))
    labels = [example.label for example in test.examples]
    assert least < score("accuracy", bag_of_words(train, test), labels, 2)["accuracy"] < most
