"""`orchestrator bench`: how fast training and searching are on this machine."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table

from orchestrator.bench import overhead, search, steps
from orchestrator.errors import UsageError

What = Literal["step", "packs", "overhead", "search"]
WHAT: tuple[What, ...] = ("step", "packs", "overhead", "search")
STUBBED, SEARCHED = 1000, 44
"""Configurations whose overhead is measured, and those of a whole search: five minutes on two cores with AMX."""


def bench(
    console: Console,
    *,
    what: Sequence[What] = WHAT,
    backbone: str = "minilm",
    mean: int = 30,
    quick: bool = False,
    sizes: Sequence[int] = (1, 2, 4, 8, 16),
    rounds: int = 5,
    out: Path | None = None,
) -> dict[str, Any]:
    """Measure, print a table for each measurement, and keep the numbers.

    Args:
        console: Where tables are printed.
        what: The measurements.
        backbone: A backbone, or for ``step`` and ``packs`` a shape such as ``t5-base``.
        mean: Mean tokens of a text in ``step`` and ``packs``.
        quick: Show that it works rather than measure: one round, few configurations.
        sizes: Packs of so many configurations in ``packs``.
        rounds: How often steps are timed.
        out: A JSON file to be written.

    Raises:
        UsageError: If the file cannot be written; before anything is measured.
    """
    if out is not None and not out.absolute().parent.is_dir():
        raise UsageError(f"--json {out}: there is no folder {out.absolute().parent}: make it, or name another place")
    device = steps.default_device()
    if quick:
        sizes, rounds = sizes[:2], 1
    result: dict[str, Any] = {"machine": machine(device), "backbone": backbone}
    if "step" in what:
        result["step"] = seconds = steps.ways(backbone, mean=mean, rounds=rounds, device=device)
        _print_seconds(console, f"A training step of {steps.ROWS} rows, {backbone}", "one configuration", seconds)
    if "packs" in what:
        curve = steps.curve(backbone, sizes, mean=mean, rounds=rounds, device=device)
        result["packs"] = asdict(curve)
        in_pack = {f"{number} in a pack": value for number, value in curve.seconds.items()}
        _print_seconds(console, f"A few-shot step of {steps.FEW} rows, {backbone}", "one configuration", in_pack)
        console.print(
            f"matrix products: {curve.reached / 1e12:.3f} of {curve.possible / 1e12:.3f} TFLOP/s, "
            f"{curve.reached / curve.possible:.0%}, {max(sizes)} in a pack",
            highlight=False,
        )
    if "overhead" in what:
        found = overhead.measure(20 if quick else STUBBED, backbone)
        result["overhead"] = asdict(found) | {"each": found.each}
        console.print(
            f"a configuration costs {found.each * 1000:.0f} ms besides training ({found.configs} in "
            f"{found.seconds:.1f} s, after {found.start:.1f} s to start; driver {found.rss_before / 2**20:.0f} MiB "
            f"before, {found.peak_rss / 2**20:.0f} MiB at most)",
            highlight=False,
        )
    if "search" in what:
        share = search.measure(2 if quick else SEARCHED, backbone)
        result["search"] = asdict(share) | {"outside": share.outside}
        console.print(
            f"a search over {share.configs} configurations took {share.seconds:.0f} s: {share.passes:.0f} s in forward "
            f"and backward passes, {share.packs - share.passes:.0f} s more in packs; {share.outside:.1%} not in passes",
            highlight=False,
        )
    if out is not None:
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def machine(device: torch.device) -> dict[str, Any]:
    """Date, device and versions, to stand beside the numbers."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _print_seconds(console: Console, title: str, column: str, seconds: Mapping[str, float]) -> None:
    table = Table(title=title)
    table.add_column("way")
    table.add_column(f"seconds, {column}", justify="right")
    table.add_column("times as fast", justify="right")
    first = next(iter(seconds.values()))
    for name, value in seconds.items():
        table.add_row(name, f"{value:.4f}", f"{first / value:.1f}")
    console.print(table)
