"""CPU threads: all for the backbone's passes, one for a slot's few numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Work on few numbers in this thread alone.

    torch shares work among threads from 32,768 numbers on, which takes a fraction of a millisecond less where every
    core waits for it, and milliseconds more where one does not: the threads meet at the end of each operation. While a
    pack trains, the driver, MLflow or another pack is often at work on the same cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
