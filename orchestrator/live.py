"""Progress of a command: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 10.0


class Live:
    """Shows how many optimiser steps are done, and the latest news; use as a context."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self.news = ""
        self.done = self.total = 0
        self._printed = time.monotonic()
        self._progress: Progress | None = None
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("steps"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[news]}"),
            )
            self._progress = Progress(*columns, console=console)
            self._task = self._progress.add_task(title, total=None, news="")

    def __enter__(self) -> Live:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()
        elif error is None:
            self._print()

    def expect(self, steps: int) -> None:
        """So many more steps are to be done."""
        self.total += steps
        if self._progress:
            self._progress.update(self._task, total=self.total)

    def advance(self, steps: int) -> None:
        """So many steps were done."""
        self.done += steps
        if self._progress:
            self._progress.update(self._task, completed=self.done)
        elif time.monotonic() - self._printed >= LINE_SECONDS:
            self._print()

    def tell(self, news: str) -> None:
        """Show the latest news beside the bar, or on the next line."""
        self.news = news
        if self._progress:
            self._progress.update(self._task, news=news)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.console.print(line, highlight=False, soft_wrap=True)

    def _print(self) -> None:
        self._printed = time.monotonic()
        share = f"{self.done}/{self.total} steps" if self.total else "starting"
        self.say(f"{self.title}: {share}{'; ' + self.news if self.news else ''}")
