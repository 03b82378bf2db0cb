"""Packs by way of Ray Client (``ray://``): Tune runs on the cluster, everything that decides and records runs here.

Ray Client moves Tune's controller to the cluster, and would move planner, console and MLflow with it. So the controller
gets a planner that hands every call on through a mailbox, from which this process takes the calls in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle

from orchestrator.worker import Crash, PackPlan, StartPack
from pipelines.run import Report

if TYPE_CHECKING:
    from orchestrator.cluster import Workers
    from orchestrator.packs import Planner

POLL_SECONDS = 0.5
ON_HEAD: dict[str, Any] = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
"""The head alone has this resource: if it is lost, so is the cluster."""


def connected_by_client() -> bool:
    """Whether this process is on the far side of ``ray://``."""
    from ray.util.client import ray as client

    return bool(client.is_connected())


def run_from_afar(planner: Planner, start_pack: StartPack, workers: Workers, checkpoint_every: float) -> None:
    """Train everything a planner asks for, with the planner on this side of ``ray://``."""
    mailbox = ray.remote(**ON_HEAD)(Mailbox).remote()
    controller = ray.remote(**ON_HEAD, max_retries=0)(control).remote(mailbox, start_pack, workers, checkpoint_every)
    ended = False
    while not ended:
        ended = bool(ray.wait([controller], timeout=0)[0])  # asked first: what it put in before its end is taken below
        for name, arguments in map(cloudpickle.loads, ray.get(mailbox.take.remote())):
            answer = getattr(planner, name)(*arguments)
            if name == "next_generation":
                ray.get(mailbox.answer.remote(cloudpickle.dumps(answer)))
    ray.get(controller)


def control(mailbox: Any, start_pack: StartPack, workers: Workers, checkpoint_every: float) -> None:
    """Run Tune; on the cluster."""
    from orchestrator.packs import tune_packs

    tune_packs(FarPlanner(mailbox), start_pack, workers, checkpoint_every)


class Mailbox:
    """Calls one way, generations the other. Everything is bytes, so that it needs none of our libraries."""

    def __init__(self) -> None:
        self._calls: list[bytes] = []
        self._arrived = asyncio.Event()
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def call(self, call: bytes) -> None:
        """Put a call in."""
        self._calls.append(call)
        self._arrived.set()

    async def ask(self, call: bytes) -> bytes:
        """Put a call in and wait for what is answered."""
        await self.call(call)
        return await self._answers.get()

    async def take(self) -> list[bytes]:
        """The calls since the last time, in order; waits for one, but not long."""
        try:
            await asyncio.wait_for(self._arrived.wait(), POLL_SECONDS)
        except TimeoutError:
            return []
        calls, self._calls = self._calls, []
        self._arrived.clear()
        return calls

    async def answer(self, answer: bytes) -> None:
        """Answer the call that waits."""
        await self._answers.put(answer)


class FarPlanner:
    """The planner as Tune's controller sees it."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def next_generation(self) -> Sequence[PackPlan]:
        """Ask for the next packs."""
        answer = ray.get(self._mailbox.ask.remote(cloudpickle.dumps(("next_generation", ()))))
        plans: Sequence[PackPlan] = cloudpickle.loads(answer)
        return plans

    def on_reports(self, reports: Sequence[Report]) -> None:
        """Hand on."""
        self._tell("on_reports", reports)

    def on_placed(self, plan: PackPlan, node: str) -> None:
        """Hand on."""
        self._tell("on_placed", plan, node)

    def on_failure(self, plan: PackPlan, crash: Crash) -> None:
        """Hand on."""
        self._tell("on_failure", plan, crash)

    def on_checkpoint(self, configs: Collection[int], data: bytes) -> None:
        """Hand on."""
        self._tell("on_checkpoint", configs, data)

    def on_results(self, configs: Collection[int], data: bytes) -> None:
        """Hand on."""
        self._tell("on_results", configs, data)

    def on_warning(self, text: str) -> None:
        """Hand on."""
        self._tell("on_warning", text)

    def on_progress(self, steps: int, skipped: int = 0) -> None:
        """Hand on."""
        self._tell("on_progress", steps, skipped)

    def _tell(self, name: str, *arguments: object) -> None:
        ray.get(self._mailbox.call.remote(cloudpickle.dumps((name, arguments))))  # in before the controller ends
