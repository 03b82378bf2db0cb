import json
from typing import Any

import pytest
from pydantic import ValidationError

from prompts_store import Card, Sizes, StoreError, check_compatible
from tests.prompts_store.conftest import FINGERPRINT, make_card


def test_json_round_trip() -> None:
    card = make_card(resized_from={"m": 20, "r": 60, "s": 256}, k=16, test_score=0.5, start="dept-minilm-mnli/3")
    assert Card.model_validate_json(card.model_dump_json()) == card
    assert card.resized_from == Sizes(m=20, r=60, s=256)
    assert json.loads(card.model_dump_json())["format"] == 1


UNKNOWN = ("dev_score", "alpha1", "alpha2", "steps", "batch", "seed", "rows_train")


def test_training_may_be_unknown_but_not_left_out() -> None:
    card = make_card(**dict.fromkeys(UNKNOWN))
    assert Card.model_validate_json(card.model_dump_json()) == card
    for name in UNKNOWN:
        with pytest.raises(ValidationError, match=rf"{name}\n  Field required"):
            Card.model_validate(card.model_dump(exclude={name}))


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        make_card().m = 7  # type: ignore[misc]


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"d": 0},
        {"m": -1},
        {"r": 10**9},
        {"gamma": float("nan")},
        {"alpha1": -0.1},
        {"alpha2": float("inf")},
        {"dev_score": float("nan")},
        {"k": 0},
        {"batch": 0},
        {"labels": ["a", "a"]},
        {"family": "diffusion"},
        {"family": "decoder", "head": "mlp"},
        {"backbone_fingerprint": "abc"},
        {"task": "../mnli"},
        {"task": "mn'li"},
        {"method": "a-b"},
        {"backbone": "/home/me/minilm"},
        {"backbone": "../minilm"},
        {"start": "mnli"},
        {"start": "a/b/1"},
        {"start": "a/0"},
        {"created": "2026-01-01T00:00:00"},
        {"created": "yesterday"},
        {"resized_from": {"m": 1, "r": 1}},
        {"surprise": 1},
    ],
)
def test_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_card(**changes)


def test_compatible() -> None:
    card = make_card()
    check_compatible(card, backbone_fingerprint=FINGERPRINT, d=8)
    with pytest.raises(StoreError, match=r"aaaaaaaaaaaa.*ffffffffffff"):
        check_compatible(card, backbone_fingerprint="f" * 64, d=8)
    with pytest.raises(StoreError, match=r"d=8.*d=16"):
        check_compatible(card, backbone_fingerprint=FINGERPRINT, d=16)
