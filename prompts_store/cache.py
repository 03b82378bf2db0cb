"""Files once fetched from a server, kept by the SHA-256 of their bytes."""

import hashlib
import os
import re
import uuid
from contextlib import suppress
from pathlib import Path

VARIABLE = "ORCHESTRATOR_CACHE"
HALF = ".tmp"
"""How the name of a file ends while it is being written."""


def cache_folder() -> Path:
    """The folder that ORCHESTRATOR_CACHE names; else `orchestrator` in XDG_CACHE_HOME or in ~/.cache."""
    if folder := os.environ.get(VARIABLE):
        return Path(folder).expanduser().absolute()
    # the specification says that a relative XDG_CACHE_HOME is to be ignored
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path("~/.cache").expanduser()) / "orchestrator"


class Cache:
    """Bytes by their hash, in a folder that any number of processes may use and anyone may delete.

    A file is written beside its place and renamed, and its hash is checked whenever it is read, so that a file which
    another process is writing, or which was damaged, is as good as none.

    Args:
        folder: where to keep them; made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, sha256: str) -> bytes | None:
        """The bytes with this hash (64 hexadecimal digits), or None where there are none; removes what is damaged."""
        path = self._path(sha256)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
        with suppress(OSError):
            path.unlink()
        return None

    def write(self, data: bytes) -> None:
        """Keep `data`. A folder that cannot be written keeps nothing: the cache is a help, not a need."""
        path = self._path(hashlib.sha256(data).hexdigest())
        half = path.with_name(f"{path.name}.{uuid.uuid4().hex}{HALF}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(data)
            half.replace(path)
        except OSError:
            with suppress(OSError):
                half.unlink()

    def halves(self) -> list[Path]:
        """Files that are being written, or that a killed process left half-written."""
        return sorted(self.folder.glob(f"??/*{HALF}"))

    def _path(self, sha256: str) -> Path:
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError(f"not a SHA-256 in hexadecimal: {sha256!r}")
        return self.folder / sha256[:2] / sha256
