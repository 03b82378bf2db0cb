"""What was found for a target, side by side: rows, their statistics, table, CSV and figure."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from rich.console import Console
from rich.table import Table

ZERO_SHOT, DEPT = "zero-shot", "dept"
COLUMNS = ("target", "backbone", "k", "start", "method", "metric", "seeds", "mean", "std", "low", "high", "dev")


@dataclass(frozen=True)
class Statistics:
    """Of one number per seed.

    Attributes:
        mean: Their mean.
        std: Their standard deviation (n − 1); 0 for one seed.
        half_width: Of the mean's 95% interval by Student's t; infinite for one seed.
    """

    mean: float
    std: float
    half_width: float

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of the mean, or None for one seed."""
        return (self.mean - self.half_width, self.mean + self.half_width) if math.isfinite(self.half_width) else None


def statistics(scores: Sequence[float]) -> Statistics:
    """Mean, spread and interval over seeds."""
    if len(scores) == 1:
        return Statistics(scores[0], 0.0, math.inf)
    from scipy.stats import t

    spread = stdev(scores)
    return Statistics(fmean(scores), spread, float(t.ppf(0.975, len(scores) - 1)) * spread / math.sqrt(len(scores)))


@dataclass(frozen=True)
class Row:
    """One way of starting, over its seeds.

    Attributes:
        target: Task.
        backbone: Its name.
        k: Labelled training rows in total; 0 for zero-shot.
        start: ``scratch`` or the source task.
        method: ``dept`` or ``zero-shot``.
        metric: What the scores are.
        scores: Test score of each seed (draw of k rows), by seed.
        dev: Mean score on the rows the configuration was chosen on; None where nothing was chosen.
        run_id: The run they are from (the latest, if several).
    """

    target: str
    backbone: str
    k: int
    start: str
    method: str
    metric: str
    scores: Mapping[int, float]
    dev: float | None
    run_id: str

    @property
    def statistics(self) -> Statistics:
        """Over the seeds."""
        return statistics(list(self.scores.values()))

    @property
    def label(self) -> str:
        """For an axis."""
        if self.method == ZERO_SHOT:
            return f"{self.start}, {ZERO_SHOT}"
        return f"{self.start}, k={self.k}" if self.start == "scratch" else f"from {self.start}, k={self.k}"

    def values(self) -> tuple[object, ...]:
        """In the order of `COLUMNS`; an interval that does not exist is empty."""
        s = self.statistics
        low, high = s.interval or ("", "")
        return (
            *(self.target, self.backbone, self.k, self.start, self.method, self.metric, len(self.scores)),
            *(s.mean, s.std, low, high, "" if self.dev is None else self.dev),
        )


def ordered(rows: Iterable[Row]) -> list[Row]:
    """By backbone, then zero-shot first, then by k and start, scratch last."""
    return sorted(
        rows, key=lambda row: (row.backbone, row.method != ZERO_SHOT, row.k, row.start == "scratch", row.start)
    )


def print_rows(rows: Sequence[Row], console: Console, *, test_rows: int | None = None) -> None:
    """Print the table; scores in percent."""
    header, body = _cells(rows)
    table = Table(title=_title(rows, test_rows))
    for name in header:
        table.add_column(name, justify="left" if name in _WORDS else "right")
    for cells in body:
        table.add_row(*cells)
    console.print(table)


def markdown(rows: Sequence[Row], *, test_rows: int | None = None) -> str:
    """The table as Markdown, for MLflow's descriptions."""
    header, body = _cells(rows)
    rule = [":--" if name in _WORDS else "--:" for name in header]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, rule, *body)]
    return "\n".join([f"**{_title(rows, test_rows)}**", "", *lines])


_WORDS = ("backbone", "start", "method")


def _title(rows: Sequence[Row], test_rows: int | None) -> str:
    size = f", {test_rows} test rows" if test_rows else ""
    return f"{_subject(rows)} ({rows[0].metric}, %{size})"


def _subject(rows: Sequence[Row]) -> str:
    return f"{rows[0].target} on {', '.join(sorted({row.backbone for row in rows}))}"


def _cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and body; the backbone has a column where there are several."""
    several = len({row.backbone for row in rows}) > 1
    header = ["start", "method", "k", "seeds", "mean", "std", "95% interval", "dev"]
    body = []
    for row in rows:
        s = row.statistics
        interval = "–" if s.interval is None else f"{100 * s.interval[0]:.1f} to {100 * s.interval[1]:.1f}"
        spread = "–" if s.interval is None else f"{100 * s.std:.1f}"
        k = "–" if row.method == ZERO_SHOT else str(row.k)
        numbers = [f"{100 * s.mean:.1f}", spread, interval, "" if row.dev is None else f"{100 * row.dev:.1f}"]
        body.append([*([row.backbone] if several else []), row.start, row.method, k, str(len(row.scores)), *numbers])
    return [*(["backbone"] if several else []), *header], body


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the rows with `COLUMNS` as a header; scores as fractions."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(row.values() for row in rows)


def write_figure(rows: Sequence[Row], path: Path) -> None:
    """Draw means with their intervals, and every seed as a dot."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    colours = {ZERO_SHOT: "#7f7f7f", "scratch": "#d95f02"}
    figure, axes = pyplot.subplots(figsize=(7.5, 1.2 + 0.45 * len(rows)), layout="constrained")
    for y, row in enumerate(rows):
        s = row.statistics
        colour = colours.get(row.method) or colours.get(row.start, "#1b9e77")
        scores = [100 * score for score in row.scores.values()]
        if s.interval:
            axes.hlines(y, 100 * s.interval[0], 100 * s.interval[1], colors=colour, linewidth=2)
            axes.plot(scores, [y] * len(scores), "o", color=colour, alpha=0.35, markersize=4)
        axes.plot(100 * s.mean, y, "D", color=colour, markersize=7)
        axes.annotate(f"{100 * s.mean:.1f}", (100 * s.mean, y), xytext=(0, 7), textcoords="offset points", ha="center")
    several = len({row.backbone for row in rows}) > 1
    axes.set_yticks(range(len(rows)), [f"{row.backbone}: {row.label}" if several else row.label for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.25)
    axes.set_xlabel(f"{rows[0].metric} on test, % (mean, 95% interval over seeds)")
    axes.set_title(_subject(rows))
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
