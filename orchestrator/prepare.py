"""From a task and a place with rows to the tokenised sets a slot trains, chooses and is tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from pipelines.backbone import BackboneInfo, load_tokenizer
from pipelines.encode import Encoded
from pipelines.encode_cache import EncodeCache
from pipelines.encode_stream import encode_stream
from pipelines.gold import answer_tokens
from pipelines.spec import Scoring, SlotData
from tasks import DataSource, Rows, RowStream, Selection, Task, draw_fewshot, find_leaks, hold_out

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from tasks import Dev, LabelWords, Protocol

DEV_SHARE, DEV_ROWS = 0.1, 500
HELD_BYTES = 100_000_000
"""Larger training sets are gone through, which takes longer, instead of being held."""
SHOWN = 3
"""Rows that are named where some are not as they should be."""


@dataclass(frozen=True)
class Prepared:
    """A data set ready for slots.

    Attributes:
        task: The task.
        data: Its tokenised rows.
        digest: SHA-256 over the rows drawn for training and dev, and the test rows.
        notes: What a person should know about the rows.
    """

    task: Task
    data: SlotData
    digest: str
    notes: tuple[str, ...]


class Preparer:
    """Tokenises tasks for one backbone.

    Args:
        source: Where rows come from.
        info: The backbone.
        label_words: What a text-to-text backbone answers: the task's words, or digits.
        scoring: How a text-to-text backbone's answers are judged; None for classes by likelihood, all else by what is
            generated.
        shipped: Whether the data sets go to other machines: what would be mapped from files is then held.
    """

    def __init__(
        self,
        source: DataSource,
        info: BackboneInfo,
        label_words: LabelWords = "words",
        scoring: Scoring | None = None,
        *,
        shipped: bool = False,
    ) -> None:
        self.source = source
        self.info = info
        self.label_words = label_words
        self.scoring = scoring
        self.shipped = shipped
        self.tokenizer: PreTrainedTokenizerFast = load_tokenizer(info.folder)
        self._cache = EncodeCache(self.tokenizer, info.tokenizer_fingerprint, info.family)

    def full(self, name: str, s: int, seed: int) -> Prepared:
        """A source task: all its training rows, less the dev rows held out; tested on the validation split.

        Texts are cut at s tokens. A large training set is read in batches and its token ids are kept in files.
        """
        task = self.source.task(name)
        rows = self._training_rows(task, streamed=True)
        test = self.source.load(task, "validation")
        train, dev = hold_out(rows, DEV_ROWS, seed, share=DEV_SHARE)
        return self._prepared(train, dev, test, s, self._cache.encode(test, s), _left_out(rows, test))

    def fewshot(
        self, name: str, s: int, k: int, seeds: Sequence[int], *, per_class: bool, dev: Dev, protocol: Protocol
    ) -> list[Prepared]:
        """A target task: for each seed k training rows and the dev rows; all tested on the validation split.

        Texts are cut at s tokens. Where the draw allows it, a large training set is gone through and not held.
        """
        task = self.source.task(name)
        rows = self._training_rows(task, streamed=dev != "full" and protocol == "balanced")
        test = self.source.load(task, "validation")
        encoded_test = self._cache.encode(test, s)
        prepared = []
        for seed in seeds:
            draw = draw_fewshot(rows, k, seed, per_class=per_class, dev=dev, protocol=protocol)
            train = Rows.of(task, "train", draw.train, rows.source)
            chosen = Rows.of(task, "dev", draw.dev, rows.source) if dev != "none" else None
            notes = [*draw.notes, *_left_out(rows, test)]
            prepared.append(self._prepared(train, chosen, test, s, encoded_test, notes))
        return prepared

    def _training_rows(self, task: Task, *, streamed: bool) -> Rows | RowStream:
        rows = self.source.stream(task, "train")
        if isinstance(rows, RowStream) and not (streamed and rows.size > HELD_BYTES):
            return rows.held()
        return rows

    def _encode(self, train: Rows | Selection, s: int) -> Encoded:
        if isinstance(train, Rows):
            return self._cache.encode(train, s)
        mapped = encode_stream(train, self.tokenizer, self.info.tokenizer_fingerprint, self.info.family, s)
        return mapped.in_memory() if self.shipped else mapped

    def _prepared(
        self, train: Rows | Selection, dev: Rows | None, test: Rows, s: int, encoded_test: Encoded, notes: Sequence[str]
    ) -> Prepared:
        task = train.task
        encoded = self._encode(train, s)
        data = SlotData(
            train=encoded,
            dev=None if dev is None else self._cache.encode(dev, s),
            test=encoded_test,
            labels=task.labels,
            metrics=tuple(task.metric.split("+")),
            segments=len(task.fields),
            words=() if self.info.family == "encoder" else self._words(task),
            value_range=task.value_range,
            scoring=self._scoring(task),
        )
        notes = [*notes]
        if leaks := find_leaks(train, test):
            shown = "; ".join(repr(" | ".join(leak.texts)[:80]) for leak in leaks[:SHOWN])
            notes.append(f"{len(leaks)} test rows of {task.name} also stand in its {len(train)} training rows: {shown}")
        if encoded.truncated:
            notes.append(f"{encoded.truncated} of {len(train)} training rows of {task.name} were cut to {s} tokens")
        digest = ":".join(rows.digest[:16] if rows else "none" for rows in (train, dev, test))
        return Prepared(task, data, digest, tuple(notes))

    def longest_word(self, task: Task) -> int:
        """Tokens of the longest label word; 0 for encoders, and where rows have no classes."""
        return 0 if self.info.family == "encoder" else max(map(len, self._words(task)), default=0)

    def _scoring(self, task: Task) -> Scoring:
        if self.info.family == "encoder":  # its head gives classes and numbers directly
            return "likelihood"
        return self.scoring or ("likelihood" if task.gold == "class" else "generation")

    def _words(self, task: Task) -> tuple[tuple[int, ...], ...]:
        """Token ids of the label words, as they come out after a text."""
        found = answer_tokens(task.words(self.label_words), self.tokenizer, self.info.family, end=False)
        words = tuple(tuple(word) for word in found)
        if len(set(words)) < len(words):
            raise UsageError(
                f"label words {task.words(self.label_words)} of {task.name} are not told apart by the tokenizer of "
                f"{self.info.name}: give the task other label words"
            )
        return words


def _left_out(*splits: Rows | RowStream) -> list[str]:
    """What a person should know about malformed rows."""
    return [f"{rows.task.name}, {rows.split}: {rows.bad}" for rows in splits if rows.bad.count]
