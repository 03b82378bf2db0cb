"""Ray: a local one for the length of a command, or the cluster at an address."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from orchestrator.errors import RunFailedError, UsageError
from orchestrator.interrupts import ended_by_signals

OBJECT_STORE_BYTES = 256 * 1024**2
CPUS_A_WORKER = 4
IDLE_SHARE = 0.1
"""The share of a cluster's CPUs that may stay idle for the sake of larger workers."""
REACH_SECONDS = 5.0
NODES_SECONDS = 300.0
"""How long a cluster without a CPU may take to start a node that has one."""
PACKAGES = ("orchestrator", "pipelines", "prompts_store", "tasks")
IN_WORKERS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",  # its panel appears even when Tune is told to be silent
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workers:
    """How the cluster is cut into workers.

    Attributes:
        count: Packs that train at once.
        threads: CPU threads of each of a pack's processes.
        gpus: GPUs of each.
        parallel: Processes that train a pack together.
    """

    count: int
    threads: int
    gpus: float
    parallel: int = 1


@dataclass(frozen=True)
class Room:
    """What one node has to give."""

    cpus: int
    gpus: int


@contextmanager
def connect(address: str | None, workers: int | None, parallel: int = 1) -> Iterator[Workers]:
    """Connect to Ray and disconnect at the end, whatever happens; a local Ray is stopped with all its processes.

    The nodes of a cluster need our libraries, but not our code, which travels with the job.

    Args:
        address: ``auto``, ``host:port`` or ``ray://host:port``; None starts a local Ray, whatever else runs here.
        workers: Packs to train at once; None for one a GPU, or one for every four CPUs of a node.
        parallel: Processes that train a pack together.

    Raises:
        RunFailedError: If a local Ray does not start.
        UsageError: If there is no cluster at the address, its nodes have other versions of the libraries than this
            machine, or no worker fits on any of them.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    for name, value in IN_WORKERS.items():
        os.environ.setdefault(name, value)
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is ours: runs are closed before anything else
    import ray

    log.debug("starting Ray on this machine" if address is None else f"connecting to Ray at {address}")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        check_reachable(address)
        check_joinable(address)
    try:
        if address is None:
            ray.init("local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
        else:
            ray.init(address, runtime_env={"py_modules": our_code(), "env_vars": IN_WORKERS}, **quiet)
    except Exception as error:  # of many types, Exception itself among them where a process of Ray is too slow
        if address is None:
            raise RunFailedError(
                f"Ray did not start on this machine ({_line(error)}): it may be too busy, or lack memory or room "
                "for temporary files; try again"
            ) from error
        if not isinstance(error, (ConnectionError, ValueError, RuntimeError)):
            raise
        raise UsageError(
            f"no Ray cluster answers at {address!r} ({_line(error)}): start one with `ray start --head`, give this "
            "machine its token (RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH), use ray:// from a machine that is no node of "
            "it, or leave --ray-address out to run on this machine"
        ) from error
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is told and recorded by us, with its reason
    try:
        with ended_by_signals():
            if address is not None:
                from orchestrator.nodes import check_versions

                wait_for_nodes(address)
                check_versions()
            found = share(rooms(), workers, parallel)
            log.debug("Ray has %s: %s", ray.cluster_resources(), found)
            yield found
    finally:
        ray.shutdown()


def our_code() -> list[str]:
    """The folders of our packages, wherever they are installed."""
    folders = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        folders.append(str(Path(spec.origin).parent))
    return folders


def check_reachable(address: str) -> None:
    """Raise at once where Ray would try for a minute: if nothing listens at the address.

    Raises:
        UsageError: If so, or if the address is none.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--ray-address must be auto, HOST:PORT or ray://HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"nothing listens at {address!r} ({_line(error)}): check host and port (ray:// wants that of the client "
            "server, usually 10001; without it the head's, usually 6379), or leave --ray-address out to run on this "
            "machine"
        ) from error


def check_joinable(address: str) -> None:
    """Raise where Ray would wait for a minute, or abort this process: with a head's own port away from its nodes.

    Raises:
        UsageError: If so.
    """
    from orchestrator.nodes import node_here

    if not (address == "auto" or address.startswith("ray://") or node_here(address)):
        host = address.rpartition(":")[0]
        raise UsageError(
            f"{address!r} is for a command on one of the cluster's nodes, and none runs here: give the head's "
            f"client server, ray://{host}:10001, or make this machine a node with `ray start --address={address}`"
        )


def rooms() -> list[Room]:
    """What the living nodes of the cluster have."""
    import ray

    living = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Room(int(has.get("CPU", 0)), int(has.get("GPU", 0))) for has in living]


def wait_for_nodes(address: str, seconds: float = NODES_SECONDS) -> None:
    """Where no node has a CPU yet, ask the cluster's autoscaler for one, say so, and wait.

    Raises:
        UsageError: If none came.
    """
    import ray

    from orchestrator.nodes import ask_for_a_node

    if any(room.cpus for room in rooms()):
        return
    log.warning("no node of the cluster at %s has a CPU yet: waiting up to %.0f s for one", address, seconds)
    ray.get(ray.remote(num_cpus=0)(ask_for_a_node).remote())
    deadline = time.monotonic() + seconds
    while not any(room.cpus for room in rooms()):
        if time.monotonic() > deadline:
            raise UsageError(
                f"the cluster at {address!r} has no room for a worker: none of its {len(rooms())} nodes has a CPU, and "
                f"none came within {seconds:.0f} s; start one with `ray start --address=HEAD:6379`"
            )
        time.sleep(1)


def share(rooms: Sequence[Room], workers: int | None, parallel: int = 1) -> Workers:
    """Cut nodes into workers that are all alike, each of which fits on one node, or into groups of such workers.

    With GPUs a worker has one, or a part of one where more workers are asked for than there are. Without, workers have
    about four CPUs: as many as leave at most a tenth of all CPUs idle, or else the fewest idle.

    Args:
        rooms: The nodes.
        workers: How many are wanted; None for as many as fit.
        parallel: Workers in a group.

    Raises:
        UsageError: If no worker fits, or no group.
    """
    if parallel == 1:
        return _share(rooms, workers)
    found = _share(rooms, None if workers is None else workers * parallel)
    if found.count < parallel:
        found = _share(rooms, parallel)
    fitting = sum(int(min(room.cpus // found.threads, room.gpus / found.gpus if found.gpus else inf)) for room in rooms)
    if fitting < parallel:
        raise UsageError(
            f"no room for --parallel {parallel}: this cluster's {len(rooms)} nodes have room for {fitting} such "
            "workers at once; lower it"
        )
    return replace(found, count=found.count // parallel, parallel=parallel)


def _share(rooms: Sequence[Room], workers: int | None) -> Workers:
    with_gpus = [room for room in rooms if room.gpus]
    if with_gpus:
        count = workers or sum(room.gpus for room in with_gpus)
        a_gpu = -(-count // sum(room.gpus for room in with_gpus))  # workers on each
        threads = min(room.cpus // (room.gpus * a_gpu) for room in with_gpus)
        return Workers(count=count, threads=max(1, threads), gpus=1 / a_gpu)
    cpus = [room.cpus for room in rooms if room.cpus]
    if not cpus:
        raise UsageError(f"no room for a worker: none of the {len(rooms)} nodes has a CPU")
    if workers is not None:
        fitting = (size for size in range(max(cpus), 0, -1) if _fit(cpus, size) >= workers)
        return Workers(count=workers, threads=next(fitting, 1), gpus=0)
    sizes = sorted({n // max(1, n // CPUS_A_WORKER) for n in cpus}, reverse=True)
    used = {size: size * _fit(cpus, size) for size in sizes}
    enough = [size for size in sizes if used[size] >= (1 - IDLE_SHARE) * sum(cpus)]
    threads = enough[0] if enough else max(sizes, key=lambda size: used[size])
    return Workers(count=_fit(cpus, threads), threads=threads, gpus=0)


def _fit(cpus: Sequence[int], size: int) -> int:
    """How many workers of a size fit."""
    return sum(n // size for n in cpus)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
