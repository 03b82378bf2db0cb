"""Ray: a local one for the length of a command, or the cluster at an address."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from orchestrator.errors import UsageError
from orchestrator.interrupts import ended_by_signals

OBJECT_STORE_BYTES = 256 * 1024**2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workers:
    """How the cluster is cut into workers.

    Attributes:
        count: Packs that train at once.
        threads: CPU threads of each.
        gpus: GPUs of each.
    """

    count: int
    threads: int
    gpus: float


@contextmanager
def connect(address: str | None, workers: int | None) -> Iterator[Workers]:
    """Connect to Ray and disconnect at the end, whatever happens; a local Ray is stopped with all its processes.

    Args:
        address: ``auto``, ``host:port`` or ``ray://host:port``; None starts a local Ray.
        workers: Packs to train at once; None for one a GPU, or one for every four CPUs.

    Raises:
        UsageError: If there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is ours: runs are closed before anything else
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # its panel appears even when Tune is told to be silent
    import ray

    log.debug("starting Ray on this machine" if address is None else f"connecting to Ray at {address}")
    try:
        if address is None:
            ray.init(
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address!r} ({error}): start one with `ray start --head`, or leave "
            "--ray-address out to run on this machine"
        ) from error
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is told and recorded by us, with its reason
    try:
        with ended_by_signals():
            share = _share(ray.cluster_resources(), workers)
            log.debug("Ray has %s: %s", ray.cluster_resources(), share)
            yield share
    finally:
        ray.shutdown()


def _share(resources: dict[str, float], workers: int | None) -> Workers:
    cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    count = workers or (gpus or max(1, cpus // 4))
    return Workers(count=count, threads=max(1, cpus // count), gpus=gpus / count if gpus else 0)
