"""What the user asked for, checked when made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from orchestrator.errors import UsageError
from tasks import Dev, LabelWords, Protocol

AUTO, SCRATCH = "auto", "scratch"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `pretrain-source` and `fewshot` have in common.

    Attributes:
        data: A folder, ``hub`` or ``sample``; None for the first of these that is there.
        backbone: ``minilm``, a hub name or a local folder.
        steps: Optimiser steps of a slot.
        eval_every: Steps between evaluations on dev.
        batch: Rows a step, for each slot.
        label_words: What a text-to-text backbone answers: the task's words, or ``digits`` as in the released code.
        scoring: How a text-to-text backbone's answers are judged: by the ``likelihood`` of label words or right
            answers, by ``generation``, or ``auto``: classes by likelihood, all else by generation.
        skip_bad_rows: Leave malformed rows out, and say how many.
        max_length: s: where texts are cut, and how many positions have an update; None for the task's own, or what
            the backbone's positions leave.
        m: Prompt rows; None for the family's default.
        r: Rank; None for the family's default, or what the budget leaves.
        budget: Size of the plain prompt whose parameters P_s, A and B may have together, in rows; None for no bound.
        alpha1: Learning rate of the prompt; None for the family's, in units of the embedding RMS.
        alpha2: Learning rate of A and B; None for the family's.
        patience: Evaluations without improvement after which a slot stops; 0 for never.
        seed: Every random choice follows from it.
        dtype: ``float32`` or ``bfloat16``; None for what a measurement finds faster and as exact.
        attention: ``eager`` or ``sdpa``; None for what a measurement finds faster.
        chunk_tokens: Tokens in a forward pass at most; None for what a measurement finds best.
        dropout: Share of the input embeddings' numbers that is zero in training.
        workers: Packs that train at once; None for one a GPU, or one for every four CPUs.
        ray_address: Address of a Ray cluster; None for a local one.
        checkpoint_every: Seconds between checkpoints of a pack under way.
    """

    data: str | None = None
    backbone: str = "minilm"
    steps: int
    eval_every: int
    batch: int = 32
    label_words: LabelWords = "words"
    scoring: Literal["auto", "likelihood", "generation"] = "auto"
    skip_bad_rows: bool = False
    max_length: int | None = None
    m: int | None = None
    r: int | None = None
    budget: int | None = None
    alpha1: float | None = None
    alpha2: float | None = None
    patience: int = 0
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] | None = None
    attention: Literal["eager", "sdpa"] | None = None
    chunk_tokens: int | None = None
    dropout: float = 0.0
    workers: int | None = None
    ray_address: str | None = None
    checkpoint_every: float = 60.0

    def __post_init__(self) -> None:
        if self.backbone != Settings.backbone:
            object.__setattr__(self, "backbone", absolute(self.backbone))
        if self.data is not None and self.data not in ("hub", "sample"):
            object.__setattr__(self, "data", absolute(self.data))
        at_least("steps", self.steps, 1)
        at_least("eval-every", self.eval_every, 1)
        at_least("batch", self.batch, 1)
        if self.max_length is not None:
            at_least("max-length", self.max_length, 1)
        at_least("patience", self.patience, 0)
        at_least("seed", self.seed, 0)
        if self.attention not in (None, "eager", "sdpa"):
            raise UsageError(f"--attention must be eager or sdpa, got {self.attention!r}")
        if self.chunk_tokens is not None:
            at_least("chunk-tokens", self.chunk_tokens, 1)
        if not 0 <= self.dropout < 1:
            raise UsageError(f"--dropout must be at least 0 and below 1, got {self.dropout}")
        if self.workers is not None:
            at_least("workers", self.workers, 1)
        if not self.checkpoint_every >= 0:
            raise UsageError(f"--checkpoint-every must be a number of seconds, 0 or more, got {self.checkpoint_every}")
        for name in ("alpha1", "alpha2"):
            rate = getattr(self, name)
            if rate is not None and not 0 < rate < float("inf"):
                raise UsageError(f"--{name} must be a positive learning rate, got {rate}")
        if self.label_words not in get_args(LabelWords):
            raise UsageError(f"--label-words must be words or digits, got {self.label_words!r}")
        if self.scoring not in ("auto", "likelihood", "generation"):
            raise UsageError(f"--scoring must be auto, likelihood or generation, got {self.scoring!r}")
        if self.dtype not in (None, "float32", "bfloat16"):
            raise UsageError(f"--dtype must be float32 or bfloat16, got {self.dtype!r}")

    def params(self) -> dict[str, Any]:
        """For the parent run."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(Settings):
    """`pretrain-source`.

    Attributes:
        tasks: The source tasks.
        parallel: Workers that train a pack together, each on its share of a step's rows.
    """

    tasks: tuple[str, ...]
    parallel: int = 1
    steps: int = 600
    eval_every: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "tasks", tuple(_task(name) for name in self.tasks))
        at_least("parallel", self.parallel, 1)
        if not self.tasks or "" in self.tasks:
            raise UsageError(f"--tasks needs names separated by commas, got {','.join(self.tasks)!r}")
        if twice := {task for task in self.tasks if self.tasks.count(task) > 1}:
            raise UsageError(f"--tasks names {', '.join(sorted(twice))} twice: name each task once")

    def params(self) -> dict[str, Any]:
        """For the parent run."""
        return super().params() | {"tasks": ",".join(self.tasks)}


@dataclass(frozen=True, kw_only=True)
class FewshotSettings(Settings):
    """`fewshot`.

    Attributes:
        target: The target task.
        k: Labelled training rows in total.
        per_class: Read k as per class.
        dev: ``k`` for as many rows again to choose by, ``full`` for all the rest of the training split, ``none`` to
            choose nothing: no search, the published settings from every start, their last checkpoints.
        protocol: ``balanced``, or ``released`` for the DePT release's sampler, which is neither exact nor balanced.
        start: ``auto``, ``scratch``, or a stored source by task or reference.
        trials: Configurations to search over.
        seeds: Draws of k rows that each configuration is judged on.
        halving: Drop the weaker half of a pack at a fifth and two fifths of the steps.
        configs_per_pack: Configurations that train in one pack; None for as many as fill a pass, and at least 4.
    """

    target: str
    k: int
    per_class: bool = False
    dev: Dev = "k"
    protocol: Protocol = "balanced"
    start: str = AUTO
    trials: int = 12
    seeds: int = 3
    steps: int = 40
    eval_every: int = 8
    halving: bool = True
    configs_per_pack: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "target", _task(self.target))
        at_least("k", self.k, 1)
        at_least("trials", self.trials, 1)
        at_least("seeds", self.seeds, 1)
        if self.configs_per_pack is not None:
            at_least("pack", self.configs_per_pack, 1)
        if self.dev not in get_args(Dev):
            raise UsageError(f"--dev must be k, full or none, got {self.dev!r}")
        if self.dev == "none" and self.patience:
            raise UsageError(f"--patience {self.patience} looks at dev rows, and --dev none has none: leave one out")
        if self.protocol not in get_args(Protocol):
            raise UsageError(f"--protocol must be balanced or released, got {self.protocol!r}")


def at_least(name: str, value: int, low: int) -> None:
    """Raise unless an option's value is at least ``low``."""
    if value < low:
        raise UsageError(f"--{name} must be at least {low}, got {value}")


def absolute(path: str) -> str:
    """A path as it is known from every folder: workers start in others, and whoever resumes may be in another."""
    there = Path(path).expanduser()
    return str(there.absolute()) if there.exists() else path  # a name of the hub, or what will be refused as given


def _task(name: str) -> str:
    return absolute(name) if name.endswith((".yaml", ".yml")) else name
