"""What the hooks know of the call under way: each thread its own, so that calls at the same time do not meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from torch import Tensor


@dataclass
class Scope:
    """What is known of a call.

    Attributes:
        rows: The adapter of each row, or None for the active one in all.
        given_columns: During generation, columns of the text that was given; those after it were generated.
        text: Tokens that get the update, bool, ``(N, L)``, where the caller or its labels say so.
        added: Prompt rows in front of the last sequence that was read, to be cut off behind it.
    """

    rows: Sequence[str] | None = None
    given_columns: int | None = None
    text: Tensor | None = None
    added: int = 0


_SCOPES: ContextVar[WeakKeyDictionary[object, Scope]] = ContextVar("scopes")


def scope_of(owner: object) -> Scope:
    """The scope of one backbone's hooks in this thread."""
    try:
        scopes = _SCOPES.get()
    except LookupError:
        scopes = WeakKeyDictionary()
        _SCOPES.set(scopes)
    return scopes.setdefault(owner, Scope())


@contextmanager
def during(owner: object, *, rows: Sequence[str] | None = None, given_columns: int | None = None) -> Iterator[None]:
    """Know more of a call while it lasts; whatever it leaves behind, even by an exception, is forgotten."""
    scope = scope_of(owner)
    before = replace(scope)
    scope.rows = scope.rows if rows is None else rows
    scope.given_columns = scope.given_columns if given_columns is None else given_columns
    try:
        yield
    finally:
        scope.__dict__.update(before.__dict__)
