"""How far words alone go: logistic regression on which words stand in which text.

It is what a task's numbers are to be read beside. On real tasks it says how much of a score needs no reading; on the
sample tasks it has to stay near chance, or they could be passed without understanding anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tasks._errors import TaskError
from tasks._pools import by_rank
from tasks._rows import Example, Rows

MOST_ROWS = 4000
"""Rows it learns from at most, so that it takes seconds."""


def bag_of_words(train: Rows, test: Rows, seed: int = 0) -> list[int]:
    """Return a class for each test row, learned from the words of the training rows (at most 4,000, drawn by seed).

    A word of the first text and the same word of the second are different features, and a third says that both texts
    have it.

    Raises:
        TaskError: where the rows have no classes, or the training rows have one alone.
    """
    if train.task.gold != "class":
        raise TaskError(f"{train.task.name} has no classes for a bag of words to tell apart: it is a {train.task.form}")
    rows = by_rank(train.examples, seed)[:MOST_ROWS]
    labels = [example.label for example in rows]
    if len(set(labels)) < 2:
        raise TaskError(f"all {len(rows)} training rows of {train.task.name} have the same class: give rows of another")
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    words = CountVectorizer(binary=True, analyzer=_words, min_df=2)
    model = LogisticRegression(max_iter=100, C=0.3, tol=1e-3)
    model.fit(words.fit_transform(rows), labels)
    return [int(label) for label in model.predict(words.transform(test.examples))]


def _words(example: Example) -> Iterable[str]:
    texts = [set(re.findall(r"\w+", text.casefold())) for text in example.texts]
    for place, found in enumerate(texts):
        yield from (f"{place} {word}" for word in found)
    if len(texts) == 2:
        yield from (f"both {word}" for word in texts[0] & texts[1])
