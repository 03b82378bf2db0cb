import random

import pytest

from tasks import METRICS, TaskError, primary_metric, score, score_answers, score_values
from tasks._answers import normalised


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


def test_multirc_by_hand() -> None:
    # three questions: all right; one of two wrong; its only answer right
    groups, labels, predictions = ["a", "a", "b", "b", "c"], [1, 0, 1, 1, 0], [1, 0, 0, 1, 0]
    got = score("f1+question_match", predictions, labels, 2, groups)
    assert got == {"f1": pytest.approx(2 * 2 / (2 + 3)), "question_match": pytest.approx(2 / 3)}
    for missing in (None, groups[:2]):
        with pytest.raises(TaskError, match="needs each row's group"):
            score("question_match", predictions, labels, 2, missing)


def test_correlations_by_hand() -> None:
    # deviations (-1.5, -0.5, 0.5, 1.5) and (-1, 0, -1, 2): 1.5 + 0 - 0.5 + 3 over the root of 5 * 6
    got = score_values("pearson+spearman", [1, 2, 3, 4], [1, 2, 1, 4])
    assert got["pearson"] == pytest.approx(4 / 30**0.5)
    # ranks (0, 1, 2, 3) and (0.5, 2, 0.5, 3): deviations (-1, 0.5, -1, 1.5), 1.5 - 0.25 - 0.5 + 2.25 over 5 * 4.5
    assert got["spearman"] == pytest.approx(3 / 22.5**0.5)
    assert score_values("pearson+spearman", [1, 2, 4], [3, 2, 0]) == pytest.approx({"pearson": -1, "spearman": -1})
    assert score_values("spearman", [1, 10, 100], [1, 2, 3]) == pytest.approx({"spearman": 1})
    assert score_values("pearson+spearman", [0.1, 0.1, 0.1], [1, 2, 3]) == {"pearson": 0.0, "spearman": 0.0}


@pytest.mark.parametrize("seed", range(3))
def test_correlations_agree_with_scipy(seed: int) -> None:
    from scipy import stats

    rng = random.Random(seed)
    predictions = [round(rng.uniform(0, 5), 1) for _ in range(80)]
    values = [round(p + rng.gauss(0, 2)) for p in predictions]
    got = score_values("pearson+spearman", predictions, values)
    assert got["pearson"] == pytest.approx(stats.pearsonr(predictions, values).statistic)
    assert got["spearman"] == pytest.approx(stats.spearmanr(predictions, values).statistic)


def test_squad_by_hand() -> None:
    golds = [("the Eiffel Tower", "Eiffel Tower, Paris"), ("1889",), ("a red car",), ("Ann",)]
    said = ["Eiffel tower!", "in 1889", "the car", "Bob"]
    got = score_answers("exact_match+answer_f1", said, golds)
    assert got["exact_match"] == 1 / 4
    # 1; shared 1 of 2 and 1 words; shared 1 of 1 and 2 words; nothing shared
    assert got["answer_f1"] == pytest.approx((1 + 2 / 3 + 2 / 3 + 0) / 4)


def test_every_gold_answer_counts() -> None:
    assert score_answers("exact_match+answer_f1", ["second"], [("first", "second")]) == {
        "exact_match": 1.0,
        "answer_f1": 1.0,
    }


def test_answers_are_normalised_as_squad_does() -> None:
    assert normalised("  The  U.S.A., an island ") == "usa island"
    assert normalised("theatre another") == "theatre another"
    assert score_answers("answer_f1", ["the"], [("the",)]) == {"answer_f1": 0.0}, "nothing is left, as in SQuAD 1.1"
    assert score_answers("answer_f1", ["b b a1"], [("b c",)]) == {"answer_f1": pytest.approx(2 / 5)}


def test_errors_of_values_and_answers() -> None:
    with pytest.raises(TaskError, match="nan cannot be scored"):
        score_values("pearson", [float("nan")], [1.0])
    with pytest.raises(TaskError, match="1 predictions for 2 labels"):
        score_answers("exact_match", ["a"], [("a",), ("b",)])
    for golds in ((), "a"):
        with pytest.raises(TaskError, match="the gold answers of row 0"):
            score_answers("exact_match", ["a"], [golds])
    with pytest.raises(TaskError, match="unknown metric 'f1': metrics are exact_match, answer_f1"):
        score_answers("f1", ["a"], [("a",)])
