"""`--verbose` and `--quiet`, which every command takes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.logs import set_up_logs

_app = typer.Typer()


@_app.command()
def _options(
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", expose_value=False, callback=lambda on: set_up_logs("debug") if on else None,
            help="Log stages, Ray, retries and the store.",
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", expose_value=False, callback=lambda on: set_up_logs("warning") if on else None,
            help="Show no progress, log warnings and errors alone.",
        ),
    ] = False,
) -> None:  # fmt: skip
    """Holds the two options."""


def add_log_options(command: Any) -> None:
    """Give a command and all below it ``-v`` and ``-q``, so that it does not matter where they are written."""
    options = [option for option in typer.main.get_command(_app).params if option.name in ("verbose", "quiet")]
    waiting = [command]
    while waiting:
        one = waiting.pop()
        one.params.extend(options)
        waiting.extend(getattr(one, "commands", {}).values())
