"""Temporary folders for processes that may be killed: whoever makes the next one removes those left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

YOUNG_SECONDS = 60.0
"""A folder that was made this lately may be about to be locked by whoever made it."""


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder, removed on leaving the context; those of this prefix whose owners are dead go first.

    A folder is locked while its owner lives: the kernel lets go of the lock when the process dies, however it does.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # somebody else's, or in use, or being removed by another command
            if time.time() - left.stat().st_mtime > YOUNG_SECONDS:
                os.close(_locked(left))
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    lock = _locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked(folder: Path) -> int:
    """A descriptor of the folder, locked.

    Raises:
        OSError: If it is not ours, or its owner lives.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.fstat(descriptor).st_uid != os.getuid():
            raise PermissionError(f"{folder} is another user's")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
