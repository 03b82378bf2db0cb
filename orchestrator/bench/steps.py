"""What a training step costs, what makes it cheap, and how much of the machine it reaches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import pad
from torch.utils.flop_counter import FlopCounterMode

from orchestrator.bench.shapes import Sizes, load, slot, texts
from pipelines.backbone import Backbone, default_attention, default_dtype
from pipelines.encode import Batch, collate
from pipelines.families import FAMILIES, SlotView
from pipelines.methods.dept import Factors, input_embeddings
from pipelines.pack import Pack
from pipelines.slot import Slot

ROWS, FEW, PACKED = 32, 16, 8
"""Rows of a source's step and of a few-shot step, and configurations in the pack that `ways` ends with."""


@dataclass(frozen=True)
class Curve:
    """Few-shot steps by the number of configurations in a pack.

    Attributes:
        seconds: For one configuration's step, by the number.
        reached: FLOP/s of matrix products in a step of the largest pack.
        possible: FLOP/s of one large matrix product in the same number type.
    """

    seconds: dict[int, float]
    reached: float
    possible: float


def default_device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def ways(name: str, *, mean: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Seconds for one configuration's step of 32 rows, by how it is taken; the first way is the DePT release's.

    Args:
        name: A backbone, or one of `shapes.SHAPES`.
        mean: Mean tokens of a text.
        rounds: How often each way is timed.
        device: Where.
    """
    single, native = load(name, torch.float32, "sdpa", device), _native(name, device)
    size = Sizes.of(single.info)
    rows = [texts(640, mean, seed, single, size.s) for seed in range(PACKED)]

    def ours(backbone: Backbone, number: int) -> Pack:
        return Pack(backbone, [slot(backbone, rows[n], ROWS, n, size.m, size.r, size.s) for n in range(number)])

    plain = slot(single, rows[0], ROWS, 0, size.plain, 0, size.s)
    dept = slot(single, rows[0], ROWS, 0, size.m, size.r, size.s)
    packed = f"the same, {PACKED} in a pack"
    steps: dict[str, Callable[[], object]] = {
        f"prompt tuning, {size.plain} rows, padded to {size.s}, float32": lambda: padded_step(single, plain),
        f"DePT m={size.m} r={size.r}, padded to {size.s}, float32": lambda: padded_step(single, dept),
        "DePT, own lengths, float32": ours(single, 1).step,
        f"DePT, own lengths, {str(native.dtype).removeprefix('torch.')}": ours(native, 1).step,
        packed: ours(native, PACKED).step,
    }
    seconds = medians(steps, rounds, device)
    return seconds | {packed: seconds[packed] / PACKED}


def curve(name: str, sizes: Sequence[int], *, mean: int, rounds: int, device: torch.device) -> Curve:
    """Seconds for one few-shot configuration's step of 16 rows, by the number of configurations in a pack."""
    native = _native(name, device)
    size = Sizes.of(native.info)
    few = [texts(FEW, mean, 100 + n, native, size.s) for n in range(max(sizes))]
    packs = {
        number: Pack(native, [slot(native, few[n], FEW, n, size.m, size.r, size.s) for n in range(number)])
        for number in sizes
    }
    seconds = medians({str(number): pack.step for number, pack in packs.items()}, rounds, device)
    largest = max(sizes)
    with FlopCounterMode(display=False) as counter:
        packs[largest].step()
    return Curve(
        seconds={number: seconds[str(number)] / number for number in sizes},
        reached=counter.get_total_flops() / seconds[str(largest)],
        possible=peak(native.dtype, device),
    )


def padded_step(backbone: Backbone, one: Slot) -> None:
    """A step as the release takes it: all rows in one pass, padded to s."""
    rows = collate([(0, one.data.train, i) for i in one.next_rows()], backbone.device)
    views = [SlotView(2, one.head, [torch.tensor(word) for word in one.data.words])]
    factors: Sequence[Factors] = [one.factors]

    def embed(tokens: Any, mask: Any, slot_of_row: Any, text: Any = None) -> Any:
        return input_embeddings(tokens.float(), mask, factors, slot_of_row, text)

    loss = FAMILIES[backbone.info.family].losses(backbone, _padded(rows, one.spec.s), embed, views).mean()
    torch.autograd.backward(loss)
    one.update(float(loss.detach()))


def medians(steps: Mapping[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Seconds of each, in turn, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of one large matrix product."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    return 2 * n**3 / medians({"product": lambda: a @ b}, 10, device)["product"]


def _native(name: str, device: torch.device) -> Backbone:
    dtype = default_dtype(device)
    return load(name, dtype, default_attention(device, dtype), device)


def _padded(batch: Batch, width: int) -> Batch:
    """The same rows, padded to a fixed width."""
    missing = width - batch.ids.shape[1]
    wider: dict[str, Any] = {name: pad(getattr(batch, name), (0, missing)) for name in ("ids", "mask", "segments")}
    return replace(batch, **wider)
