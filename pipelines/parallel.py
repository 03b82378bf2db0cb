"""Data parallelism: several processes train one pack, each on its share of every step's rows.

Only the slots' gradients travel, in one flat all-reduce a step; the backbone is frozen and stays out of it. Every
process then has the same gradients to the bit, clips them, and takes the same step, so tensors and optimisers stay the
same everywhere. Evaluations are shared out in the same way; what the first process makes of them decides, as machines
may round differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor

T = TypeVar("T")

PATIENCE = timedelta(hours=1)
"""How long processes wait for each other: the first one may be held up by whoever takes its reports."""


@dataclass(frozen=True)
class Share:
    """One process's part in a pack.

    With more than one, `torch.distributed` must have been initialised, with as many processes.

    Attributes:
        rank: Which process this is, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank must be from 0 to size - 1 = {self.size - 1}, got {self.rank}")

    def mine(self, lengths: Sequence[int]) -> list[int]:
        """Numbers of the rows this process computes: every size-th by length, so that all have about as much to do."""
        if self.size == 1:
            return list(range(len(lengths)))
        return sorted(range(len(lengths)), key=lambda i: (lengths[i], i))[self.rank :: self.size]

    def add_up(self, tensors: Sequence[Tensor], device: torch.device) -> None:
        """Replace tensors of one type by their sums over the processes; all call it with as many of the same shapes.

        Args:
            tensors: Changed in place.
            device: Where the processes' backend works: the backbone's.
        """
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1).to(device) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def gather(self, value: T) -> list[T]:
        """Every process's value, in the order of ranks."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def agree(self, values: list[T], device: torch.device) -> list[T]:
        """What the first process has; all call it with as many values."""
        if self.size > 1 and values:
            torch.distributed.broadcast_object_list(values, src=0, device=device)
        return values


ALONE = Share()


def meeting_point(address: str, size: int, port: int = 0) -> Any:
    """Where processes find each other: opened by the first one, on any free port, and found by the others.

    Args:
        address: The first process's IP address.
        size: How many processes there are.
        port: Of the one that is open; 0 opens one.

    Returns:
        A `torch.distributed.TCPStore`, which knows its ``port``.
    """
    return torch.distributed.TCPStore(  # type: ignore[attr-defined]
        address, port, size, is_master=port == 0, wait_for_workers=False, timeout=PATIENCE
    )


def join(share: Share, store: Any, backend: str) -> None:
    """Form the group; returns when all have come.

    Args:
        share: This process's part.
        store: The `meeting_point`.
        backend: ``nccl`` where each process has a GPU of its own, else ``gloo``.
    """
    torch.distributed.init_process_group(backend, store=store, rank=share.rank, world_size=share.size, timeout=PATIENCE)


def leave() -> None:
    """Leave the group, if there is one: those who wait for this process then fail."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
