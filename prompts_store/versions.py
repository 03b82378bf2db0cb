"""A stored version as the registry describes it, and the choice of the best among several."""

import json
from collections.abc import Iterable, Mapping, Sequence
from types import EllipsisType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from prompts_store.card import Card, Score, Sha256
from prompts_store.errors import StoreError

TAG = "learned_prompt"
"""The one tag of a version: JSON of what is chosen by. MLflow reads each tag of a version as a row of its own, so that
with a tag for each of 17 fields 10,000 versions took 6 s to list."""

BEST, LATEST = "best", "latest"
"""The aliases; MLflow reserves `latest`, so it is worked out from the versions."""


class Summary(BaseModel):
    """What the registry says about a version: enough to choose it without reading its files."""

    model_config = ConfigDict(frozen=True, strict=True)

    task: str
    method: str
    backbone: str
    backbone_fingerprint: str
    family: str
    d: int
    m: int
    r: int
    s: int
    metric: str
    dev_score: Score | None
    """In the metric's own unit; None for a prompt from elsewhere whose score is unknown."""
    k: int | None
    """Labelled training rows of a few-shot result in all; None for a source trained on a full training set."""
    data_source: str
    data_digest: str
    start: str
    created: str
    origin_run: str | None
    tensors_sha256: Sha256


class StoredPrompt(Summary):
    """One version in the registry."""

    card_sha256: Sha256
    """Of the bytes of the card's file."""
    model_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
    """The logged model in MLflow that holds the files."""
    name: str
    version: int
    run_id: str | None
    source: str
    """Where MLflow says that the version came from: its artifact URI, or through a server its logged model."""
    aliases: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """'name/version', which `PromptStore.get` takes."""
        return f"{self.name}/{self.version}"

    @property
    def learned_by(self) -> str | None:
        """The run that learned it, in whatever store that was."""
        return self.origin_run or self.run_id


def summarise(card: Card) -> Summary:
    """The part of a card that goes into the registry."""
    return Summary.model_validate(card.model_dump())


def version_tags(card: Card, *, card_sha256: str, model_id: str) -> dict[str, str]:
    """The tags of a whole version of `card`, whose files are stored."""
    text = summarise(card).model_dump() | {"card_sha256": card_sha256, "model_id": model_id}
    return {TAG: json.dumps(text, ensure_ascii=False, separators=(",", ":"))}


def query(*, task: str | None = None, name: str | None = None) -> str:
    """MLflow's filter for the prompts among all versions; a task may let others through, a name does not.

    Names and tasks that hold a quote or a backslash are not MLflow's to search for: no stored prompt has one.
    """
    wanted = "%" if task is None else f'%"task":"{task}"%'
    return f"tags.{TAG} LIKE '{wanted}'" + ("" if name is None else f" and name = '{name}'")


def read_versions(versions: Iterable[Any], aliases: Mapping[str, Mapping[str, str]]) -> list[StoredPrompt]:
    """The stored prompts among MLflow's `ModelVersion`s, sorted by name and version.

    Versions that are not prompts of ours (a registry may be shared) are left out.

    Args:
        versions: all versions of each name in question, from any MLflow store: numbers are int in some, str in others.
        aliases: name -> alias -> version number. `latest` is added to the highest version of each name.
    """
    prompts = [p for v in versions if (p := _read_version(v, aliases.get(v.name, {}))) is not None]
    prompts.sort(key=lambda p: (p.name, p.version))
    latest = {p.name: p.version for p in prompts}
    return [
        p.model_copy(update={"aliases": (*p.aliases, LATEST)}) if p.version == latest[p.name] else p for p in prompts
    ]


def _read_version(version: Any, aliases: Mapping[str, str]) -> StoredPrompt | None:
    number = int(version.version)
    marks = tuple(sorted(alias for alias, marked in aliases.items() if int(marked) == number))
    registered = {"name": version.name, "version": number, "aliases": marks, "source": version.source or ""}
    registered["run_id"] = version.run_id or None
    try:
        return StoredPrompt.model_validate({**from_json(version.tags[TAG]), **registered})
    except (KeyError, TypeError, ValueError):
        return None


def matching(
    prompts: Iterable[StoredPrompt],
    *,
    method: str | None = None,
    backbone: str | None = None,
    backbone_fingerprint: str | None = None,
    k: int | EllipsisType | None = ...,
    min_score: float | None = None,
    text: str | None = None,
) -> list[StoredPrompt]:
    """Those of `prompts` that fit; None fits any, but k=None is for sources alone and ... for any k.

    `text` is looked for in the name, in upper or lower case; an unknown score is below any `min_score`.
    """
    return [
        p
        for p in prompts
        if (method is None or p.method == method)
        and (backbone is None or p.backbone == backbone)
        and (backbone_fingerprint is None or p.backbone_fingerprint == backbone_fingerprint)
        and (k is ... or p.k == k)
        and (min_score is None or (p.dev_score is not None and p.dev_score >= min_score))
        and (text is None or text.lower() in p.name.lower())
    ]


def marked_best(prompts: Iterable[StoredPrompt]) -> list[StoredPrompt]:
    """Of each name the one with the alias `best`, or all of the name where none of them has it."""
    by_name: dict[str, list[StoredPrompt]] = {}
    for prompt in prompts:
        by_name.setdefault(prompt.name, []).append(prompt)
    return [p for group in by_name.values() for p in ([p for p in group if BEST in p.aliases] or group)]


def best(prompts: Iterable[StoredPrompt]) -> StoredPrompt:
    """The one with the highest dev score; of equal ones the oldest, and one without a score only where none has one.

    Only scores that mean the same are compared: those in the newest one's metric, and sources (k is None) alone where
    there are any, because a few-shot result is scored on a handful of rows.

    Raises:
        StoreError: there is none.
    """
    candidates: Sequence[StoredPrompt] = sorted(prompts, key=lambda p: (p.created, p.version))
    if not candidates:
        raise StoreError("There is no stored prompt to choose from: run 'orchestrator prompts list' to see the store.")
    candidates = [p for p in candidates if p.dev_score is not None] or candidates
    candidates = [p for p in candidates if p.k is None] or candidates
    metric = candidates[-1].metric
    return min((p for p in candidates if p.metric == metric), key=by_score)


def by_score(prompt: StoredPrompt) -> tuple[bool, float]:
    """A key to sort by: the highest dev score first, those without one last."""
    return prompt.dev_score is None, -(prompt.dev_score or 0.0)
