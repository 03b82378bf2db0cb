"""A stored version as the registry's tags describe it, and the choice of the best among several."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any

from prompts_store.card import Card
from prompts_store.errors import StoreError

STATE, READY = "state", "ready"
"""The tag, and its value, that a version carries once its files are whole."""

BEST, LATEST = "best", "latest"
"""The aliases; MLflow reserves `latest`, so it is worked out from the versions."""

_CARD_TAGS = (
    *("task", "method", "backbone", "backbone_fingerprint", "family", "d", "m", "r", "s", "k", "metric", "dev_score"),
    *("data_source", "data_digest", "start", "created", "tensors_sha256"),
)


@dataclass(frozen=True)
class StoredPrompt:
    """One version in the registry: enough to choose it without reading its files."""

    name: str
    version: int
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
    dev_score: float
    k: int | None
    """Labelled training rows of a few-shot result in all; None for a source trained on a full training set."""
    data_source: str
    data_digest: str
    start: str
    created: str
    run_id: str | None
    tensors_sha256: str
    aliases: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """'name/version', which `PromptStore.get` takes."""
        return f"{self.name}/{self.version}"


def version_tags(card: Card) -> dict[str, str]:
    """The tags of a whole version of `card`; a field that is None has no tag."""
    values = card.model_dump()
    tags = {name: _to_tag(values[name]) for name in _CARD_TAGS if values[name] is not None}
    return {**tags, STATE: READY}


def _to_tag(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def read_versions(versions: Iterable[Any], aliases: Mapping[str, Mapping[str, str]]) -> list[StoredPrompt]:
    """The stored prompts among MLflow's `ModelVersion`s, sorted by name and version.

    Versions without `state` = `ready` are left out, and those that are not prompts of ours (a registry may be shared).

    Args:
        versions: all versions of each name in question, from any MLflow store: numbers are int in some, str in others.
        aliases: name -> alias -> version number. `latest` is added to the highest version of each name.
    """
    prompts = [p for v in versions if (p := _read_version(v, aliases.get(v.name, {}))) is not None]
    prompts.sort(key=lambda p: (p.name, p.version))
    latest = {p.name: p.version for p in prompts}
    return [replace(p, aliases=(*p.aliases, LATEST)) if p.version == latest[p.name] else p for p in prompts]


def _read_version(version: Any, aliases: Mapping[str, str]) -> StoredPrompt | None:
    tags = version.tags
    if tags.get(STATE) != READY:
        return None
    number = int(version.version)
    try:
        return StoredPrompt(
            name=version.name,
            version=number,
            task=tags["task"],
            method=tags["method"],
            backbone=tags["backbone"],
            backbone_fingerprint=tags["backbone_fingerprint"],
            family=tags["family"],
            d=int(tags["d"]),
            m=int(tags["m"]),
            r=int(tags["r"]),
            s=int(tags["s"]),
            metric=tags["metric"],
            dev_score=float(tags["dev_score"]),
            k=int(tags["k"]) if "k" in tags else None,
            data_source=tags["data_source"],
            data_digest=tags["data_digest"],
            start=tags["start"],
            created=tags["created"],
            run_id=version.run_id or None,
            tensors_sha256=tags["tensors_sha256"],
            aliases=tuple(sorted(alias for alias, marked in aliases.items() if int(marked) == number)),
        )
    except (KeyError, ValueError):
        return None


def matching(
    prompts: Iterable[StoredPrompt],
    *,
    method: str | None,
    backbone_fingerprint: str | None,
    k: int | EllipsisType | None,
) -> list[StoredPrompt]:
    """Those of `prompts` with this method and backbone (None: any) and this k (None: sources only; ...: any)."""
    return [
        p
        for p in prompts
        if (method is None or p.method == method)
        and (backbone_fingerprint is None or p.backbone_fingerprint == backbone_fingerprint)
        and (k is ... or p.k == k)
    ]


def best(prompts: Iterable[StoredPrompt]) -> StoredPrompt:
    """The one with the highest dev score; of equal ones the oldest.

    Only scores that mean the same are compared: those in the newest one's metric, and sources (k is None) alone where
    there are any, because a few-shot result is scored on a handful of rows.

    Raises:
        StoreError: there is none.
    """
    candidates: Sequence[StoredPrompt] = sorted(prompts, key=lambda p: (p.created, p.version))
    if not candidates:
        raise StoreError("There is no stored prompt to choose from: run 'orchestrator prompts list' to see the store.")
    candidates = [p for p in candidates if p.k is None] or candidates
    metric = candidates[-1].metric
    return max((p for p in candidates if p.metric == metric), key=lambda p: p.dev_score)
