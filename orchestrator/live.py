"""What a command is doing: a table in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live as Screen
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from prompts_store.secrets import without_secrets

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_SECONDS = 10.0
WINDOW_SECONDS = 30.0
"""The rate is that of the latest so many seconds."""
REFRESH_A_SECOND = 4

log = logging.getLogger(__name__)


@dataclass
class Shown:
    """A configuration that is being trained.

    Attributes:
        name: What it is called.
        steps: Optimiser steps that each of its slots takes at most.
        step: The step of its latest evaluation.
        score: What it found on dev, if it was evaluated.
    """

    name: str
    steps: int
    step: int = 0
    score: float | None = None


class Live:
    """Shows which configurations are trained, the best so far, the rate and the time left; use as a context.

    Args:
        console: Where results are printed. In a terminal the view is drawn below them, and gone at the end.
        title: What is being done.
    """

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self.best = ""
        self.done = self.total = 0
        self.running: dict[int, Shown] = {}
        self.ended: Counter[str] = Counter()
        self._rate = Rate()
        self._started = self._printed = time.monotonic()
        self._screen: Screen | None = None
        if console.is_terminal and log.isEnabledFor(logging.INFO):
            self._screen = Screen(
                get_renderable=self._view, console=console, refresh_per_second=REFRESH_A_SECOND, transient=True
            )

    def __enter__(self) -> Live:
        if self._screen:
            self._screen.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen:
            self._screen.stop()
        elif error is None:
            self._print()

    def launched(self, config: int, name: str, steps: int, slots: int) -> None:
        """A configuration is about to be trained, in so many slots of so many steps."""
        self.running[config] = Shown(name, steps)
        self.total += steps * slots

    def evaluated(self, config: int, step: int, score: float) -> None:
        """A configuration was evaluated on dev."""
        if shown := self.running.get(config):
            shown.step, shown.score = step, score

    def finished(self, config: int, state: str) -> None:
        """A configuration ended: ``finished``, ``pruned``, ``failed`` or ``killed``."""
        if self.running.pop(config, None):
            self.ended[state] += 1

    def advance(self, steps: int, skipped: int = 0) -> None:
        """So many optimiser steps were done, and so many more need not be."""
        self.done += steps + skipped
        self._rate.add(steps)
        if not self._screen and time.monotonic() - self._printed >= LINE_SECONDS:
            self._print()

    def tell(self, best: str) -> None:
        """Show what is best so far."""
        self.best = best

    def say(self, line: str) -> None:
        """Print a line above the view."""
        self.console.print(without_secrets(line), highlight=False, soft_wrap=True)

    def _print(self) -> None:
        self._printed = time.monotonic()
        log.info("%s: %s", self.title, "; ".join(part for part in (*self._summary(), self.best) if part))

    def _summary(self) -> list[str]:
        """How much is done, at what rate, what is left, and how many configurations there are in each state."""
        if not self.total:
            return ["starting"]
        counts = {"running": len(self.running), **self.ended}
        states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        rate = self._rate.per_second
        speed = f"{rate:,.3g} steps/s" if rate else ""
        left = f"{clock((self.total - self.done) / rate)} left" if rate and self.done < self.total else ""
        return [f"{self.done}/{self.total} steps", ", ".join(part for part in (speed, left) if part), states]

    def _view(self) -> RenderableType:
        done, speed, *states = [*self._summary(), ""][:3] if self.total else ["starting", ""]
        head = Table.grid(Column(no_wrap=True), Column(ratio=1), Column(no_wrap=True), padding=(0, 1), expand=True)
        head.add_row(
            self.title,
            ProgressBar(total=self.total or None, completed=self.done, pulse=not self.total),
            clock(time.monotonic() - self._started),
        )
        lines = [" · ".join(part for part in (done, speed) if part), *states, self.best]
        texts = [Text(line, overflow="ellipsis", no_wrap=True, style="dim") for line in lines if line]
        return Group(*self._configurations(), head, *texts)

    def _configurations(self) -> list[Table]:
        """The running configurations, as many as the terminal has room for."""
        room = max(1, self.console.height - 8)
        shown = sorted(self.running.items())
        if not shown:
            return []
        table = Table(
            Column("running", ratio=1, overflow="ellipsis", no_wrap=True),
            Column("step", justify="right", no_wrap=True),
            Column("dev", justify="right", no_wrap=True),
            box=None,
            expand=True,
            pad_edge=False,
            header_style="bold",
        )
        for _, one in shown[:room]:
            score = "" if one.score is None else f"{one.score:.1%}"
            table.add_row(Text(one.name), f"{one.step}/{one.steps}", score)
        if len(shown) > room:
            table.add_row(f"and {len(shown) - room} more", "", "")
        return [table]


class Rate:
    """Optimiser steps a second over the latest `WINDOW_SECONDS`."""

    def __init__(self) -> None:
        self._total = 0
        self._points: deque[tuple[float, int]] = deque()

    def add(self, steps: int) -> None:
        """So many steps more (fewer than none where a pack starts again)."""
        now = time.monotonic()
        if not self._total:  # what came before the first steps is start-up, not training
            self._points.clear()
        self._total += steps
        self._points.append((now, self._total))
        while self._points[0][0] < now - WINDOW_SECONDS and len(self._points) > 2:
            self._points.popleft()

    @property
    def per_second(self) -> float:
        """The rate now; 0 while it is not known."""
        if len(self._points) < 2:
            return 0.0
        (start, before), (end, after) = self._points[0], self._points[-1]
        return max(0.0, (after - before) / (end - start)) if end > start else 0.0


def clock(seconds: float) -> str:
    """A duration as ``0:42`` or ``1:02:42``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
