"""The commands that deal with the runs of other commands: resume, status and cancel."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.console import make_console

RUN = typer.Argument(metavar="RUN", help="A run's id or its beginning, its name, or 'latest'.")


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (resume, status, cancel):
        app.command()(command)


def resume(
    run: Annotated[str | None, RUN] = None,
    ray_address: Annotated[str | None, typer.Option(help="Where the cluster is now. Default: where it was.")] = None,
) -> None:
    """Take up a command that was cut off; without RUN, list those that can be."""
    from orchestrator.commands.resume import resume as command

    command(run, make_console(), ray_address)


def status(run: Annotated[str | None, RUN] = None) -> None:
    """Say how a command stands; without RUN, how the newest ones do."""
    from orchestrator.commands.status import status as command

    command(run, make_console())


def cancel(run: Annotated[str, RUN]) -> None:
    """Stop a command cleanly, on whatever machine; close the runs of one whose process is gone."""
    from orchestrator.commands.cancel import cancel as command

    command(run, make_console())
