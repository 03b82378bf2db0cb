from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.halving import Halving
from pipelines.slot import Quality, Slot, Status
from tests.pipelines.tiny import Tiny, toy_data, toy_slot, toy_spec


@pytest.mark.parametrize(
    ("steps", "eval_every", "rungs"),
    [
        (40, 8, (8, 16)),
        (40, 10, (10, 20)),
        (40, 5, (10, 20)),
        (50, 10, (10, 20)),
        (60, 10, (20, 30)),
        (10, 10, ()),
        (15, 10, (10,)),
        (0, 10, ()),
        (100, 1, (20, 40)),
    ],
)
def test_rungs(steps: int, eval_every: int, rungs: tuple[int, ...]) -> None:
    assert Halving.over(steps, eval_every).rungs == rungs


@given(st.integers(0, 500), st.integers(1, 60))
def test_rungs_are_evaluations_before_the_end(steps: int, eval_every: int) -> None:
    rungs = Halving.over(steps, eval_every).rungs
    assert all(0 < rung < steps and rung % eval_every == 0 for rung in rungs)
    assert list(rungs) == sorted(set(rungs))


class Field:
    """Slots with made-up qualities."""

    def __init__(self, tiny: Tiny) -> None:
        self.backbone = tiny("bert")
        self.data = toy_data(self.backbone)

    def slot(self, config: int, score: float | None, status: Status = "training", likelihood: float = -1.0) -> Slot:
        slot = toy_slot(self.backbone, toy_spec(config=config, steps=100), self.data)
        if score is not None:
            slot.judge(Quality(score, likelihood))
        slot.status = status
        return slot

    def dropped(self, slots: list[Slot], step: int = 10) -> list[int]:
        """The places of the slots that are dropped."""
        out = [slots.index(slot) for slot in Halving((10,)).drop(slots, step)]
        assert all(slots[i].status == "dropped" for i in out)
        return sorted(out)


@pytest.fixture
def field(tiny: Tiny) -> Field:
    return Field(tiny)


def test_the_weaker_half_goes(field: Field) -> None:
    slots = [field.slot(config, score) for config, score in enumerate([0.5, 0.9, 0.1, 0.7])]
    assert field.dropped(slots) == [0, 2]
    assert [slot.status for slot in slots] == ["dropped", "training", "dropped", "training"]


def test_of_an_odd_number_the_larger_part_stays(field: Field) -> None:
    assert field.dropped([field.slot(config, score) for config, score in enumerate([0.5, 0.9, 0.1])]) == [2]
    assert field.dropped([field.slot(0, 0.1)]) == []


@pytest.mark.parametrize("step", [9, 11, 20, 0])
def test_nothing_between_rungs(field: Field, step: int) -> None:
    assert field.dropped([field.slot(0, 0.5), field.slot(1, 0.9)], step) == []


def test_likelihood_decides_between_equal_metrics(field: Field) -> None:
    assert field.dropped([field.slot(0, 0.5, likelihood=-1.0), field.slot(1, 0.5, likelihood=-0.5)]) == [0]


def test_equal_ones_go_by_number(field: Field) -> None:
    assert field.dropped([field.slot(5, 0.5), field.slot(3, 0.5)]) == [0]


def test_seeds_are_judged_by_their_mean_and_stay_together(field: Field) -> None:
    scores = [(0, 0.9), (1, 0.6), (0, 0.2), (1, 0.7)]  # means 0.55 and 0.65: the best single slot goes
    assert field.dropped([field.slot(*pair) for pair in scores]) == [0, 2]


def test_best_checkpoints_count_not_the_latest(field: Field) -> None:
    fallen = field.slot(0, 0.9)
    fallen.judge(Quality(0.1, -1.0))
    assert field.dropped([fallen, field.slot(1, 0.5)]) == [1]


def test_a_seed_that_finished_before_counts_and_stays_finished(field: Field) -> None:
    """The mean of configuration 0 is 0.55, although the seed that still trains has 0.9."""
    slots = [field.slot(0, 0.2, "finished"), field.slot(0, 0.9), field.slot(1, 0.6), field.slot(1, 0.6)]
    assert field.dropped(slots) == [1]
    assert slots[0].status == "finished"


def test_those_that_ended_take_no_part(field: Field) -> None:
    ended: list[tuple[float | None, Status]] = [(0.1, "finished"), (None, "diverged"), (0.0, "dropped")]
    slots = [field.slot(config, *pair) for config, pair in enumerate(ended)]
    slots += [field.slot(3, 0.5), field.slot(4, 0.4)]
    assert field.dropped(slots) == [4]
    assert [slot.status for slot in slots[:3]] == ["finished", "diverged", "dropped"]


def test_a_configuration_with_a_diverged_seed_takes_no_part(field: Field) -> None:
    slots = [field.slot(0, None, "diverged"), field.slot(0, 0.9), field.slot(1, 0.5), field.slot(2, 0.4)]
    assert field.dropped(slots) == [3]
