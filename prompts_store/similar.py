"""How alike stored prompts are: the measures by which SPoT chooses what a target starts from."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prompts_store.cache import Cache
from prompts_store.errors import StoreError
from prompts_store.files import TENSORS_FILE, fetch_cached, files_cache, sha256
from prompts_store.store import PromptStore
from prompts_store.tracking import mlflow_errors
from prompts_store.versions import StoredPrompt

Measure = Literal["mean", "pairs"]
MEASURES: tuple[Measure, ...] = ("mean", "pairs")

_AT_ONCE = 8
"""Downloads at the same time from a server; from a folder there is nothing to wait for."""


def similar(store: PromptStore, ref: str, *, measure: Measure = "mean") -> list[tuple[StoredPrompt, float]]:
    """All other stored prompts of the same backbone, with their similarity to the one that `ref` means, highest first.

    Only the prompt rows P_s (m, d) are compared, not A·B. The measures are those of SPoT (Vu et al., ACL 2022,
    section 3.2): 'mean' is the cosine between the means of the rows, 'pairs' the mean of the cosines between all pairs
    of rows. Both are -1 to 1, and a prompt whose rows are all zero has 0 with every other.

    Raises:
        StoreError: nothing answers to `ref`, it has no prompt rows, or the files of a prompt are refused.
    """
    query = store.resolve(ref)
    if query.m == 0:
        raise StoreError(f"The stored prompt {query.ref} has no prompt rows (m=0) to compare: name another.")
    others = [
        prompt
        for prompt in store.find(backbone_fingerprint=query.backbone_fingerprint)
        if prompt.d == query.d and prompt.m > 0 and prompt.ref != query.ref
    ]
    vectors = _vectors(store, [query, *others])[:, MEASURES.index(measure)]
    if measure == "mean":
        vectors = _unit(vectors)
    scores = np.clip(vectors[1:] @ vectors[0], -1.0, 1.0)
    ranked = sorted(zip(others, scores.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0].ref))
    return [(prompt, float(score)) for prompt, score in ranked]


def _vectors(store: PromptStore, prompts: Iterable[StoredPrompt]) -> NDArray[np.float64]:
    """Of each prompt the mean of its rows and the mean of its unit rows: (prompts, 2, d).

    The mean over pairs of cosines is the inner product of the means of unit rows, so that two vectors a prompt are
    enough for both measures. They are kept in the cache folder.
    """
    kept = Cache("vectors")
    read = [(prompt, kept.read(prompt.tensors_sha256)) for prompt in prompts]
    unknown = [prompt for prompt, data in read if data is None or len(data) != 8 * prompt.d]
    with mlflow_errors(store.tracking_uri), ThreadPoolExecutor(_AT_ONCE) as pool:
        made = dict(zip((p.ref for p in unknown), pool.map(lambda p: _make(store, p, kept), unknown), strict=True))
    return np.stack(
        [
            np.frombuffer(made.get(prompt.ref) or data or b"", dtype="<f4").reshape(2, prompt.d).astype(np.float64)
            for prompt, data in read
        ]
    )


def _make(store: PromptStore, prompt: StoredPrompt, kept: Cache) -> bytes:
    """The two vectors as little-endian float32, from the checked file."""
    rows = _rows(store, prompt).astype(np.float64)
    data = np.stack([rows.mean(axis=0), _unit(rows).mean(axis=0)]).astype("<f4").tobytes()
    kept.write(prompt.tensors_sha256, data)
    return data


def _rows(store: PromptStore, prompt: StoredPrompt) -> NDArray[Any]:
    """P_s (m, d); read without torch, which takes longer to import than all the rest."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    location = store.registry.location(prompt)
    data = fetch_cached(store.tracking_uri, location, TENSORS_FILE, prompt.tensors_sha256, files_cache())
    if (digest := sha256(data)) != prompt.tensors_sha256:
        raise StoreError(
            f"The stored prompt {prompt.ref} is refused. The file {location}/{TENSORS_FILE} was changed or damaged: "
            f"its SHA-256 is {digest[:12]}..., the registry says {prompt.tensors_sha256[:12]}..."
        )
    try:
        rows: NDArray[Any] = load(data)["prompt"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"The stored prompt {prompt.ref} is refused: its tensors cannot be read: {error}.") from error
    if rows.shape != (prompt.m, prompt.d) or rows.dtype != np.float32 or not np.isfinite(rows).all():
        raise StoreError(
            f"The stored prompt {prompt.ref} is refused: its prompt rows are {rows.dtype} of shape {rows.shape}, "
            f"not finite float32 of shape {(prompt.m, prompt.d)}."
        )
    return rows


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows (n, d) divided by their lengths; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
