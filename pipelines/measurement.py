"""Finds what suits a backbone on this machine by a short measurement.

One forward and backward pass over synthetic rows of two usual lengths is timed for each number type and attention; the
fastest wins whose gradients agree with float32's. With it the same rows are cut into passes of fewer and more tokens,
and the smallest within 5% of the best is taken.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import torch
from torch import Tensor

from pipelines.backbone import Backbone, BackboneInfo, describe_backbone, load_described
from pipelines.encode import chunks
from pipelines.fitting import SECONDS, SLOT_TOKENS, Fitting, Request, device_here, keep, kept, unmeasured
from pipelines.memory import free_bytes, held_bytes
from pipelines.pack import CHUNK_TOKENS, Pack
from pipelines.synthetic import LAST_WORD, synthetic_rows, synthetic_slot

AGREEMENT = 0.99
"""Least cosine of a number type's gradients with those of float32."""

NEAR = 1.05
"""A pass this much slower than the best is as good, if it has fewer tokens."""

PROMPT_ROWS, SHORT, LONG = 20, 30, 110
"""Sizes of the synthetic rows, in tokens."""

PASSES = {"cpu": (1024, 512, 2048, 256, 4096), "cuda": (65536, 32768, 131072, 16384)}
"""Tokens in a pass to try; what usually suits a device comes first, for time may end before the last."""

ROUNDS = 2

FEW_ROWS = 8
"""Rows whose gradients are compared; how long they take says how many rows the time allows for the rest."""

PASSES_IN_TIME = 20
"""Passes over all rows that a measurement comes to, about, at float32's speed."""


class _TimeIsOver(Exception):  # noqa: N818
    """A measurement has taken its time."""


def fit(request: Request, *, again: bool = False) -> Fitting:
    """What suits this machine: what was found before, or else a measurement, which is then kept.

    Args:
        request: For which backbone, and what is given.
        again: Measure even if it was found before.

    Raises:
        PipelineError: If there is no such backbone.
    """
    device = device_here()
    if not again and (found := kept(request, device)):
        return found
    threads = torch.get_num_threads()
    torch.set_num_threads(request.threads)
    try:
        found = _measure(request, device, time.monotonic() + SECONDS)
    finally:
        torch.set_num_threads(threads)
    if found.measured:
        keep(request, device, found)
    return found


def _measure(request: Request, device: torch.device, deadline: float) -> Fitting:
    info = describe_backbone(request.backbone)
    usual = unmeasured(request, device)
    if _weight_bytes(info, torch.float32) > free_bytes(device) / 2:
        return usual  # there is no room to compare anything with float32
    dtypes = [request.dtype] if request.dtype else list(dict.fromkeys([usual.dtype, "float32", "bfloat16"]))
    attentions = [request.attention] if request.attention else sorted(("eager", "sdpa"), key=usual.attention.__ne__)
    seconds: dict[str, float] = {}
    agreement: dict[str, float] = {}
    rows = FEW_ROWS
    with suppress(_TimeIsOver):
        reference, few = _reference(info, device, deadline)
        left = max(0.0, deadline - time.monotonic())
        rows = max(FEW_ROWS, min(_rows(device), int(FEW_ROWS * left / (PASSES_IN_TIME * few))))
        for dtype, attention in product(dtypes, attentions):
            backbone = load_described(info, getattr(torch, dtype), device, attention)
            way = f"{dtype}, {attention}"
            agreement[way] = _cosine(_gradient(_pack(backbone, FEW_ROWS), deadline), reference)
            seconds[way] = _timed(_pass_over(_pack(backbone, max(FEW_ROWS, rows // 2)), deadline), device)
            del backbone
            gc.collect()
    trusted = [way for way in seconds if way.startswith("float32") or request.dtype or agreement[way] >= AGREEMENT]
    fastest = min(trusted, key=lambda way: seconds[way], default=f"{usual.dtype}, {usual.attention}")
    dtype, attention = fastest.split(", ")
    backbone = load_described(info, getattr(torch, dtype), device, attention)
    token_bytes = _token_bytes(backbone)
    rate = _rates(backbone, rows, token_bytes, deadline)
    near = [int(tokens) for tokens, own in rate.items() if own * NEAR >= max(rate.values())]
    return replace(
        usual,
        dtype=dtype,
        attention=attention,
        chunk_tokens=min(near, default=usual.chunk_tokens),
        token_bytes=token_bytes,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds={way: round(value, 4) for way, value in seconds.items()},
        agreement={way: round(agreement[way], 5) for way in seconds},
        rate={tokens: round(value, 1) for tokens, value in rate.items()},
    )


def _reference(info: BackboneInfo, device: torch.device, deadline: float) -> tuple[Tensor, float]:
    """The gradients in float32 over a few rows, and the seconds that they take."""
    pack = _pack(load_described(info, torch.float32, device, "eager"), FEW_ROWS)
    return _gradient(pack, deadline), _timed(lambda: _gradient(pack, deadline), device)


def _rates(backbone: Backbone, rows: int, token_bytes: int, deadline: float) -> dict[str, float]:
    """Tokens a second over the same rows, cut into passes of fewer and more tokens, as far as memory and time go."""
    pack = _pack(backbone, rows)
    tokens = sum(pack.slots[0].spec.m + int(length) for length in pack.slots[0].data.train.lengths)
    room = free_bytes(backbone.device) / 2
    rates: dict[str, float] = {}
    with suppress(_TimeIsOver):
        for size in PASSES[backbone.device.type]:
            if rates and size * token_bytes > room:
                continue
            pack.chunk_tokens = size
            rates[str(size)] = tokens / _timed(_pass_over(pack, deadline), backbone.device)
    return rates


def _rows(device: torch.device) -> int:
    """Rows of a measurement: enough to fill the largest pass."""
    return int(max(PASSES[device.type]) / SLOT_TOKENS * 16)


def _pack(backbone: Backbone, rows: int) -> Pack:
    """A pack of one slot, a quarter of whose rows are long, as far as the backbone has positions."""
    limit = backbone.info.architecture.position_limit
    long = LONG if limit is None else min(LONG, limit - PROMPT_ROWS - 1)
    lengths = [long if i % 4 == 3 else min(SHORT, long) for i in range(rows)]
    encoded = synthetic_rows(lengths, seed=0, vocabulary=min(LAST_WORD, len(backbone.vocabulary)))
    slot = synthetic_slot(backbone, encoded, m=PROMPT_ROWS, r=8, s=long, batch=rows)
    return Pack(backbone, [slot], CHUNK_TOKENS[backbone.device.type])


def _pass_over(pack: Pack, deadline: float) -> Callable[[], object]:
    """Forward and backward over all rows of a pack's slot, one pass of its tokens after another."""
    (slot,) = pack.slots
    passes = chunks([slot.spec.m + int(length) for length in slot.data.train.lengths], pack.chunk_tokens)
    return lambda: _backward(pack, passes, deadline)


def _gradient(pack: Pack, deadline: float) -> Tensor:
    """The gradients of all of a slot's tensors over its rows, taken one by one; one after the other, float64."""
    (slot,) = pack.slots
    return _backward(pack, [[row] for row in range(len(slot.data.train))], deadline)


def _backward(pack: Pack, passes: Iterable[Sequence[int]], deadline: float) -> Tensor:
    """A slot's gradients over some passes, flat, float64 on the CPU; each counts as much, whatever rows it has.

    Raises:
        _TimeIsOver: Before all were taken.
    """
    (slot,) = pack.slots
    try:
        for rows in passes:
            if time.monotonic() > deadline:
                raise _TimeIsOver
            pack.backward([slot], [(0, slot.data.train, row) for row in rows])
        return torch.cat([p.grad.flatten().double().cpu() for p in slot.params.values() if p.grad is not None])
    finally:
        slot.discard_gradients()


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def _timed(work: Callable[[], object], device: torch.device) -> float:
    """The quickest of some rounds after one to warm up; if time is over, of those that were whole.

    Raises:
        _TimeIsOver: Before the first was.
    """
    times: list[float] = []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        try:
            work()
        except _TimeIsOver:
            if not times:
                raise
            break
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:] or times)


def _token_bytes(backbone: Backbone) -> int:
    """What a token holds in a pass over rows of the longer length."""
    pack = _pack(backbone, 4)
    (slot,) = pack.slots
    rows = [(0, slot.data.train, i) for i in range(3, 4)]
    held = held_bytes(lambda: pack.backward([slot], rows), backbone.model.parameters())
    slot.discard_gradients()
    return held // (slot.spec.m + int(slot.data.train.lengths[3]))


def _weight_bytes(info: BackboneInfo, dtype: torch.dtype) -> int:
    """About what the weights take in another type than the stored one, by the size of their files."""
    stored = sum(file.stat().st_size for file in info.folder.glob("*.safetensors"))
    return stored * 2 if dtype == torch.float32 else stored
