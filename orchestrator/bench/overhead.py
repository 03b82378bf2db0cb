"""What a search costs besides training: Ray, Optuna, MLflow, with the backbone's passes replaced by a stub.

The whole of `orchestrator fewshot` runs, on a real Ray, with a real Optuna study and a store in SQLite; slots, their
optimisers, halving and reports are real. Only gradients are missing and scores are drawn at random.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from orchestrator.bench.places import own_store
from orchestrator.bench.search import settings_of
from orchestrator.commands.fewshot import fewshot
from orchestrator.worker import BackboneRunner, Running
from pipelines.encode import Encoded
from pipelines.pack import Pack
from pipelines.run import Job, PackRun
from pipelines.slot import Slot
from pipelines.spec import SlotSpec


class StubPack(Pack):
    """Counts steps without taking them, and scores rows at random."""

    def _update(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            slot.next_rows()
            slot.update(1.0)

    def scores(self, slots: Sequence[Slot], sets: Sequence[Encoded]) -> list[Tensor]:
        """Scores drawn by configuration, seed and step."""
        return [self._drawn(slot, len(rows)) for slot, rows in zip(slots, sets, strict=True)]

    @staticmethod
    def _drawn(slot: Slot, rows: int) -> Tensor:
        seed = hash((slot.spec.config, slot.spec.seed, slot.step))
        return torch.randn(rows, slot.data.classes, generator=torch.Generator().manual_seed(seed))


class StubRunner(BackboneRunner):
    """Starts packs that only pretend to train."""

    def __call__(self, specs: Sequence[SlotSpec], keep: bool) -> Running:
        """Start a pack."""
        run = PackRun(self._backbone(), specs, self.job, keep=keep)
        run.pack = StubPack(run.pack.backbone, run.pack.slots)
        return run


@dataclass(frozen=True)
class Overhead:
    """What was measured.

    Attributes:
        configs: Configurations searched over.
        start: Seconds until the search began: rows, backbone, store and Ray.
        seconds: Seconds from there to the end, the start of the worker and the test of the winner among them.
        rss_before: The driver's largest memory until then, in bytes.
        peak_rss: The same at the end.
    """

    configs: int
    start: float
    seconds: float
    rss_before: int
    peak_rss: int

    @property
    def each(self) -> float:
        """Seconds for one configuration."""
        return self.seconds / self.configs


def measure(configs: int, backbone: str) -> Overhead:
    """Search over so many configurations without training them, in a store of its own.

    Args:
        configs: How many.
        backbone: A real one.
    """
    times = [time.perf_counter()]
    before = 0

    def runner(job: Job, threads: int) -> StubRunner:
        nonlocal before
        times.append(time.perf_counter())
        before = _peak_rss()
        return StubRunner(job, threads)

    with tempfile.TemporaryDirectory() as folder, own_store(Path(folder)):
        fewshot(settings_of(configs, backbone), Console(quiet=True), runner)
    begun, searching, ended = *times, time.perf_counter()
    return Overhead(configs, searching - begun, ended - searching, before, _peak_rss())


def _peak_rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
