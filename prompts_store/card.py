"""The card of a learned prompt: everything needed to use and judge it, as JSON."""

import datetime as dt
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from prompts_store.errors import StoreError

RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Score = Annotated[float, Field(allow_inf_nan=False)]
TaskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=200)]

FORMAT: Literal[1] = 1
"""The format this code writes, and the only one it reads."""


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


class Sizes(BaseModel):
    """Prompt rows m, rank r and delta rows s of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    m: Count
    r: Count
    s: Count


class Card(BaseModel):
    """What a stored prompt is, where it came from, and how good it was; immutable, checked when made.

    `d` is the width of the backbone's word embeddings, `m` the prompt's rows, `r` the rank and `s` the rows of A;
    `alpha1` and `alpha2` are absolute learning rates; scores are in the metric's own unit (0 to 1 for accuracy). How a
    prompt that was brought from elsewhere was trained and scored may be unknown: those fields are then given as None.

    Raises:
        pydantic.ValidationError: a ValueError that names each field and the value it got.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    method: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,31}$")] = "dept"
    task: TaskName
    task_version: Count
    labels: list[Text]
    """Class names in the order of the head's output rows, or of the label words; empty when the task has no classes."""
    backbone: Text
    """The name the user gave; the last path part for a local folder."""
    backbone_fingerprint: Sha256
    tokenizer_fingerprint: Sha256
    family: Literal["encoder", "encoder-decoder", "decoder"]
    d: Annotated[int, Field(ge=1, le=2**20)]
    m: Annotated[int, Field(ge=0, le=2**20)]
    r: Annotated[int, Field(ge=0, le=2**20)]
    s: Annotated[int, Field(ge=0, le=2**20)]
    gamma: Score
    """The factor of A·B in the input: W(x) + gamma·A·B."""
    head: Text | None = None
    """The kind of the classification head that belongs to the prompt; encoders only."""
    alpha1: Rate | None
    alpha2: Rate | None
    steps: Count | None
    batch: Annotated[int, Field(ge=1, le=2**20)] | None
    seed: Count | None
    k: Annotated[int, Field(ge=1, le=2**53)] | None = None
    """Labelled training rows of a few-shot result in all; None for a source trained on a full training set."""
    metric: Text
    dev_score: Score | None
    test_score: Score | None = None
    rows_train: Count | None
    data_source: Text
    data_digest: Text
    start: Annotated[str, Field(pattern=r"^(scratch|unknown|[^/\s]+/[1-9][0-9]*)$", max_length=300)] = "scratch"
    """Where the tensors started from: 'scratch', 'name/version' in the same store, or 'unknown'."""
    resized_from: Sizes | None = None
    """The start's sizes, when they differed from this artifact's."""
    run_id: RunId | None = None
    """The run in the store that the artifact belongs to."""
    origin_run: RunId | None = None
    """The run that learned it, in the store that it was brought from; None for what was learned in this one."""
    created: str = Field(default_factory=_now)
    """Date and time in ISO 8601 with its zone."""
    orchestrator_version: Text
    tensors_sha256: Sha256 | None = None
    """SHA-256 of the tensors' file; filled in when the artifact is saved."""

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: list[str]) -> list[str]:
        if len(set(labels)) != len(labels):
            raise ValueError(f"labels must differ from each other, got {labels}")
        return labels

    @field_validator("created")
    @classmethod
    def _created_has_zone(cls, created: str) -> str:
        if len(created) > 64 or dt.datetime.fromisoformat(created).tzinfo is None:
            raise ValueError(
                f"created must be ISO 8601 with a zone, such as 2026-01-31T12:00:00+00:00, got {created!r}"
            )
        return created

    @field_validator("backbone")
    @classmethod
    def _backbone_is_a_name(cls, backbone: str) -> str:
        if re.search(r"^[/~.]|\\|[\x00-\x1f]|\.\.", backbone):
            raise ValueError(f"backbone must be a name, not a path: keep its last part, got {backbone!r}")
        return backbone

    @model_validator(mode="after")
    def _head_fits_family(self) -> "Card":
        if self.head is not None and self.family != "encoder":
            raise ValueError(f"only an encoder has a classification head, got head={self.head!r} for {self.family}")
        return self

    @property
    def sizes(self) -> Sizes:
        """m, r and s."""
        return Sizes(m=self.m, r=self.r, s=self.s)


def check_compatible(card: Card, *, backbone_fingerprint: str, d: int) -> None:
    """Refuse a prompt that was learned on another backbone than the one it is to be used with.

    Raises:
        StoreError: fingerprint or embedding width `d` differ; the message has both.
    """
    if card.backbone_fingerprint == backbone_fingerprint and card.d == d:
        return
    raise StoreError(
        f"The stored prompt for task {card.task!r} was learned on the backbone {card.backbone!r} (fingerprint "
        f"{card.backbone_fingerprint[:12]}, d={card.d}), but this backbone has fingerprint "
        f"{backbone_fingerprint[:12]} and d={d}: use the same backbone, or pretrain the source on this one."
    )
