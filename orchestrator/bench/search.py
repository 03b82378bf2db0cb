"""How much of a whole search goes into the backbone's passes.

    python -m orchestrator.bench.search CONFIGURATIONS BACKBONE

runs a search in this process, in a store of its own, and prints what `measure` reads: `measure` starts it as a process,
so that starting Python and importing the libraries count.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from orchestrator.bench.places import own_store
from orchestrator.commands.fewshot import fewshot
from orchestrator.errors import RunFailedError
from orchestrator.settings import SCRATCH, FewshotSettings
from orchestrator.worker import BackboneRunner, Running
from pipelines.backbone import Backbone
from pipelines.encode import Batch
from pipelines.families import Embed, Family, SlotView
from pipelines.run import Job, PackRun, Report
from pipelines.spec import SlotSpec


@dataclass(frozen=True)
class Share:
    """Where the time of a search went.

    Attributes:
        configs: Configurations searched over.
        seconds: The whole command, from the start of Python to its end.
        packs: Of these, the time workers spent on packs, the mean over workers.
        passes: Of these, forward and backward passes.
    """

    configs: int
    seconds: float
    packs: float
    passes: float

    @property
    def outside(self) -> float:
        """Share of the time outside forward and backward passes."""
        return 1 - self.passes / self.seconds


def settings_of(configs: int, backbone: str) -> FewshotSettings:
    """A search on a sample task, else with the defaults of `orchestrator fewshot`."""
    return FewshotSettings(target="cb", k=16, data="sample", start=SCRATCH, trials=configs, backbone=backbone)


def measure(configs: int, backbone: str) -> Share:
    """Search in a process of its own and see where the time went.

    Raises:
        RunFailedError: If the search fails; the message is the process's.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", __name__, str(configs), backbone]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RunFailedError(f"the search to be measured failed: {done.stderr.strip().splitlines()[-1]}")
    spent = json.loads(done.stdout.splitlines()[-1])
    return Share(configs, seconds, spent["packs"], spent["passes"])


class Stopwatch:
    """Seconds that a worker spent on packs, and in the backbone's passes."""

    def __init__(self) -> None:
        self.packs = self.passes = 0.0
        self._since = 0.0

    def start(self) -> None:
        """A pass begins."""
        self._since = self.now()

    def stop(self) -> None:
        """A pass has ended."""
        self.passes += self.now() - self._since

    @staticmethod
    def now() -> float:
        """The time, when all that was asked of the device is done."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


class TimedFamily:
    """A family whose passes are timed."""

    def __init__(self, family: Family, watch: Stopwatch) -> None:
        self.family = family
        self.watch = watch

    def losses(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """The family's; the backward pass that starts at them is timed too."""
        self.watch.start()
        losses = self.family.losses(backbone, batch, embed, slots)
        self.watch.stop()
        if losses.requires_grad:
            losses.register_hook(self._backward)  # type: ignore[no-untyped-call]
        return losses

    def scores(self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView]) -> Tensor:
        """The family's."""
        self.watch.start()
        scores = self.family.scores(backbone, batch, embed, slots)
        self.watch.stop()
        return scores

    def generate(
        self, backbone: Backbone, batch: Batch, embed: Embed, slots: Sequence[SlotView], limit: int
    ) -> list[list[int]]:
        """The family's."""
        self.watch.start()
        said = self.family.generate(backbone, batch, embed, slots, limit)
        self.watch.stop()
        return said

    def _backward(self, gradient: Tensor) -> None:
        self.watch.start()
        torch.autograd.Variable._execution_engine.queue_callback(self.watch.stop)


class TimedRunner(BackboneRunner):
    """Starts packs that note in a folder, in a file for each worker, how long they took."""

    def __init__(self, job: Job, threads: int, folder: Path) -> None:
        super().__init__(job, threads)
        self.folder = folder
        self.watch = Stopwatch()

    def __call__(self, specs: Sequence[SlotSpec], keep: bool) -> Running:
        """Start a pack."""
        run = TimedRun(self._backbone(), specs, self.job, keep=keep)
        run.watch, run.note = self.watch, self.folder / str(os.getpid())
        run.pack.family = TimedFamily(run.pack.family, self.watch)
        return run


class TimedRun(PackRun):
    """A pack under way whose time is noted."""

    watch: Stopwatch
    note: Path

    def advance(self, seconds: float = math.inf) -> list[Report]:
        """Train to the next evaluation, or so many seconds."""
        start = self.watch.now()
        reports = super().advance(seconds)
        self.watch.packs += self.watch.now() - start
        self.note.write_text(json.dumps({"packs": self.watch.packs, "passes": self.watch.passes}), encoding="utf-8")
        return reports


def main() -> None:
    """Search, then print how long workers computed."""
    configs, backbone = int(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as name, own_store(Path(name)):
        notes = Path(name, "notes")
        notes.mkdir()
        fewshot(settings_of(configs, backbone), Console(quiet=True), partial(TimedRunner, folder=notes))
        spent = [json.loads(note.read_text(encoding="utf-8")) for note in notes.iterdir()]
    print(json.dumps({key: sum(one[key] for one in spent) / len(spent) for key in ("packs", "passes")}))


if __name__ == "__main__":
    main()
