"""The one error class of this package, and near names for its messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class TaskError(ValueError):
    """A task, a row or a request for rows is wrong; the message says what, quotes the value and says what to do.

    A message longer than `LONGEST` characters, such as one that quotes a whole page, is cut in its middle.
    """

    LONGEST: ClassVar[int] = 2000

    def __init__(self, message: str) -> None:
        if (too_many := len(message) - self.LONGEST) > 0:
            half = self.LONGEST // 2
            message = f"{message[:half]} [... {too_many} characters ...] {message[-half:]}"
        super().__init__(message)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'a' or 'b'?"``, or an empty string where nothing known is near ``name``."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(other) for other in near)}?" if near else ""
