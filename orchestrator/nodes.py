"""What is asked of the nodes of a cluster before anything trains there."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.errors import UsageError

LIBRARIES = ("torch", "transformers")
"""Whose versions decide what numbers come out."""
ANSWER_SECONDS = 120.0


@dataclass(frozen=True)
class Node:
    """A living node.

    Attributes:
        address: Its IP address.
        cpus: CPUs it gives to Ray.
        gpus: GPUs it gives to Ray.
        versions: Versions of Python and of `LIBRARIES`; None for what is missing.
    """

    address: str
    cpus: int
    gpus: int
    versions: Mapping[str, str | None]


def versions() -> dict[str, str | None]:
    """Versions here, without the build (such as ``+cpu``)."""
    found: dict[str, str | None] = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in LIBRARIES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = None
    return found


def ask_nodes() -> list[Node]:
    """Ask every living node for what it has; they answer at once, so that it takes as long as the slowest.

    Raises:
        UsageError: If a node does not answer.
    """
    living = [node for node in ray.nodes() if node["Alive"]]
    answers = [
        ray.remote(num_cpus=0)(versions)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote()
        for node in living
    ]
    found = []
    for node, answer in zip(living, answers, strict=True):
        address, has = node["NodeManagerAddress"], node["Resources"]
        try:
            said = ray.get(answer, timeout=ANSWER_SECONDS)
        except (ray.exceptions.RayError, TimeoutError) as error:
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise UsageError(
                f"node {address} of the cluster cannot run our code ({reason[0]}): install this project's "
                "dependencies there (pip install -c constraints.txt), the same Python as here"
            ) from error
        found.append(Node(address, int(has.get("CPU", 0)), int(has.get("GPU", 0)), said))
    return found


def check_versions() -> None:
    """Compare the nodes with this machine.

    Raises:
        UsageError: If a node has another version of Python or of one of `LIBRARIES`.
    """
    here = versions()
    for node in ask_nodes():
        for name, found in node.versions.items():
            if found != here[name] and (node.cpus or node.gpus):
                raise UsageError(
                    f"node {node.address} of the cluster has {name} {found or 'missing'}, this machine {here[name]}: "
                    "results would differ; install the same version on both (pip install -c constraints.txt)"
                )


def node_here(address: str) -> bool:
    """Whether this machine is a node of the Ray cluster whose head is at ``HOST:PORT``."""
    found = False
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):  # it has ended since
            found = found or (process.info["name"] == "raylet" and joins(process.cmdline(), address))
    return found


def joins(raylet: Sequence[str], address: str) -> bool:
    """Whether a raylet belongs to the cluster at an address, and its socket can be reached from this process.

    Those of containers and namespaces may be seen as well, and those of commands' own Rays.

    Args:
        raylet: Its command line.
        address: ``HOST:PORT`` of the head.
    """
    options = dict(part.removeprefix("--").split("=", 1) for part in raylet if part.startswith("--") and "=" in part)
    host, _, port = address.rpartition(":")
    head, _, head_port = options.get("gcs-address", "").rpartition(":")
    own = str(socket.getaddrinfo(host.strip("[]"), None)[0][4][0])
    same = port == head_port and (own == head.strip("[]") or own == "::1" or own.startswith("127."))
    return same and Path(options.get("raylet_socket_name", "")).is_socket()


def ask_for_a_node() -> None:
    """Tell the autoscaler, if the cluster has one, that a CPU is wanted; to be run on the cluster."""
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=[{"CPU": 1}])
