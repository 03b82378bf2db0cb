"""`orchestrator compare`: what was found for a target, side by side, from its finished runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from orchestrator.comparison import ZERO_SHOT, Row, markdown, ordered, print_rows, write_csv, write_figure
from orchestrator.errors import UsageError
from orchestrator.reading import (
    Experiment,
    compare_page,
    existing_store,
    experiment_name,
    experiments,
    final_runs,
    store_place,
    ui_command,
)
from orchestrator.recorder import BY_SEED, Recorder
from prompts_store import PromptStore
from tasks import SAMPLE_PREFIX

KIND_NAME = "compare"
NOTE = "mlflow.note.content"


def compare(target: str, out: Path, console: Console) -> list[Row]:
    """Print, draw and log the comparison of each task of this name that has finished runs.

    Returns:
        The rows, of all the tasks.

    Raises:
        UsageError: If there are no such runs, or ``out`` cannot be written to.
    """
    store = existing_store()
    found = [] if store is None else [read_comparison(store, e) for e in experiments(store, target)]
    comparisons = [comparison for comparison in found if comparison.rows]
    if store is None or not comparisons:
        raise UsageError(_no_runs(store, target))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {str(out)!r} cannot be made a folder ({error.strerror}): name another") from error
    for comparison in comparisons:
        _show(comparison, store, console)
        csv, figure = _write(comparison.rows, out)
        _log(comparison, store, target, [csv, figure])
        console.print(f"wrote {csv} and {figure}", highlight=False, soft_wrap=True)
    console.print(f"open the MLflow UI with: {ui_command(target)}", highlight=False, soft_wrap=True, markup=False)
    return [row for comparison in comparisons for row in comparison.rows]


@dataclass(frozen=True)
class Comparison:
    """A task's finished runs, pooled.

    Attributes:
        experiment: Where they are.
        rows: One for each backbone, k, start and method, in the order of the table.
        test_rows: How many rows they were tested on.
        left_out: How many runs were tested on other rows than the newest, and stand in no row.
    """

    experiment: Experiment
    rows: Sequence[Row]
    test_rows: int | None
    left_out: int


@dataclass
class _Pool:
    """Runs of one way of starting; each seed's score is the newest run's."""

    scores: dict[int, float] = field(default_factory=dict)
    from_run: dict[int, Any] = field(default_factory=dict)

    def add(self, run: Any, scores: Mapping[int, float]) -> None:
        self.scores |= scores
        self.from_run |= dict.fromkeys(scores, run)

    def _dev(self) -> float | None:
        """Mean dev score; None for runs without dev rows."""
        scores = [run.data.metrics.get("best_dev_score") for run in self.from_run.values()]
        found = [score for score in scores if score is not None]
        return fmean(found) if found else None

    def row(self, task: str) -> Row:
        latest = max(self.from_run.values(), key=lambda run: (run.info.start_time, run.info.run_id))
        params, tags = latest.data.params, latest.data.tags
        return Row(
            target=task,
            backbone=tags["backbone"],
            k=int(params["k"]),
            start=params["start_task"],
            method=params["method"],
            metric=params["metric"],
            scores=dict(sorted(self.scores.items())),
            dev=self._dev(),
            run_id=latest.info.run_id,
        )


def read_comparison(store: PromptStore, experiment: Experiment) -> Comparison:
    """Pool a task's finished runs by backbone, k, start and method.

    Only runs tested on the same rows as the newest one, in the same metric, stand side by side.
    """
    runs = [run for run in final_runs(store, experiment) if BY_SEED in run.data.metrics]
    same = [run for run in runs if _tested_on(run) == _tested_on(runs[-1])]
    pools: dict[tuple[str, ...], _Pool] = {}
    for run in same:
        params = run.data.params
        key = (run.data.tags["backbone"], params["k"], params["start_task"], params["method"])
        history = store.client.get_metric_history(run.info.run_id, BY_SEED)
        pools.setdefault(key, _Pool()).add(run, {point.step: point.value for point in history})
    test_rows = int(same[-1].data.params.get("test_rows", 0)) if same else 0
    rows = ordered(pool.row(experiment.task) for pool in pools.values())
    return Comparison(experiment, rows, test_rows or None, len(runs) - len(same))


def _tested_on(run: Any) -> tuple[str, str]:
    """Digest of the test rows (the last part of each draw's digest), and the metric."""
    return run.data.tags.get("data_digest", "").rpartition(":")[2], run.data.params["metric"]


def _show(comparison: Comparison, store: PromptStore, console: Console) -> None:
    task = comparison.experiment.task
    print_rows(comparison.rows, console, test_rows=comparison.test_rows)
    if comparison.left_out:
        console.print(
            f"note: {comparison.left_out} earlier runs were tested on other rows and are left out", highlight=False
        )
    stored = store.find(task=task)
    if stored:
        console.print(f"stored for {task}:", highlight=False)
    for prompt in stored:
        made = "source" if prompt.k is None else f"k={prompt.k}"
        marks = f" ({', '.join(prompt.aliases)})" if prompt.aliases else ""
        dev = "unknown" if prompt.dev_score is None else f"{prompt.dev_score:.1%}"
        console.print(
            f"  {prompt.ref}{marks}: {made}, from {prompt.start}, dev {dev}",
            highlight=False,
            soft_wrap=True,
        )


def _write(rows: Sequence[Row], out: Path) -> tuple[Path, Path]:
    csv, figure = out / f"{rows[0].target}.csv", out / f"{rows[0].target}.png"
    write_csv(rows, csv)
    write_figure(rows, figure)
    return csv, figure


def _log(comparison: Comparison, store: PromptStore, target: str, files: Sequence[Path]) -> None:
    """Log the comparison as a run, and put its table at the top of the experiment's page."""
    from mlflow.entities import Metric

    task, rows = comparison.experiment.task, comparison.rows
    recorder = Recorder(
        store,
        experiment_name(task),
        name=f"comparison of {task}",
        kind=KIND_NAME,
        params={"target": target, "rows": len(rows), "test_rows": comparison.test_rows},
        tags={"task": task, "compared_runs": " ".join(row.run_id for row in rows)},
    )
    with recorder:
        now = int(time.time() * 1000)
        values = [Metric(f"mean/{_metric_name(row)}", row.statistics.mean, now, 0) for row in rows]
        recorder.client.log_batch(recorder.parent, metrics=values)
        for file in files:
            recorder.client.log_artifact(recorder.parent, str(file))
        page = compare_page([row.run_id for row in rows], comparison.experiment)
        note = f"{markdown(rows, test_rows=comparison.test_rows)}\n\n[The runs side by side]({page})\n"
        recorder.tag(None, NOTE, note)
        store.client.set_experiment_tag(comparison.experiment.id, NOTE, note)


def _metric_name(row: Row) -> str:
    start = ZERO_SHOT if row.method == ZERO_SHOT else f"k{row.k}"
    return "/".join((_plain(row.backbone), _plain(row.start), _plain(row.method), start)).replace(
        f"{ZERO_SHOT}/{ZERO_SHOT}", ZERO_SHOT
    )


def _plain(text: str) -> str:
    """Only characters that a metric's name may have."""
    return "".join(c if c.isalnum() or c in "_-." else "-" for c in text)


def _no_runs(store: PromptStore | None, target: str) -> str:
    from tasks import load_task, task_names

    known = [] if store is None else sorted({experiment.task for experiment in experiments(store)})
    name = target.removeprefix(SAMPLE_PREFIX)
    if name not in task_names() and not any(name == task.removeprefix(SAMPLE_PREFIX) for task in known):
        load_task(name)  # an unknown name is reported as such, with near ones
    there = f" (there are runs of {', '.join(known)})" if known else ""
    data = " --data sample" if target.startswith(SAMPLE_PREFIX) else ""
    return (
        f"no finished few-shot runs of {target!r} in {store_place()}{there}: run `orchestrator fewshot --target {name} "
        f"--k 16{data}` first, or go to the folder of another store"
    )
