"""Waiting for an MLflow store that is away for a while: what is temporary is tried again, the rest fails at once."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import requests
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from prompts_store.secrets import without_secrets

PATIENCE_SECONDS = 600.0
"""For how long a store may be away before a command gives up."""
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 5.0
_BUSY_STATUS = (429, 502, 503, 504)
_CROWDED = "QueuePool limit"
"""What a server says, as a bad request, when more ask at once than its connections to the database serve in 30 s."""
_TEMPORARY = (requests.ConnectionError, requests.Timeout, requests.exceptions.RetryError, OperationalError)
_PERMANENT = ("disk is full", "readonly", "malformed", "not a database", "no such table", "no such column")

log = logging.getLogger(__name__)
T = TypeVar("T")


def is_temporary(error: BaseException) -> bool:
    """Whether the same call may succeed later: no connection, a busy server, a database locked by another writer."""
    chain = list(_chain(error))
    if any(word in str(link) for link in chain for word in _PERMANENT):
        return False
    return any(
        isinstance(link, _TEMPORARY)
        or _CROWDED in str(link)
        or (isinstance(link, MlflowException) and link.get_http_status_code() in _BUSY_STATUS)
        for link in chain
    )


def patiently(call: Callable[[], T], *, seconds: float = PATIENCE_SECONDS) -> T:
    """The result of a call that may be repeated, tried again with growing pauses while what fails is temporary.

    MLflow's own retries, which take minutes, in silence, and may make a run twice, are switched off for this process.

    Raises:
        Exception: What the call raised, if it is not temporary or has gone on for ``seconds``.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback for each locked database
    start, wait, told = time.monotonic(), _FIRST_WAIT, False
    while True:
        try:
            result = call()
        except Exception as error:
            if not is_temporary(error) or time.monotonic() - start > seconds:
                raise
            if not told:
                reason = without_secrets(str(error).strip().split("\n")[0])
                log.warning("the MLflow store does not answer, trying again for %.0f s: %s", seconds, reason)
                told = True
            time.sleep(wait * random.uniform(0.5, 1.0))  # so that those who failed together do not come back together
            wait = min(2 * wait, _LONGEST_WAIT)
        else:
            if told:
                log.warning("the MLflow store answers again, after %.0f s", time.monotonic() - start)
            return result


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
