"""`orchestrator resume`: take up a command that was cut off where it stopped, to the same numbers."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console
from rich.table import Column, Table

from orchestrator.errors import UsageError
from orchestrator.heartbeat import working_on
from orchestrator.letters import deliver
from orchestrator.resumed import read_resumed
from orchestrator.runs import commands, condition, find_command, the_store
from orchestrator.settings import FewshotSettings, PretrainSettings
from prompts_store.tracking import mlflow_errors


def resume(ref: str | None, console: Console, ray_address: str | None = None) -> None:
    """Resume a command; without one named, list those that can be resumed.

    What had ended is not trained again: the planner is led through the same decisions by what is on record of it. What
    a dead command had not come to write, because the store was away, is written first.

    Args:
        ref: Which command; see `find_command`.
        console: Where progress and results are printed.
        ray_address: The cluster, if it is another by now or its address held a password, which is not kept.

    Raises:
        UsageError: If there is no such run, it has finished, its driver lives, or something has changed since.
    """
    store = the_store()
    if ref is None:
        return _list(console)
    parent = find_command(store, ref)
    state = condition(parent)
    if state == "finished":
        raise UsageError(f"run {parent.info.run_id} has finished: there is nothing to resume")
    if state == "running":
        raise UsageError(f"run {parent.info.run_id} is being worked on: see 'orchestrator status', or cancel it first")
    with mlflow_errors(store.tracking_uri), working_on(parent.info.run_id):
        if left := deliver(store.client, parent.info.run_id):
            console.print(f"wrote what {left} runs had not come to write while the store was away", highlight=False)
            parent = store.client.get_run(parent.info.run_id)
    if condition(parent) == "finished":
        console.print(f"with that, run {parent.info.run_id} has finished: nothing is left to train", highlight=False)
        return None
    resumed = read_resumed(store, parent)
    settings = resumed.plan.settings
    if ray_address is not None:
        settings = replace(settings, ray_address=ray_address)
    ended = sum(child.outcome is not None for child in resumed.children.values())
    console.print(
        f"resuming {parent.info.run_name} ({parent.info.run_id[:8]}): of {len(resumed.children)} configurations begun, "
        f"{ended} had ended",
        highlight=False,
        soft_wrap=True,
    )
    if isinstance(settings, FewshotSettings):
        from orchestrator.commands.fewshot import fewshot

        fewshot(settings, console, resumed=resumed)
    elif isinstance(settings, PretrainSettings):
        from orchestrator.commands.pretrain_source import pretrain_source

        pretrain_source(settings, console, resumed=resumed)
    return None


def _list(console: Console) -> None:
    table = Table("run", "command", Column("name", overflow="fold"), "state")
    for parent in commands(the_store()):
        if (state := condition(parent)) not in ("finished", "running"):
            table.add_row(
                parent.info.run_id[:8], parent.data.tags.get("orchestrator.kind"), parent.info.run_name, state
            )
    if table.row_count:
        console.print(table)
    else:
        console.print("nothing to resume")
