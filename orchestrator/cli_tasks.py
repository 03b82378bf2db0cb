"""`orchestrator tasks ...`."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.console import make_console

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look into the catalogue of tasks.")

BACKBONE = typer.Option(help="'minilm', a hub name or a local folder.")


@app.command("list")
def tasks_list() -> None:
    """List the tasks of the catalogue."""
    from orchestrator.commands.tasks import list_tasks

    list_tasks(make_console())


@app.command("show")
def tasks_show(
    name: Annotated[str, typer.Argument(help="A task, or the path of its YAML file.", metavar="NAME")],
    data: Annotated[str | None, typer.Option(help="Take an example from a folder of tasks, 'hub' or 'sample'.")] = None,
) -> None:
    """Show a task: its fields, labels and wording, an example, and the stored sources that fit it."""
    from orchestrator.commands.tasks import show_task

    show_task(name, data, make_console())


@app.command("new")
def tasks_new(
    name: Annotated[str, typer.Argument(help="What the task is to be called.", metavar="NAME")],
    data: Annotated[str, typer.Option(help="The folder with its rows: train.jsonl, .csv, .tsv or .parquet.")],
) -> None:
    """Look at rows of your own and write NAME.yaml, a task file to edit."""
    from orchestrator.commands.tasks import new_task

    new_task(name, data, make_console())


@app.command("check")
def tasks_check(
    name: Annotated[str, typer.Argument(help="The path of a task's YAML file, or a task.", metavar="FILE")],
    data: Annotated[str | None, typer.Option(help="Its rows: a folder, 'hub' or 'sample'.")] = None,
    backbone: Annotated[str, BACKBONE] = "minilm",
    max_length: Annotated[int | None, typer.Option(help="s, in tokens. Default: the task's own.")] = None,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Count and show malformed rows.")] = False,
) -> None:
    """Check a task's file and rows, and show three rows as a model will read them."""
    from orchestrator.commands.check_task import check_task

    check_task(name, data, backbone, max_length, skip_bad_rows, make_console())
