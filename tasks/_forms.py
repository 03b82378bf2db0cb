"""The forms a task can have: how many text fields, and what stands against a row's text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Gold = Literal["class", "value", "answers"]


@dataclass(frozen=True)
class Form:
    """What tasks of one form have in common.

    Attributes:
        fields: the least and the most text fields.
        gold: what a row is labelled with: a class, a number, or the texts that count as right answers.
        summary: for people.
    """

    fields: tuple[int, int]
    gold: Gold
    summary: str


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "single": Form((1, 1), "class", "one text and its class"),
        "pair": Form((2, 2), "class", "two texts and their class"),
        "choice": Form((3, 12), "class", "a text and two or more options, one of them right"),
        "span": Form((2, 2), "answers", "a question and a passage, and the answers that count as right"),
        "regression": Form((1, 2), "value", "one or two texts and a number"),
    }
)
"""Name of a form -> what its tasks have in common."""

ENCODER_FORMS = ("single", "pair", "regression")
"""The forms that an encoder can be trained on: one or two texts, and a class or a number. Text-to-text backbones can be
trained on all."""
