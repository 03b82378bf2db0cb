"""A backbone in a local folder, for nodes that lack it: its files travel through Ray and are kept in each node's cache.

They lie in Ray's object store in pieces, so that no process holds a whole file, and no worker asks for them whose
machine has the folder or the copy of an earlier command.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from filelock import FileLock

from orchestrator.errors import UsageError
from orchestrator.settings import Settings
from pipelines.locate import FILES
from prompts_store.cache import VARIABLE, cache_folder

PIECE_BYTES = 64 * 1024**2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BackboneFiles:
    """The files of a backbone; called on a worker, it says in which folder they are there.

    Attributes:
        folder: Where they are on the machine of the command.
        sha256: Over the files' names, lengths and bytes.
        pieces: By file, its bytes as objects of Ray, in order.
    """

    folder: str
    sha256: str
    pieces: Mapping[str, tuple[Any, ...]]

    def __call__(self) -> str:
        """The folder here; the files are fetched if neither the same folder nor the cache has them.

        Raises:
            UsageError: If the cache cannot be written.
        """
        kept = cache_folder() / "backbones" / self.sha256
        if folder := self._found(Path(self.folder), kept):
            return folder
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{kept}.lock"):  # one worker of a node fetches, the others wait
                if folder := self._found(kept):
                    return folder
                self._fetch(kept)
        except OSError as error:
            raise UsageError(
                f"the backbone's files cannot be kept in {kept.parent} ({error}): give the nodes a cache with room for "
                f"them in {VARIABLE}, or the folder {self.folder}"
            ) from error
        return str(kept)

    def _found(self, *folders: Path) -> str | None:
        return next((str(folder) for folder in folders if folder.is_dir() and digest(folder) == self.sha256), None)

    def _fetch(self, kept: Path) -> None:
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=f"{kept.name}.", ignore_cleanup_errors=True) as half:
            for name, pieces in self.pieces.items():
                with Path(half, name).open("wb") as file:
                    for piece in pieces:
                        file.write(ray.get(piece))
            shutil.rmtree(kept, ignore_errors=True)  # damaged, or else it had been found
            os.rename(half, kept)


def ship(settings: Settings) -> BackboneFiles | None:
    """Put a command's backbone into the object store of the cluster that it is connected to.

    Returns:
        None where nothing need travel: without a cluster, and for names that each node resolves.
    """
    folder = Path(settings.backbone)
    if settings.ray_address is None or not folder.is_absolute() or not folder.is_dir():
        return None
    pieces = {file.name: tuple(ray.put(piece) for piece in _pieces(file)) for file in _files(folder)}
    log.debug("the backbone in %s travels with the command: %s", folder, ", ".join(pieces))
    return BackboneFiles(str(folder), digest(folder), pieces)


def digest(folder: Path) -> str:
    """SHA-256 over the names, lengths and bytes of a backbone's files."""
    found = hashlib.sha256()
    for file in _files(folder):
        found.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        for piece in _pieces(file):
            found.update(piece)
    return found.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted({file for pattern in FILES for file in folder.glob(pattern) if file.is_file()})


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece
