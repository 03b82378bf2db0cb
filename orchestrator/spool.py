"""Lines on disk until they are sent, so that a command which dies while the store is away loses nothing it had to say.

A command has one file in the cache folder, named after its parent run. A line is written before it is sent, and the
file is emptied whenever nothing waits, so it holds seconds of work unless the store is away. Whoever takes the command
up sends what the file has. Deleting it costs no more than training again what it spoke of.
"""

from __future__ import annotations

import contextlib
import logging
import os

from prompts_store.cache import cache_folder

log = logging.getLogger(__name__)


class Spool:
    """One command's lines; not for several threads at once.

    Training is worth more than a copy of what it says: a disk that takes no more costs a warning.

    Args:
        run_id: The command's parent run.
    """

    def __init__(self, run_id: str) -> None:
        self.path = cache_folder() / "spool" / f"{run_id}.jsonl"
        self._file: int | None = None
        self._usable = True

    def keep(self, line: str) -> None:
        """Write a line, which holds no line break; a kill of this process no longer loses it."""
        if not self._usable:
            return
        data = f"{line}\n".encode()
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            if os.write(self._file, data) < len(data):
                raise OSError("no room for a whole line")
        except OSError as error:
            self._usable = False
            log.warning("cannot write to %s: %s; what this command records is not safe from a kill", self.path, error)

    def clear(self) -> None:
        """Forget all lines: they are sent."""
        if self._file is not None:
            os.ftruncate(self._file, 0)

    def remove(self) -> None:
        """Delete the file, as there is nothing more to come."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        with contextlib.suppress(OSError):  # it was never made, or lies where nothing can be deleted: it is empty
            self.path.unlink()

    def read(self) -> list[str]:
        """The whole lines that a dead command left; one it was killed in is not among them."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        return text.split("\n")[:-1]
