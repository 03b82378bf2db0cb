"""Rows as token ids: tokenised once, kept ragged, padded only to the length of the batch they meet in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pipelines.gold import Gold, gold_of
from tasks import Rows, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pipelines.architecture import FamilyName


@dataclass(frozen=True)
class Encoded:
    """N tokenised rows in flat arrays, cheap to ship between processes.

    Attributes:
        ids: Token ids of all rows, one after the other, int32.
        segments: For each token of an encoder 1 or 2 for the text it stands in, else 0, uint8.
        offsets: Where each row starts, int64, ``(N + 1,)``.
        gold: What the rows are labelled with.
        truncated: How many rows were cut to the longest length allowed.
    """

    ids: np.ndarray
    segments: np.ndarray
    offsets: np.ndarray
    gold: Gold
    truncated: int

    @classmethod
    def of(cls, tokens: Tokens, gold: Gold) -> Encoded:
        """Put texts and what they are labelled with together."""
        return cls(tokens.ids, tokens.segments, tokens.offsets, gold, tokens.truncated)

    def in_memory(self) -> Encoded:
        """Rows that are held, wherever they travel."""
        return self

    def __len__(self) -> int:
        return len(self.gold)

    @property
    def labels(self) -> np.ndarray:
        """Class ids, int64, ``(N,)``; -1 where rows have no class."""
        return self.gold.labels

    @property
    def lengths(self) -> np.ndarray:
        """Tokens in each row, ``(N,)``."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Batch:
    """N rows, perhaps of several slots, padded on the right to the longest of them.

    Attributes:
        ids: Token ids, ``(N, L)``.
        mask: Real tokens, bool, ``(N, L)``.
        segments: As in `Encoded`, ``(N, L)``.
        labels: Class ids, ``(N,)``; -1 for rows without a class.
        values: Numbers of a regression, ``(N,)``; 0 for other rows.
        targets: For each row the token ids of what is to be answered; empty where `Gold.targets` are.
        slot: For each row the index of its slot, ``(N,)``.
    """

    ids: Tensor
    mask: Tensor
    segments: Tensor
    labels: Tensor
    values: Tensor
    targets: Sequence[Tensor]
    slot: Tensor


@dataclass(frozen=True)
class Tokens:
    """What `Encoded` has of the texts alone, by the same names."""

    ids: np.ndarray
    segments: np.ndarray
    offsets: np.ndarray
    truncated: int


def encode(rows: Rows, tokenizer: PreTrainedTokenizerFast, family: FamilyName, s: int) -> Encoded:
    """Tokenise rows and read what they are labelled with; texts are cut at s tokens."""
    return Encoded.of(tokenise(rows, tokenizer, family, s), gold_of(rows, tokenizer, family))


def tokenise(rows: Rows, tokenizer: PreTrainedTokenizerFast, family: FamilyName, s: int) -> Tokens:
    """Tokenise the texts of rows, cutting them at s tokens.

    Encoders read the texts as the tokenizer joins them ([CLS] a [SEP] b [SEP]), the longer cut first; the other
    families read the task's template, cut in front of its last words, which ask for the answer.
    """
    examples = rows.examples
    if family == "encoder":
        columns = [list(column) for column in zip(*(example.texts for example in examples), strict=True)]
        out = tokenizer(*columns, truncation=True, max_length=s, padding=False, return_attention_mask=False)
        parts = [[0 if part is None else part + 1 for part in encoding.sequence_ids] for encoding in out.encodings]
        truncated = sum(bool(encoding.overflowing) for encoding in out.encodings)
        texts = out["input_ids"]
    else:
        whole = tokenizer([rows.task.render(example) for example in examples], verbose=False).input_ids
        end = _question_tokens(rows.task, tokenizer)
        texts = [_cut_before_end(text, end, s) for text in whole]
        parts = [[0] * len(text) for text in texts]
        truncated = sum(len(text) > s for text in whole)
    ids = [np.asarray(row, np.int32) for row in texts]
    segments = [np.asarray(row, np.uint8) for row in parts]
    lengths = np.array([len(row) for row in ids])
    return Tokens(
        ids=np.concatenate(ids),
        segments=np.concatenate(segments),
        offsets=np.concatenate([[0], lengths.cumsum()]),
        truncated=truncated,
    )


def _question_tokens(task: Task, tokenizer: PreTrainedTokenizerFast) -> int:
    """Tokens that end every text: what the template asks after its last field, and the tokenizer's own last ones."""
    question = task.template.rpartition("}")[2]
    special = tokenizer("", verbose=False).input_ids
    after = len(special) if special and special[-1] == tokenizer.eos_token_id else 0
    return len(tokenizer(question, add_special_tokens=False, verbose=False).input_ids) + after


def _cut_before_end(text: list[int], end: int, s: int) -> list[int]:
    """At most s tokens, the last ``end`` among them if they fit."""
    if len(text) <= s or end >= s:
        return text[:s]
    return text[: s - end] + text[len(text) - end :]


def collate(rows: Sequence[tuple[int, Encoded, int]], device: torch.device) -> Batch:
    """Pad rows, each named by its slot, the set it is from and its place there, into one batch."""
    spans = [(encoded, *encoded.offsets[i : i + 2]) for _, encoded, i in rows]
    ids = pad_sequence([torch.from_numpy(encoded.ids[a:b]) for encoded, a, b in spans], batch_first=True)
    segments = pad_sequence([torch.from_numpy(encoded.segments[a:b]) for encoded, a, b in spans], batch_first=True)
    lengths = torch.tensor([b - a for _, a, b in spans])
    return Batch(
        ids=ids.long().to(device),
        mask=(torch.arange(ids.shape[1]) < lengths[:, None]).to(device),
        segments=segments.to(device),
        labels=torch.tensor([int(encoded.labels[i]) for _, encoded, i in rows], device=device),
        values=torch.tensor(
            [float(e.gold.values[i]) if len(e.gold.values) else 0.0 for _, e, i in rows],
            dtype=torch.float64,
            device=device,
        ),
        targets=[torch.from_numpy(encoded.gold.target(i)).long().to(device) for _, encoded, i in rows],
        slot=torch.tensor([slot for slot, _, _ in rows], device=device),
    )


def chunks(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Group rows of similar length so that each group, padded to its longest, holds at most ``tokens`` tokens.

    A row longer than that is a group of its own. Groups come shortest first.
    """
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if groups and (len(groups[-1]) + 1) * lengths[row] <= tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
