"""The one error class of this package, and near names for its messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TaskError(ValueError):
    """A task, a row or a request for rows is wrong; the message says what, quotes the value and says what to do."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'a' or 'b'?"``, or an empty string where nothing known is near ``name``."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(other) for other in near)}?" if near else ""
