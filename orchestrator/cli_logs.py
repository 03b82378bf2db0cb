"""`--verbose` and `--quiet`, which every command takes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.logs import set_up_logs

_app = typer.Typer()


def _level(level: str, *names: str, help: str) -> Any:
    """An option that sets the level of the logs, and is no business of the command."""
    return typer.Option(*names, expose_value=False, callback=lambda on: set_up_logs(level) if on else None, help=help)


@_app.command()
def _options(
    verbose: Annotated[
        bool, _level("debug", "--verbose", "-v", help="Log stages, Ray, retries and the store.")
    ] = False,
    quiet: Annotated[
        bool, _level("warning", "--quiet", "-q", help="Show no progress, log warnings and errors alone.")
    ] = False,
) -> None:
    """Holds the two options."""


def add_log_options(command: Any) -> None:
    """Give a command and all below it ``-v`` and ``-q``, so that it does not matter where they are written."""
    options = [option for option in typer.main.get_command(_app).params if option.name in ("verbose", "quiet")]
    waiting = [command]
    while waiting:
        one = waiting.pop()
        one.params.extend(options)
        waiting.extend(getattr(one, "commands", {}).values())
