"""`orchestrator status`: how commands stand, from any process that reaches the store."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from orchestrator.heartbeat import Sign
from orchestrator.recorder import KIND, REASON, STATE
from orchestrator.resumed import children
from orchestrator.runs import commands, condition, find_command, the_store

SHOWN = 20


def status(ref: str | None, console: Console) -> None:
    """Show a command with its configurations, or without one named the newest commands.

    Raises:
        UsageError: If there is no such run, or no store.
    """
    store = the_store()
    if ref is not None:
        _show(store, find_command(store, ref), console)
        return
    table = Table("run", "command", Column("name", overflow="fold"), "state", "steps", "last sign")
    for _, parent in zip(range(SHOWN), commands(store), strict=False):
        sign = Sign.read(parent.data.tags)
        info = parent.info
        steps = f"{sign.done}/{sign.total}" if sign else ""
        table.add_row(info.run_id[:8], parent.data.tags[KIND], info.run_name, condition(parent), steps, _ago(sign))
    console.print(table if table.row_count else "no command has been run yet")


def _show(store: Any, parent: Any, console: Console) -> None:
    tags, sign, state = parent.data.tags, Sign.read(parent.data.tags), condition(parent)
    lines = [f"{parent.info.run_name} ({tags[KIND]}, run {parent.info.run_id}): {_in_words(state)}"]
    if REASON in tags:
        lines.append(tags[REASON])
    if sign is not None:
        took = sign.at - sign.since
        rate = (sign.done - sign.first) / took if took > 0 else 0.0
        left = f", {(sign.total - sign.done) / rate:.0f} s for the rest of them" if rate and state == "running" else ""
        lines.append(f"{sign.done} of {sign.total} steps planned so far, {rate:.1f} steps/s{left}")
        if sign.best:
            lines.append(sign.best)
        lines.append(f"driver: process {sign.pid} on {sign.host}, last sign of life {_ago(sign)}")
    runs = children(store, parent)
    counts = Counter(run.data.tags.get(STATE, "running" if state == "running" else "cut off") for run in runs)
    lines.append("configurations: " + (", ".join(f"{n} {word}" for word, n in sorted(counts.items())) or "none yet"))
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    table = Table("run", Column("configuration", overflow="fold"), "state", "steps", "dev", "test")
    for run in runs:
        metrics = run.data.metrics
        dev, test = metrics.get("best_dev_score", metrics.get("dev_score")), metrics.get("test_score")
        table.add_row(
            run.info.run_id[:8],
            run.info.run_name,
            run.data.tags.get(STATE, "running" if state == "running" else "cut off"),
            run.data.params.get("steps", ""),
            "" if dev is None else f"{dev:.1%}",
            "" if test is None else f"{test:.1%}",
        )
    if runs:
        console.print(table)


def _in_words(state: str) -> str:
    return "dead: its driver is gone; resume or cancel it" if state == "dead" else state


def _ago(sign: Sign | None) -> str:
    return "" if sign is None else f"{max(0.0, time.time() - sign.at):.0f} s ago"
