"""Several workers that train one pack together: data parallelism over a Ray Tune trial's placement group.

The trial is the group's first process: it reports, hands out checkpoints, and is placed, retried and resumed like any
other pack's. The others are actors of its own, one for each further bundle of the placement group; they run the same
pack in step with it, each on its share of the rows (`pipelines.parallel`), and end with it. Ray Train would bring a
second scheduler beside Tune's and checkpoints in a storage that all nodes share; workers here share nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import psutil
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestrator.worker import BackboneRunner

if TYPE_CHECKING:
    from pipelines.checkpoint import PackState
    from pipelines.run import Job, PackRun, Report
    from pipelines.spec import SlotSpec

BLAME_SECONDS = 10.0
"""How long a process that lost another one waits to hear what became of it."""
INTERFACE = "GLOO_SOCKET_IFNAME"

log = logging.getLogger(__name__)


class GroupRunner(BackboneRunner):
    """Starts packs that all processes of a trial's placement group train together."""

    def __init__(self, job: Job, threads: int) -> None:
        super().__init__(job, threads)
        self._members: list[Any] = []

    def __call__(self, specs: Sequence[SlotSpec], keep: bool) -> GroupRun:
        """Start a pack."""
        return GroupRun(self, specs, keep)

    def part(self, specs: Sequence[SlotSpec], keep: bool, rank: int, size: int) -> PackRun:
        """One process's part of a pack."""
        from pipelines.parallel import Share
        from pipelines.run import PackRun

        return PackRun(self._backbone(), specs, self.job, keep=keep, share=Share(rank, size))

    def members(self) -> list[Any]:
        """The actors beside this process; they keep their backbone between packs."""
        if not self._members:
            group, job = ray.util.get_current_placement_group(), ray.put(self.job)
            self._members = [
                ray.remote(Member)
                .options(
                    num_cpus=bundle.get("CPU", 0),
                    num_gpus=bundle.get("GPU", 0),
                    scheduling_strategy=PlacementGroupSchedulingStrategy(group, number),
                )
                .remote(job, self.threads)
                for number, bundle in enumerate(group.bundle_specs)
                if number  # the trial has the first
            ]
        return self._members

    def dismiss(self) -> None:
        """End the members, whatever they wait for."""
        for member in self._members:
            ray.kill(member)
        self._members = []


class GroupRun:
    """A pack as its group's first process runs it; an `orchestrator.worker.Running`."""

    def __init__(self, runner: GroupRunner, specs: Sequence[SlotSpec], keep: bool) -> None:
        self._runner = runner
        members = runner.members()
        self._size = len(members) + 1
        self._pending = [
            member.prepare.remote(specs, keep, rank, self._size) for rank, member in enumerate(members, 1)
        ]  # while this process does the same
        self._run = runner.part(specs, keep, 0, self._size)
        self._states: list[bytes] = []
        self._began = False
        self._over = threading.Event()

    @property
    def done(self) -> bool:
        """Whether every slot has been reported for the last time."""
        return self._run.done

    @property
    def steps(self) -> int:
        """Optimiser steps of all slots so far."""
        return self._run.steps

    def advance(self, seconds: float) -> list[Report]:
        """Train to the next evaluation, or so many seconds.

        Raises:
            RuntimeError: Another process of the group failed.
        """
        from pipelines.parallel import leave

        try:
            if not self._began:
                self._begin()
            reports = self._run.advance(seconds)
            if self.done:
                ray.get(self._pending)
        except Exception as error:
            self._over.set()
            self._blame(error)
            leave()
            self._runner.dismiss()
            raise
        if self.done:
            self._over.set()
            leave()
        return reports

    def state(self) -> PackState:
        """Where it stands: the same in every process."""
        return self._run.state()

    def results(self, floors: Mapping[int, float]) -> PackState:
        """The configurations that went to their end and are better than that."""
        return self._run.results(floors)

    def restore(self, state: PackState) -> None:
        """Go on from where another stood; before the first `advance`."""
        self._run.restore(state)
        self._states.append(state.dump())

    def _begin(self) -> None:
        from pipelines.parallel import Share, join, meeting_point

        ray.get(self._pending)
        address = here()
        store = meeting_point(address, self._size)
        own_gpu = ray.util.get_current_placement_group().bundle_specs[0].get("GPU", 0) >= 1
        backend = "nccl" if own_gpu else "gloo"
        self._pending = [
            member.train.remote(self._states, address, store.port, backend) for member in self._runner.members()
        ]
        threading.Thread(target=self._watch, args=(self._pending,), name="group", daemon=True).start()
        join(Share(0, self._size), store, backend)
        self._began = True

    def _watch(self, pending: list[Any]) -> None:
        """End this process with any other of the group, even one that cannot say so, its node being gone."""
        while pending:
            ended, pending = ray.wait(pending)
            try:
                ray.get(ended)
            except RayActorError:
                if not self._over.is_set():
                    os._exit(1)
            except RayError:
                return  # it left the group, which wakes this process

    def _blame(self, error: Exception) -> None:
        """If another process failed first, say why in place of this one's error, or end if that one is gone.

        Then the group as a whole counts as a worker that was killed.
        """
        if not isinstance(error, RuntimeError | RayError):
            return
        deadline, pending = time.monotonic() + BLAME_SECONDS, self._pending
        while pending and (left := deadline - time.monotonic()) > 0:
            ended, pending = ray.wait(pending, timeout=left)
            try:
                ray.get(ended)
            except RayActorError:
                os._exit(1)
            except RayTaskError as other:
                cause = other.cause if isinstance(other.cause, Exception) else other
                raise RuntimeError(f"another process of the group failed: {type(cause).__name__}: {cause}") from other


class Member:
    """A process of a group beside the first."""

    def __init__(self, job: Job, threads: int) -> None:
        self._runner = GroupRunner(job, threads)

    def prepare(self, specs: Sequence[SlotSpec], keep: bool, rank: int, size: int) -> None:
        """Make ready for a pack."""
        self._run = self._runner.part(specs, keep, rank, size)

    def train(self, states: Sequence[bytes], address: str, port: int, backend: str) -> None:
        """Run it from start, or where another stood, to end."""
        from pipelines.checkpoint import PackState
        from pipelines.parallel import join, leave, meeting_point

        here()
        for state in states:
            self._run.restore(PackState.parse(state))
        share = self._run.pack.share
        try:
            join(share, meeting_point(address, share.size, port), backend)
            while not self._run.done:
                self._run.advance()
        finally:
            leave()
            del self._run


def here() -> str:
    """This node's address, which gloo is told to use: by itself it takes what the host's name resolves to."""
    address: str = ray.util.get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if any(_reaches(own, address) for own in addresses):
            os.environ.setdefault(INTERFACE, name)
    return address


def _reaches(own: Any, address: str) -> bool:
    """Whether an address is one of an interface's, or of the network of one, as all that begin with 127 are."""
    if own.family == socket.AF_INET and own.netmask:
        return ip_address(address) in ip_network(f"{own.address}/{own.netmask}", strict=False)
    return str(own.address) == address
