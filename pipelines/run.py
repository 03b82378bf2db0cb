"""A pack from start to end: trains to the next evaluation, drops the weak, reports every slot."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipelines.backbone import Backbone
from pipelines.checkpoint import PackState
from pipelines.halving import Halving
from pipelines.memory import fitting_tokens, free_bytes
from pipelines.pack import Pack
from pipelines.parallel import ALONE, Share
from pipelines.slot import Quality, Slot, Status, by_configuration, objective
from pipelines.spec import SlotData, SlotSpec
from pipelines.start import SCRATCH, start_tensors
from pipelines.threads import one_thread
from prompts_store import Artifact


@dataclass(frozen=True)
class Job:
    """What all packs of a command share; shipped to each worker once.

    Attributes:
        backbone: Name or folder of the backbone.
        fingerprint: The backbone's, as the driver found it.
        data: Data sets by name.
        starts: Artifacts by reference.
        labels: By reference, class of the target -> class of the artifact; by the labels' names where there is none.
        halving: When packs of a search drop their weaker half; packs that are kept never do.
        dtype: What the backbone computes in, e.g. ``bfloat16``; None to choose by the device.
        attention: Its implementation, ``eager`` or ``sdpa``; None to choose by the device.
        chunk_tokens: Tokens in a pass at most; None for what usually suits the device.
        token_bytes: What a token of a pass holds, as `pipelines.fitting` found it; None if that is not known.
        files: Says in which folder the backbone's files are on the machine where it is called; None where the backbone
            goes by its name.
    """

    backbone: str
    fingerprint: str
    data: Mapping[str, SlotData]
    starts: Mapping[str, Artifact] = field(default_factory=dict)
    labels: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    halving: Halving = field(default_factory=Halving)
    dtype: str | None = None
    attention: str | None = None
    chunk_tokens: int | None = None
    token_bytes: int | None = None
    files: Callable[[], str] | None = None


@dataclass(frozen=True)
class Final:
    """What a finished slot leaves behind.

    Attributes:
        tensors: The best checkpoint by dev, float32, on the CPU.
        test: Quality on the test rows, if there are any.
        metrics: Every metric of the task on the test rows, and how its answers were read, see `judging.Judgement`.
        dev: Quality on dev by the task's metric, where the checkpoint was chosen without it, by likelihood alone.
    """

    tensors: Mapping[str, Tensor]
    test: Quality | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    dev: Quality | None = None


@dataclass(frozen=True)
class Report:
    """How a slot stands after an evaluation.

    Attributes:
        spec: The slot.
        step: Steps done.
        status: Whether it goes on, and if not why.
        loss: Of the last step; NaN before the first.
        dev: Quality now; None if it ended without an evaluation.
        best: Quality of the best checkpoint so far.
        best_step: Where that was.
        final: Set once, when the slot has finished and the pack was asked for results.
    """

    spec: SlotSpec
    step: int
    status: Status
    loss: float
    dev: Quality | None
    best: Quality | None
    best_step: int
    final: Final | None = None


class PackRun:
    """Runs one pack.

    Args:
        backbone: Frozen.
        specs: The slots.
        job: What they refer to.
        keep: Whether finished slots are tested and their tensors handed out.
        share: This process's part, if several run the pack together; all then report the same.
    """

    def __init__(
        self, backbone: Backbone, specs: Sequence[SlotSpec], job: Job, *, keep: bool, share: Share = ALONE
    ) -> None:
        self.job = job
        self.keep = keep
        slots = []
        with one_thread():
            for spec in specs:
                data = job.data[spec.data]
                artifact = None if spec.start == SCRATCH else job.starts[spec.start]
                tensors = start_tensors(spec, data, backbone, artifact, job.labels.get(spec.start))
                slots.append(Slot(spec, data, tensors, backbone.device))
        self.pack = Pack(backbone, slots, job.chunk_tokens, share)
        if job.token_bytes:
            self.pack.chunk_tokens = fitting_tokens(
                self.pack.chunk_tokens, job.token_bytes, slots, free_bytes(backbone.device)
            )
        self._reported: set[str] = set()

    @property
    def done(self) -> bool:
        """Whether every slot has been reported for the last time."""
        return len(self._reported) == len(self.pack.slots)

    @property
    def steps(self) -> int:
        """Optimiser steps of all slots so far."""
        return sum(slot.step for slot in self.pack.slots)

    def advance(self, seconds: float = math.inf) -> list[Report]:
        """Train to the next evaluation and report the slots it was about, and those that ended.

        Returns nothing if that takes longer than ``seconds``, or if the pack is done. The first call only evaluates the
        starts. How often a caller looks changes no number.
        """
        slots = [slot for slot in self.pack.slots if slot.spec.key not in self._reported]
        starting = [slot for slot in slots if slot.status == "training" and slot.best is None]
        judged: list[Slot] | None = starting
        if starting:
            self.pack.judge(starting)
        else:
            judged = self._train(time.monotonic() + seconds)
        if judged is None:
            return []
        _stop_siblings(slots)
        if not self.keep:
            self.job.halving.drop(self.pack.slots, max((slot.step for slot in slots), default=0))
        reports = [self._report(slot, slot in judged) for slot in slots if slot in judged or slot.status != "training"]
        self._reported |= {report.spec.key for report in reports if report.status != "training"}
        return reports

    def state(self) -> PackState:
        """Where the pack stands between two calls of `advance`."""
        return PackState({slot.spec.key: slot.state() for slot in self.pack.slots}, frozenset(self._reported))

    def results(self, floors: Mapping[int, float]) -> PackState:
        """What became of configurations whose slots all went to their end: a pack it is restored to tests them.

        Args:
            floors: By configuration, the mean objective it has to exceed; those without one are in any case.
        """
        good = [
            slot
            for config, group in by_configuration(self.pack.slots).items()
            if all(slot.status == "finished" for slot in group) and objective(group) > floors.get(config, -math.inf)
            for slot in group
        ]
        return PackState({slot.spec.key: slot.state() for slot in good}, frozenset())

    def restore(self, state: PackState) -> None:
        """Go on from where a pack with these slots stood; slots that only one of the two has are left as they are.

        Raises:
            PipelineError: A slot of the same key has other settings or rows.
        """
        for slot in self.pack.slots:
            if own := state.slots.get(slot.spec.key):
                slot.restore(own)
                if slot.spec.key in state.reported:
                    self._reported.add(slot.spec.key)

    def _train(self, deadline: float) -> list[Slot] | None:
        """Step until slots were evaluated or diverged; those evaluated, or None if the deadline came first."""
        training = self.pack.training
        while training:
            judged = self.pack.step()
            if judged or any(slot.status != "training" for slot in training):
                return judged
            if time.monotonic() > deadline:
                return None
        return []

    def _report(self, slot: Slot, judged: bool) -> Report:
        best = slot.best
        return Report(
            spec=slot.spec,
            step=slot.step,
            status=slot.status,
            loss=slot.loss,
            dev=slot.dev if (judged or slot.status == "finished") and slot.status != "diverged" else None,
            best=best.quality if best else None,
            best_step=best.step if best else 0,
            final=self._final(slot) if self.keep and slot.status == "finished" else None,
        )

    def _final(self, slot: Slot) -> Final:
        slot.restore_best()
        tensors = {name: tensor.detach().to("cpu", torch.float32) for name, tensor in slot.params.items()}
        data = slot.data
        dev = None
        if data.dev is not None and self.pack.chosen_without_metric(slot):
            (on_dev,) = self.pack.evaluate([slot], [data.dev], final=True)
            dev = on_dev.quality
        if data.test is None:
            return Final(tensors, None, dev=dev)
        (found,) = self.pack.evaluate([slot], [data.test], final=True)
        return Final(tensors, found.quality, found.metrics, dev)


def _stop_siblings(slots: Sequence[Slot]) -> None:
    """A configuration that diverged on one seed has failed: its other seeds need not go on."""
    failed = {slot.spec.config for slot in slots if slot.status == "diverged"}
    for slot in slots:
        if slot.spec.config in failed and slot.status == "training":
            slot.status = "dropped"
