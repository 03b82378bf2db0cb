"""Memory: what is free, what a pass holds, and which errors say that there is none left."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import psutil
import torch
from torch import Tensor

from pipelines.slot import Slot

_log = logging.getLogger(__name__)
FEWEST_TOKENS = 16
"""Halving the tokens of a pass ends here: every row is by then in a pass of its own."""

CGROUP = Path("/sys/fs/cgroup")
CPU_MESSAGES = ("can't allocate memory", "not enough memory", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: CUDA's, Python's, or that of torch's allocator on a CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in CPU_MESSAGES)


def release(device: torch.device) -> None:
    """Hand back what no tensor uses any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had on a device, in bytes; on a CPU within the control group's limit."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    free = int(psutil.virtual_memory().available)
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return free if limit == "max" else min(free, max(0, int(limit) - used))


def held_bytes(work: Callable[[], object], weights: Iterable[Tensor]) -> int:
    """Bytes that a forward pass keeps for the backward pass, each storage once and those of the weights left out."""
    frozen = {weight.untyped_storage().data_ptr() for weight in weights}
    kept: dict[int, Tensor] = {}  # alive, for a storage that was let go could come again at the same address

    def keep(tensor: Tensor) -> Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in frozen:
            kept[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def slot_bytes(slot: Slot) -> int:
    """What a slot keeps: each number with its gradient, AdamW's two moments and the best checkpoint's."""
    return sum(5 * parameter.nbytes for parameter in slot.params.values())


def fitting_tokens(tokens: int, token_bytes: int, slots: Sequence[Slot], free: int) -> int:
    """Tokens in a pass, halved until they fit beside the slots into what is free; with a warning if they are fewer.

    What a pass holds is doubled for what comes and goes within a layer, and a tenth of the memory stays free.
    """
    room = 0.9 * free - sum(slot_bytes(slot) for slot in slots)
    fitting = tokens
    while fitting > FEWEST_TOKENS and 2 * fitting * token_bytes > room:
        fitting //= 2
    if fitting < tokens:
        _log.warning(
            "%d slots and %d tokens in a pass would not fit into %.1f GiB of free memory: %d tokens in a pass",
            *(len(slots), tokens, free / 2**30, fitting),
        )
    return fitting
