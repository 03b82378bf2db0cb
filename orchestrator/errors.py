"""The errors a person is meant to read, and the exit codes they end with."""

from pipelines.errors import PipelineError
from prompts_store import StoreError
from tasks import TaskError


class UsageError(ValueError):
    """What was asked for cannot be done; the message says what was wrong, its value and what to do."""


class RunFailedError(RuntimeError):
    """Every configuration of a command failed; the message gives the reasons."""


BAD_INPUT: tuple[type[Exception], ...] = (TaskError, StoreError, PipelineError, UsageError)

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
