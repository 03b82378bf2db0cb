import random

import pytest

from tasks import METRICS, TaskError, primary_metric, score


def test_hand_computed_binary_case() -> None:
    # tp 2, fp 1, fn 2, tn 3
    labels = [1, 1, 1, 1, 0, 0, 0, 0]
    predictions = [1, 1, 0, 0, 1, 0, 0, 0]
    got = score("accuracy+f1+macro_f1+matthews", predictions, labels, 2)
    assert got["accuracy"] == 5 / 8
    assert got["f1"] == pytest.approx(4 / 7)  # precision 2/3, recall 1/2
    assert got["macro_f1"] == pytest.approx((4 / 7 + 6 / 9) / 2)
    assert got["matthews"] == pytest.approx((2 * 3 - 1 * 2) / (3 * 4 * 4 * 5) ** 0.5)
    assert list(got) == ["accuracy", "f1", "macro_f1", "matthews"]


def test_hand_computed_three_classes() -> None:
    labels, predictions = [0, 0, 1, 1, 2], [0, 1, 1, 1, 0]
    got = score("accuracy+macro_f1", predictions, labels, 3)
    assert got == {"accuracy": 3 / 5, "macro_f1": pytest.approx((1 / 2 + 4 / 5 + 0) / 3)}


def test_borders() -> None:
    assert score("accuracy+f1+matthews", [0, 0], [0, 0], 2) == {"accuracy": 1.0, "f1": 0.0, "matthews": 0.0}
    assert score("matthews", [1, 0], [0, 1], 2) == {"matthews": -1.0}
    # a class that occurs on neither side does not count, as in the benchmark's own script
    assert score("macro_f1", [0, 1], [0, 1], 3) == {"macro_f1": 1.0}


def test_unrecognised_predictions_are_wrong() -> None:
    assert score("accuracy+macro_f1", [-1, 1], [0, 1], 2) == {"accuracy": 0.5, "macro_f1": 0.5}
    assert score("macro_f1", [-1], [0], 2) == {"macro_f1": 0.0}


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_sklearn(seed: int) -> None:
    from sklearn import metrics

    rng = random.Random(seed)
    labels, predictions = [rng.randrange(4) for _ in range(60)], [rng.randrange(4) for _ in range(60)]
    got = score("accuracy+macro_f1+matthews", predictions, labels, 4)
    assert got["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predictions))
    assert got["macro_f1"] == pytest.approx(metrics.f1_score(labels, predictions, average="macro"))
    assert got["matthews"] == pytest.approx(metrics.matthews_corrcoef(labels, predictions))
    binary = [[value % 2 for value in values] for values in (predictions, labels)]
    assert score("f1", *binary, 2)["f1"] == pytest.approx(metrics.f1_score(binary[1], binary[0]))


def test_primary_is_the_first() -> None:
    assert primary_metric("matthews+accuracy") == "matthews"
    assert all(primary_metric(name) == name for name in METRICS)


def test_errors() -> None:
    with pytest.raises(TaskError, match=r"unknown metric 'acc'"):
        score("acc", [0], [0], 2)
    with pytest.raises(TaskError, match=r"2 predictions for 1 labels"):
        score("accuracy", [0, 1], [0], 2)
    with pytest.raises(TaskError, match=r"no rows to score"):
        score("accuracy", [], [], 2)
    with pytest.raises(TaskError, match=r"prediction 2 is out of range: ids of 2 classes are 0 to 1"):
        score("accuracy", [0, 2], [0, 1], 2)
    with pytest.raises(TaskError, match=r"label -1 is out of range"):
        score("accuracy", [0, 1], [0, -1], 2)
    with pytest.raises(TaskError, match=r"use 'macro_f1'"):
        score("f1", [0], [0], 3)
