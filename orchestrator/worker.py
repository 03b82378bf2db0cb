"""What runs on a Ray worker: a Tune trainable whose trial is a pack.

A worker keeps its backbone between packs. It knows neither MLflow nor Optuna: what its slots learned travels back in
the trial's results.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import ray
from ray import tune

from orchestrator.logs import PACKAGES

if TYPE_CHECKING:
    from pipelines.backbone import Backbone
    from pipelines.checkpoint import PackState
    from pipelines.run import Job, Report
    from pipelines.spec import SlotSpec

REPORT_SECONDS = 2.0
"""Evaluations within this time are reported together."""


@dataclass(frozen=True)
class PackPlan:
    """A pack to be run.

    Attributes:
        specs: Its slots.
        keep: Whether finished slots are tested and hand out their tensors; those of a search are kept as results, which
            a pack that tests them goes on from.
        floors: By configuration of a search, the objective it has to exceed for its results to be of use to anyone.
        saved: Checkpoints to go on from, the oldest first (`pipelines.checkpoint`); slots in none of them start afresh.
    """

    specs: tuple[SlotSpec, ...]
    keep: bool = False
    saved: tuple[bytes, ...] = ()
    floors: Mapping[int, float] = field(default_factory=dict)

    @property
    def configs(self) -> list[int]:
        """The configurations in it, in order."""
        return sorted({spec.config for spec in self.specs})

    @property
    def steps(self) -> int:
        """Optimiser steps if no slot stops early."""
        return sum(spec.steps for spec in self.specs)

    def split(self) -> list[PackPlan]:
        """Two packs with half of the configurations each; itself if there is only one."""
        configs = self.configs
        if len(configs) == 1:
            return [self]
        first = set(configs[: len(configs) // 2])
        return [
            replace(self, specs=tuple(spec for spec in self.specs if (spec.config in first) is side))
            for side in (True, False)
        ]


class Running(Protocol):
    """A pack under way; `pipelines.run.PackRun` is one."""

    @property
    def done(self) -> bool:
        """Whether every slot has been reported for the last time."""

    @property
    def steps(self) -> int:
        """Optimiser steps of all slots so far."""

    def advance(self, seconds: float) -> list[Report]:
        """Train to the next evaluation, or so many seconds."""

    def state(self) -> PackState:
        """Where it stands."""

    def results(self, floors: Mapping[int, float]) -> PackState:
        """The configurations that went to their end and are better than that."""

    def restore(self, state: PackState) -> None:
        """Go on from where another stood."""


StartPack = Callable[[Sequence["SlotSpec"], bool], Running]


Content = TypeVar("Content", "list[list[Report]]", bytes)


class Parcel(Generic[Content]):
    """Carries reports, or a checkpoint, through Tune to whoever takes them.

    Afterwards it is empty, so that Tune's copies stay small.
    """

    def __init__(self, content: Content) -> None:
        self._content: Content | None = content

    def take(self) -> Content | None:
        """The content, once."""
        content, self._content = self._content, None
        return content


@dataclass(frozen=True)
class Crash:
    """Why a pack crashed.

    Attributes:
        reason: In a line.
        traceback: In full; empty if the process died.
    """

    reason: str
    traceback: str


class Warnings(logging.Handler):
    """Keeps what our packages warn of in this process, so that it travels with a result to whoever waits for one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []
        for name in PACKAGES:
            logging.getLogger(name).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self._texts.append(record.getMessage())

    def take(self) -> list[str]:
        """The warnings since the last time."""
        texts, self._texts = self._texts, []
        return texts


class BackboneRunner:
    """Starts packs of one command; loads the backbone when the first pack of a process asks for it.

    Args:
        job: What the packs share.
        threads: CPU threads to compute with: the worker's share of the machine, or two of them crawl.
    """

    def __init__(self, job: Job, threads: int) -> None:
        self.job = job
        self.threads = threads
        self._loaded: Backbone | None = None

    def __call__(self, specs: Sequence[SlotSpec], keep: bool) -> Running:
        """Start a pack."""
        from pipelines.run import PackRun

        return PackRun(self._backbone(), specs, self.job, keep=keep)

    def _backbone(self) -> Backbone:
        import torch

        from pipelines.backbone import load_backbone

        if self._loaded is None:
            torch.set_num_threads(self.threads)
            device = "cuda" if torch.cuda.is_available() else "cpu"
            dtype = getattr(torch, self.job.dtype) if self.job.dtype else None
            name = self.job.files() if self.job.files else self.job.backbone
            backbone = load_backbone(name, dtype=dtype, device=device, attention=self.job.attention)
            if backbone.info.fingerprint != self.job.fingerprint:
                raise RuntimeError(
                    f"this worker's {self.job.backbone} has fingerprint {backbone.info.fingerprint[:12]}, the "
                    f"driver's {self.job.fingerprint[:12]}: give both the same files"
                )
            self._loaded = backbone
        return self._loaded


class PackTrainable(tune.Trainable):  # type: ignore[misc]
    """A Tune trial that trains a pack.

    Its config is ``{"plan": PackPlan, "saved": [...]}``, with the plan's checkpoints as Ray objects: Tune writes
    configs into its snapshots.
    """

    def setup(self, config: dict[str, Any], start_pack: StartPack, checkpoint_every: float) -> None:
        """Take the first pack."""
        self._start_pack = start_pack
        self._checkpoint_every = checkpoint_every
        self._warnings = Warnings()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next pack; the backbone stays."""
        self._plan: PackPlan = new_config["plan"]
        self._saved: list[Any] = new_config["saved"]
        self._running: Running | None = None
        return True

    def step(self) -> dict[str, Any]:
        """Train for a while and report; an exception is a result like any other, so that this process lives on."""
        try:
            if self._running is None:
                self._running = self._start_pack(self._plan.specs, self._plan.keep)
                restore(self._running, ray.get(self._saved))
                self._checkpointed = time.monotonic()
            evaluations: list[list[Report]] = []
            end = time.monotonic() + REPORT_SECONDS
            while not evaluations or not (self._running.done or self._checkpoint_due or time.monotonic() > end):
                evaluations.append(self._running.advance(max(0.0, end - time.monotonic())))
            result = {"evaluations": Parcel(evaluations), "steps": self._running.steps, "done": self._running.done}
            if self._checkpoint_due and not self._running.done:
                result["checkpoint"] = Parcel(self._running.state().dump())
                self._checkpointed = time.monotonic()
            if self._running.done and not self._plan.keep:
                results = self._running.results(self._plan.floors)
                if results.slots:
                    result["results"] = Parcel(results.dump())
        except Exception as error:
            self._running = None  # lets go of its memory
            result = {"crash": Crash(_line(error), traceback.format_exc()), "done": True}
        return result | {"warnings": self._warnings.take()}

    @property
    def _checkpoint_due(self) -> bool:
        return time.monotonic() - self._checkpointed >= self._checkpoint_every

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: checkpoints travel in results, as workers share no disk with anyone."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see `save_checkpoint`."""


def restore(running: Running, saved: Sequence[bytes]) -> None:
    """Let a pack go on from checkpoints, the oldest first."""
    from pipelines.checkpoint import PackState

    for data in saved:
        running.restore(PackState.parse(data))


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
