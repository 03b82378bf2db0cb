"""What rows are labelled with, as arrays: classes, numbers, or the texts that count as right answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tasks import Rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pipelines.architecture import FamilyName

BEFORE = "label:"
"""What a decoder's answers are tokenised after, so that their first token is one that follows a text."""


@dataclass(frozen=True)
class Gold:
    """What N rows are judged by, in flat arrays.

    Attributes:
        labels: Class ids, int64, ``(N,)``; -1 where rows have no class.
        groups: Which question each row belongs to, int64, ``(N,)``, for metrics that count questions; else empty.
        values: The numbers of a regression, in the task's own unit, float64, ``(N,)``; else empty.
        answers: For each row with answers in words all that count as right; else empty.
        targets: Token ids of what a text-to-text backbone learns to answer, int32, one row after the other; empty for
            encoders, and for classes, whose words are the slot's.
        target_offsets: Where each row's target starts, int64, ``(N + 1,)``.
    """

    labels: np.ndarray
    groups: np.ndarray
    values: np.ndarray
    answers: tuple[tuple[str, ...], ...]
    targets: np.ndarray
    target_offsets: np.ndarray

    @classmethod
    def of_classes(cls, labels: Sequence[int] | np.ndarray) -> Gold:
        """Classes alone."""
        empty = np.array([], np.int64)
        return cls(
            np.asarray(labels, np.int64), empty, empty.astype(np.float64), (), empty.astype(np.int32),
            np.zeros(len(labels) + 1, np.int64),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.labels)

    def target(self, i: int) -> np.ndarray:
        """Token ids of what a text-to-text backbone learns to answer to a row."""
        return self.targets[self.target_offsets[i] : self.target_offsets[i + 1]]

    @cached_property
    def longest_target(self) -> int:
        """Tokens of the longest target."""
        return int(np.diff(self.target_offsets).max(initial=0))


def gold_of(rows: Rows, tokenizer: PreTrainedTokenizerFast, family: FamilyName) -> Gold:
    """Read what rows are labelled with.

    A regression's target is its rounded number as text, a span's its first right answer; both end in the
    end-of-sequence token, so that an answer's length is learned with it.
    """
    examples, kind = rows.examples, rows.task.gold
    targets: list[list[int]] = [[]] * len(examples)
    if family != "encoder" and kind != "class":
        targets = answer_tokens([rows.task.answer(example) for example in examples], tokenizer, family, end=True)
    names = {example.group: n for n, example in enumerate(examples)} if rows.task.group else {}
    return Gold(
        labels=np.array([example.label for example in examples], np.int64),
        groups=np.array([names[example.group] for example in examples] if names else [], np.int64),
        values=np.array([example.value for example in examples] if kind == "value" else [], np.float64),
        answers=tuple(example.answers for example in examples) if kind == "answers" else (),
        targets=np.array([token for target in targets for token in target], np.int32),
        target_offsets=np.cumsum([0, *map(len, targets)], dtype=np.int64),
    )


def answer_tokens(
    answers: Sequence[str], tokenizer: PreTrainedTokenizerFast, family: FamilyName, *, end: bool
) -> list[list[int]]:
    """Token ids of answers, as they come out after a text.

    An encoder-decoder's are what its tokenizer gives, the end-of-sequence token among them; a decoder's are what
    follows a text, and the end-of-sequence token with ``end``, if its tokenizer has one.
    """
    if not answers:
        return []
    if family == "encoder-decoder":
        ids: list[list[int]] = tokenizer(list(answers), verbose=False).input_ids
        return ids
    before = len(tokenizer(BEFORE, verbose=False).input_ids)
    last = [tokenizer.eos_token_id] if end and tokenizer.eos_token_id is not None else []
    whole = tokenizer([f"{BEFORE} {answer}" for answer in answers], verbose=False).input_ids
    return [[*ids[before:], *last] for ids in whole]
