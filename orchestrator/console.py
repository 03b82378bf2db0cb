"""The console that commands print on; made when one is needed, because rich takes its time to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def make_console() -> Console:
    """A console on standard output."""
    from rich.console import Console

    return Console()
