"""How alike stored prompts are: the measures by which SPoT chooses what a target starts from."""

import logging
from collections.abc import Sequence
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

Vectors = NDArray[np.float64]
"""(2, d)"""

_LOG = logging.getLogger(__name__)
_AT_ONCE = 8
"""Downloads at the same time from a server; from a folder there is nothing to wait for."""


def similar(store: PromptStore, ref: str, *, measure: Measure = "mean") -> list[tuple[StoredPrompt, float]]:
    """All other stored prompts of the same backbone, with their similarity to the one that `ref` means, highest first.

    Only the prompt rows P_s (m, d) are compared, not A·B. The measures are those of SPoT (Vu et al., ACL 2022,
    section 3.2): 'mean' is the cosine between the means of the rows, 'pairs' the mean of the cosines between all pairs
    of rows. Both are -1 to 1, and a prompt whose rows are all zero has 0 with every other. Another prompt whose files
    are refused is left out, with a warning that says why.

    Raises:
        StoreError: nothing answers to `ref`, it has no prompt rows, or its files are refused.
    """
    query = store.resolve(ref)
    if query.m == 0:
        raise StoreError(f"The stored prompt {query.ref} has no prompt rows (m=0) to compare: name another.")
    others = [
        prompt
        for prompt in store.find(backbone_fingerprint=query.backbone_fingerprint)
        if prompt.d == query.d and prompt.m > 0 and prompt.ref != query.ref
    ]
    first, *rest = _vectors(store, [query, *others])
    if isinstance(first, StoreError):
        raise first
    known = []
    for prompt, vectors in zip(others, rest, strict=True):
        if isinstance(vectors, StoreError):
            _LOG.warning("%s is left out: %s", prompt.ref, vectors)
        else:
            known.append((prompt, vectors))
    if not known:
        return []
    each = np.stack([first, *(vectors for _, vectors in known)])[:, MEASURES.index(measure)]
    if measure == "mean":
        each = _unit(each)
    scores = np.clip(each[1:] @ each[0], -1.0, 1.0).tolist()
    ranked = [(prompt, float(score)) for (prompt, _), score in zip(known, scores, strict=True)]
    return sorted(ranked, key=lambda pair: (-pair[1], pair[0].ref))


def _vectors(store: PromptStore, prompts: Sequence[StoredPrompt]) -> list[Vectors | StoreError]:
    """Of each prompt the mean of its rows and the mean of its unit rows, or why it is refused.

    The mean over pairs of cosines is the inner product of the means of unit rows, so that two vectors a prompt are
    enough for both measures. They are kept in the cache folder.
    """
    kept = Cache("vectors")
    found: list[Vectors | StoreError | None] = [_read(prompt, kept) for prompt in prompts]
    unknown = [i for i, vectors in enumerate(found) if vectors is None]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for i, vectors in zip(unknown, pool.map(lambda i: _make(store, prompts[i], kept), unknown), strict=True):
            found[i] = vectors
    return [vectors for vectors in found if vectors is not None]


def _read(prompt: StoredPrompt, kept: Cache) -> Vectors | None:
    data = kept.read(prompt.tensors_sha256)
    if data is None or len(data) != 2 * prompt.d * 4:
        return None
    return np.frombuffer(data, dtype="<f4").reshape(2, prompt.d).astype(np.float64)


def _make(store: PromptStore, prompt: StoredPrompt, kept: Cache) -> Vectors | StoreError:
    """The two vectors from the checked file, kept as little-endian float32."""
    try:
        rows = _rows(store, prompt).astype(np.float64)
    except StoreError as error:
        return error
    vectors = np.stack([rows.mean(axis=0), _unit(rows).mean(axis=0)]).astype("<f4")
    kept.write(prompt.tensors_sha256, vectors.tobytes())
    return vectors.astype(np.float64)


def _rows(store: PromptStore, prompt: StoredPrompt) -> NDArray[Any]:
    """P_s (m, d); read without torch, which takes longer to import than all the rest."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    with mlflow_errors(store.tracking_uri):
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
