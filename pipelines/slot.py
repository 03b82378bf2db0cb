"""A slot: one configuration being trained, with its own optimiser, schedule, batches and best checkpoint."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pipelines.checkpoint import SlotState
from pipelines.errors import PipelineError
from pipelines.methods.dept import Factors
from pipelines.spec import SlotData, SlotSpec
from pipelines.threads import one_thread

Status = Literal["training", "finished", "dropped", "diverged"]
FACTOR_NAMES = ("prompt", "A", "B")
_OPTIMIZER, _BEST = "optimizer/", "best/"  # how the names of a checkpoint's other tensors begin


@dataclass(frozen=True, order=True)
class Quality:
    """How good a checkpoint is: the metric first, then the mean log-likelihood of what is right.

    Sixteen dev rows tie often on the metric; the likelihood breaks the ties. Of classes it is over the classes, of
    answers in words per token, and of a number that an encoder gives it is minus the squared error (a Gaussian's, up to
    a constant).
    """

    score: float
    log_likelihood: float

    @property
    def objective(self) -> float:
        """Both in one number, for a search: the metric plus a thousandth of the geometric-mean probability.

        The second term is between 0 and 0.001, less than one row of any dev set that ties; the metric may be negative.
        """
        return self.score + 1e-3 * math.exp(self.log_likelihood)


@dataclass
class Best:
    """The best checkpoint so far, or without dev rows the last: a slot's few tensors, never the backbone."""

    step: int
    quality: Quality | None
    tensors: dict[str, Tensor]


class Slot:
    """State of one configuration in training.

    Args:
        spec: What to train.
        data: On what.
        tensors: Where to start: ``prompt``, ``A``, ``B`` and, for encoders, ``head.*``.
        device: Where the tensors live.
        dtype: float32; tests of exactness use float64.
    """

    def __init__(
        self,
        spec: SlotSpec,
        data: SlotData,
        tensors: Mapping[str, Tensor],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.spec = spec
        self.data = data
        self.params = {
            name: tensor.detach().to(device, dtype, copy=True).requires_grad_() for name, tensor in tensors.items()
        }
        groups = [(["prompt"], spec.alpha1), (["A", "B"], spec.alpha2), (self._head_names(), spec.head_lr)]
        self.optimizer = torch.optim.AdamW(
            [{"params": [self.params[n] for n in names], "lr": lr, "peak": lr} for names, lr in groups if names],
            weight_decay=0.0,  # has no effect in the released code, whatever it is given
            fused=True,  # a quarter of the time, on CPUs too
        )
        self.step = 0
        self.status: Status = "training"
        self.dev: Quality | None = None
        self.best: Best | None = None
        self.stale = 0
        self.loss = math.nan
        self._batches = batches(len(data.train), spec.batch, spec.seed)

    @property
    def dtype(self) -> torch.dtype:
        """What the tensors are kept and trained in."""
        return self.params["prompt"].dtype

    def _head_names(self) -> list[str]:
        return [name for name in self.params if name not in FACTOR_NAMES]

    @property
    def factors(self) -> Factors:
        """The input-level tensors."""
        p = self.params
        return Factors(p["prompt"], p["A"], p["B"], self.spec.gamma)

    @property
    def head(self) -> dict[str, Tensor]:
        """The classification head; empty for families without."""
        return {name.removeprefix("head."): self.params[name] for name in self._head_names()}

    def next_rows(self) -> Sequence[int]:
        """The training rows of the next step."""
        return next(self._batches)

    @one_thread()
    def update(self, loss: float) -> None:
        """One optimiser step on the gradients at hand.

        A loss or gradient that is not finite ends the slot, and so does a rate so large that AdamW itself would raise:
        dividing it by 1 − β1 must not overflow.
        """
        self.loss = loss
        parameters = list(self.params.values())
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.spec.clip)
        factor = schedule(self.step, self.spec.steps, self.spec.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        possible = all(group["lr"] < torch.finfo(self.dtype).max / 16 for group in self.optimizer.param_groups)
        if not (math.isfinite(loss) and bool(norm.isfinite()) and possible):
            self.status = "diverged"
            self.discard_gradients()
            return
        self.optimizer.step()
        self.discard_gradients()
        self.step += 1

    def discard_gradients(self) -> None:
        """Begin the next step, or this one again, with none."""
        for parameter in self.params.values():
            parameter.grad = None

    @property
    def due(self) -> bool:
        """Whether the slot is to be evaluated on dev now."""
        at_evaluation = self.step % self.spec.eval_every == 0 or self.step >= self.spec.steps
        return self.status == "training" and at_evaluation

    def judge(self, quality: Quality) -> None:
        """Take note of an evaluation on dev; keep the tensors if it is the best so far, and see whether to go on.

        Scores that are not finite end the slot: tensors that give them are no checkpoint, whatever the metric says.
        """
        if not math.isfinite(quality.log_likelihood):
            self.status = "diverged"
            return
        self.dev = quality
        if self.best is None or self.best.quality is None or quality > self.best.quality:
            self._keep(quality)
            self.stale = 0
        else:
            self.stale += 1
        if self.step >= self.spec.steps or (self.spec.patience and self.stale >= self.spec.patience):
            self.status = "finished"

    def go_on(self) -> None:
        """What `judge` does where there are no dev rows: the last checkpoint is kept, and training goes to its end."""
        self._keep(None)
        if self.step >= self.spec.steps:
            self.status = "finished"

    @one_thread()
    def _keep(self, quality: Quality | None) -> None:
        self.best = Best(self.step, quality, {n: p.detach().clone() for n, p in self.params.items()})

    def restore_best(self) -> None:
        """Put the best checkpoint back into place."""
        assert self.best is not None
        with torch.no_grad():
            for name, tensor in self.best.tensors.items():
                self.params[name].copy_(tensor)

    def state(self) -> SlotState:
        """Everything `restore` needs: all that is not here follows from the spec and the step.

        Of a slot that has ended that is its best checkpoint; there may be none of one that diverged.
        """
        values = {
            "spec": self.spec.to_dict(),
            "rows": len(self.data.train),
            "step": self.step,
            "status": self.status,
            "stale": self.stale,
            "loss": self.loss,
            "dev": asdict(self.dev) if self.dev else None,
            "best": asdict(replace(self.best, tensors={})) if self.best else None,
        }
        tensors: dict[str, Tensor] = {}
        if self.status == "training":
            tensors |= self.params
            for name, parameter in self.params.items():
                moments = self.optimizer.state[parameter]
                tensors |= {f"{_OPTIMIZER}{name}/{key}": value for key, value in moments.items()}
        if self.best:
            tensors |= {f"{_BEST}{name}": tensor for name, tensor in self.best.tensors.items()}
        return SlotState(values, {name: _copied(tensor) for name, tensor in tensors.items()})

    def restore(self, state: SlotState) -> None:
        """Go on from where a slot of the same spec and rows was; every number that follows is the same, bit by bit.

        One that had ended gets its best checkpoint.

        Raises:
            PipelineError: The state is of another slot, of other rows, or not whole.
        """
        values = state.values
        if values["spec"] != self.spec.to_dict() or values["rows"] != len(self.data.train):
            raise PipelineError(
                f"the checkpoint is of another slot than {self.spec.key!r}: it has {values['spec']} and "
                f"{values['rows']} training rows, wanted are {self.spec.to_dict()} and {len(self.data.train)}"
            )
        if values["status"] == "training":
            self._restore_training(state.tensors)
        self.step, self.status, self.stale = values["step"], values["status"], values["stale"]
        self.loss = values["loss"]
        self.dev = Quality(**values["dev"]) if values["dev"] else None
        self.best = None
        if best := values["best"]:
            kept = _under(_BEST, state.tensors)
            self._check_whole(kept)
            tensors = {name: tensor.to(self.params[name].device, copy=True) for name, tensor in kept.items()}
            self.best = Best(best["step"], Quality(**best["quality"]) if best["quality"] else None, tensors)
        self._batches = batches(len(self.data.train), self.spec.batch, self.spec.seed, self.step)

    def _restore_training(self, tensors: Mapping[str, Tensor]) -> None:
        self._check_whole(tensors)
        with torch.no_grad():
            for name, parameter in self.params.items():
                parameter.copy_(tensors[name])
                moments = _under(f"{_OPTIMIZER}{name}/", tensors)
                self.optimizer.state[parameter] = {
                    key: value.to(parameter.device, copy=True) for key, value in moments.items()
                }

    def _check_whole(self, tensors: Mapping[str, Tensor]) -> None:
        if missing := sorted(self.params.keys() - tensors.keys()):
            raise PipelineError(f"the checkpoint of slot {self.spec.key!r} lacks the tensors {missing}")


def by_configuration(slots: Sequence[Slot]) -> dict[int, list[Slot]]:
    """Slots by the number of their configuration, whose seeds they are."""
    groups: dict[int, list[Slot]] = defaultdict(list)
    for slot in slots:
        groups[slot.spec.config].append(slot)
    return groups


def objective(slots: Sequence[Slot]) -> float:
    """Mean over a configuration's slots of the best checkpoint's objective; 0 for one that dev rows did not choose."""
    return fmean(slot.best.quality.objective if slot.best and slot.best.quality else 0.0 for slot in slots)


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def schedule(step: int, steps: int, warmup: float) -> float:
    """Linear warm-up over the first share of the steps, then linear decay to zero; between 0 and 1."""
    rise = max(1, round(steps * warmup))
    return min((step + 1) / rise, (steps - step) / max(1, steps - rise + 1))


def batches(rows: int, batch: int, seed: int, start: int = 0) -> Iterator[list[int]]:
    """Row numbers of one batch after another: epoch after epoch in a fresh order, the last short batch left out.

    The first ``start`` batches are passed over.
    """
    rng = np.random.default_rng(seed)
    batch = min(batch, rows)
    epoch, skipped = divmod(start, rows // batch)
    for _ in range(epoch):
        rng.permutation(rows)
    while True:
        order = rng.permutation(rows)
        for first in range(skipped * batch, rows - batch + 1, batch):
            yield order[first : first + batch].tolist()
        skipped = 0
