"""`orchestrator cancel`: stop a command cleanly, wherever it runs, or close the runs that a dead one left open."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from rich.console import Console

from orchestrator.errors import RunFailedError, UsageError
from orchestrator.heartbeat import CANCEL, Sign, working_on
from orchestrator.letters import deliver
from orchestrator.resumed import children
from orchestrator.runs import condition, find_command, the_store
from prompts_store.tracking import mlflow_errors

WAIT_SECONDS = 60.0


def cancel(ref: str, console: Console) -> None:
    """Ask a living driver to stop, and wait until it has closed its runs; close those of a dead one as KILLED.

    Raises:
        UsageError: If there is no such run, or it has ended.
        RunFailedError: If the driver has not stopped within a minute.
    """
    store = the_store()
    parent = find_command(store, ref)
    run_id, state = parent.info.run_id, condition(parent)
    if state not in ("running", "dead"):
        raise UsageError(f"run {run_id} has ended already ({state}): there is nothing to cancel")
    with mlflow_errors(store.tracking_uri):
        if state == "dead":
            with working_on(run_id):
                deliver(store.client, run_id)
                all_runs = [*children(store, parent), store.client.get_run(run_id)]
                left = [run.info.run_id for run in all_runs if run.info.status == "RUNNING"]
                for one in left:
                    store.client.set_terminated(one, "KILLED")
            console.print(f"its driver was gone: closed {len(left)} runs as KILLED", highlight=False)
            return
        store.client.set_tag(run_id, CANCEL, str(time.time()))
        sign = Sign.read(parent.data.tags)
        if sign is not None and sign.here:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the tag reaches it too, a little later
                os.kill(sign.pid, signal.SIGTERM)
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            if store.client.get_run(run_id).info.status != "RUNNING":
                console.print(f"stopped; 'orchestrator resume {run_id[:8]}' takes it up again", highlight=False)
                return
            time.sleep(0.5)
    raise RunFailedError(f"run {run_id} was asked to stop and has not within {WAIT_SECONDS:.0f} s: ask again later")
