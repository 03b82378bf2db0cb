"""What is said of rows, and what it is worth, against counts by hand."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.gold import Gold
from pipelines.judging import AGREEMENT, UNREAD, Said, judge, read_class, read_number
from pipelines.pack import Pack
from pipelines.slot import Quality
from tests.pipelines.tiny import Tiny, toy_data, toy_slot, toy_spec, train


def unread(ids: Sequence[Sequence[int]]) -> list[str]:
    raise AssertionError("nothing is to be read")


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [([5, 3], 0), ([5, 3, 9], 0), ([5, 4, 3], 1), ([5, 4], -1), ([5, 4, 3, 3], 1), ([], -1), ([7], 2), ([7, 8], 3)],
)
def test_a_class_is_what_the_answer_begins_with(ids: list[int], wanted: int) -> None:
    assert read_class(ids, [(5, 3), (5, 4, 3), (7,), (7, 8)]) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("3.8", 3.8), (" 2", 2.0), ("-1", 0.0), ("9.5", 5.0), ("about 1.2 or 4", 1.2), ("none", None), ("", None)],
)
def test_a_number_is_the_first_one_moved_into_the_range(text: str, wanted: float | None) -> None:
    assert read_number(text, (0, 5)) == wanted


def test_classes_scored_and_generated(tiny: Tiny) -> None:
    data = toy_data(tiny("llama"), classes=2)
    a, b = data.words
    gold = Gold.of_classes([0, 1, 1, 0])
    scores = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 3.0]])
    said = Said(scores, generated=[[*a, 9], [*b], [*b], [1]])
    by_likelihood = judge(data, gold, said, unread)
    by_generation = judge(replace(data, scoring="generation"), gold, said, unread)
    assert by_likelihood.metrics == {"accuracy": 0.5, AGREEMENT: 0.5, UNREAD: 0.25}
    assert by_generation.metrics == {"accuracy": 0.75, AGREEMENT: 0.5, UNREAD: 0.25}
    likelihood = -sum(math.log1p(math.exp(-gap)) for gap in (2, 1, -1, -3)) / 4
    assert by_likelihood.quality.log_likelihood == pytest.approx(likelihood, abs=1e-6)
    assert by_generation.quality.score == 0.75


def test_questions_count_with_all_their_rows(tiny: Tiny) -> None:
    data = replace(toy_data(tiny("bert")), metrics=("f1", "question_match"))
    gold = replace(Gold.of_classes([0, 1, 1, 0]), groups=np.array([0, 0, 1, 1]))
    found = judge(data, gold, Said(torch.tensor([[1.0, 0], [0, 1], [1, 0], [1, 0]])), unread)
    assert found.metrics == {"f1": pytest.approx(2 / 3), "question_match": 0.5}
    assert found.quality.score == pytest.approx(2 / 3)


def test_an_encoders_numbers(tiny: Tiny) -> None:
    """The range is -1 to 3: a quarter of it is one unit."""
    data = toy_data(tiny("bert"), form="regression")
    gold = replace(Gold.of_classes([-1] * 3), values=np.array([-1.0, 1.0, 3.0]))
    found = judge(data, gold, Said(torch.tensor([[0.25], [0.5], [0.5]])), unread)
    assert found.quality.log_likelihood == pytest.approx(-(0.25**2 + 0.5**2) / 3, abs=1e-7)
    assert found.quality.score == found.metrics["pearson"] == pytest.approx(math.sqrt(3) / 2, abs=1e-6)
    assert found.metrics["spearman"] == pytest.approx(math.sqrt(3) / 2, abs=1e-6)
    broken = judge(data, gold, Said(torch.tensor([[math.nan], [0.5], [0.5]])), unread)
    assert broken.quality == Quality(0.0, -math.inf)


def test_generated_numbers_that_cannot_be_read_are_the_middle(tiny: Tiny) -> None:
    data = toy_data(tiny("t5"), form="regression", scoring="generation")
    gold = replace(Gold.of_classes([-1] * 3), values=np.array([-1.0, 1.0, 3.0]))
    said = Said(likelihood=torch.tensor([-1.0, -2.0, -3.0]), generated=[[4], [5], [6]])
    found = judge(data, gold, said, lambda ids: ["-1", "no idea", "77"])
    assert found.metrics == {"pearson": pytest.approx(1), "spearman": pytest.approx(1), UNREAD: pytest.approx(1 / 3)}
    assert found.quality.log_likelihood == pytest.approx(-2)


def test_answers_by_generation_or_by_likelihood_alone(tiny: Tiny) -> None:
    data = toy_data(tiny("t5"), form="span")
    gold = replace(Gold.of_classes([-1] * 2), answers=(("new york", "york"), ("red",)))
    likelihood = torch.tensor([-1.0, -3.0])
    found = judge(data, gold, Said(likelihood=likelihood, generated=[[4], [5]]), lambda ids: ["York", "dark red"])
    assert found.metrics == {"answer_f1": pytest.approx((1 + 2 / 3) / 2), "exact_match": 0.5}
    alone = judge(data, gold, Said(likelihood=likelihood), unread)
    assert alone.quality == Quality(pytest.approx(math.exp(-2)), -2.0)
    assert alone.metrics == {}


@pytest.mark.parametrize(("kind", "form"), [("bert", "regression"), ("t5", "span"), ("llama", "regression")])
def test_other_forms_are_learned(tiny: Tiny, kind: str, form: str) -> None:
    """Of a few rows: what is right becomes more likely, and an encoder's numbers correlate."""
    backbone = tiny(kind)
    data = toy_data(backbone, form=form, rows=4)
    data = replace(data, dev=data.train)
    slot = toy_slot(backbone, toy_spec(steps=60, eval_every=60, batch=4), data)
    before = Pack(backbone, [slot]).evaluate([slot], [data.train])[0].quality
    train(backbone, [slot])
    assert slot.best is not None
    assert slot.best.quality.log_likelihood > before.log_likelihood + (0.01 if kind == "bert" else 0.3)
    if kind == "bert":
        assert slot.best.quality.score > 0.8
