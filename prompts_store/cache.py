"""What was once fetched from a server or worked out, kept on this machine under the SHA-256 of what it is or is of."""

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
    """Bytes by a hash, in a folder that any number of processes may use and anyone may delete.

    A file is written beside its place and renamed, and it begins with the hash of the rest, checked whenever it is
    read: one that another process is writing, or that was damaged, is as good as none.

    Args:
        kind: what is kept: a folder in the `cache_folder`, made when something is first written.
    """

    def __init__(self, kind: str) -> None:
        self.folder = cache_folder() / kind

    def read(self, sha256: str) -> bytes | None:
        """What is kept under this hash (64 hexadecimal digits), or None; removes what is damaged."""
        path = self._path(sha256)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        digest, kept = data[:32], data[32:]
        if hashlib.sha256(kept).digest() == digest:
            return kept
        with suppress(OSError):
            path.unlink()
        return None

    def write(self, sha256: str, data: bytes) -> None:
        """Keep `data` under this hash. A folder that cannot be written keeps nothing: the cache is a help, no need."""
        path = self._path(sha256)
        half = path.with_name(f"{path.name}.{uuid.uuid4().hex}{HALF}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(hashlib.sha256(data).digest() + data)
            half.replace(path)
        except OSError:
            with suppress(OSError):
                half.unlink()

    def _path(self, sha256: str) -> Path:
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError(f"not a SHA-256 in hexadecimal: {sha256!r}")
        return self.folder / sha256[:2] / sha256


def half_written() -> list[Path]:
    """Files in the cache that are being written, or that a killed process left."""
    return sorted(cache_folder().glob(f"*/??/*{HALF}"))
