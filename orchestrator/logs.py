"""Logs of our four packages, on standard error: results go to standard output, so that either can be kept alone.

What is logged where: *info* is what a person waits for (progress where there is no terminal), *debug* helps to find a
fault (stages, Ray, retries, the store), *warning* is what to look into. Libraries are left as quiet as they are.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

VARIABLE = "ORCHESTRATOR_LOG"
LEVELS = ("debug", "info", "warning", "error")
PACKAGES = ("orchestrator", "pipelines", "prompts_store", "tasks")


def set_up_logs(level: str | None = None) -> None:
    """Write what our packages log to standard error; calling it again changes the level.

    Args:
        level: One of `LEVELS`; None for what the variable ORCHESTRATOR_LOG says, else ``info``.

    Raises:
        UsageError: If the variable says something else.
    """
    level = level or os.environ.get(VARIABLE, "").lower() or "info"
    if level not in LEVELS:
        from orchestrator.errors import UsageError

        raise UsageError(f"{VARIABLE} must be one of {', '.join(LEVELS)}, got {level!r}")
    handler = _Handler()
    handler.setFormatter(_Formatter(detailed=level == "debug"))
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(level.upper())
        logger.propagate = False
        logger.handlers = [handler]


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is at the time: a live view puts itself in its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _Formatter(logging.Formatter):
    """The message without secrets: alone for everybody, with time and place where a fault is looked for."""

    def __init__(self, *, detailed: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s" if detailed else "%(message)s")
        self.detailed = detailed
        self.default_msec_format = "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        from prompts_store.secrets import without_secrets

        text = super().format(record)
        if not self.detailed and record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        return without_secrets(text)
