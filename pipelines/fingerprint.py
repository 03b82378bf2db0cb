"""What identifies a backbone: a digest of its weights, whatever files they lie in."""

from __future__ import annotations

import hashlib
import json
import mmap
from pathlib import Path
from typing import Any

from pipelines.errors import PipelineError


def weights_fingerprint(folder: Path) -> str:
    """SHA-256 over the weights in a folder: each tensor's name, type, shape and bytes, in the names' order.

    The same weights give the same fingerprint in one file or in shards. Nothing is unpickled or even parsed beyond
    the safetensors headers.

    Raises:
        PipelineError: If there are none, or a file is not whole.
    """
    tensors: dict[str, tuple[Path, int, dict[str, Any]]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        size, header = _header(file)
        tensors |= {name: (file, 8 + size, entry) for name, entry in header.items()}
    if not tensors:
        raise PipelineError(f"{folder} holds no .safetensors weights; convert the model with save_pretrained()")
    digest = hashlib.sha256()
    maps: dict[Path, mmap.mmap] = {}
    for name, (file, base, entry) in sorted(tensors.items()):
        if file not in maps:
            with file.open("rb") as stream:
                maps[file] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        start, end = entry["data_offsets"]
        digest.update(f"{name}\0{entry['dtype']}\0{entry['shape']}\0".encode())
        with memoryview(maps[file]) as view, view[base + start : base + end] as part:
            digest.update(part)
    for opened in maps.values():
        opened.close()
    return digest.hexdigest()


def _header(file: Path) -> tuple[int, dict[str, Any]]:
    """The length of a .safetensors file's header, and what it says of each tensor: all of them in the file."""
    broken = PipelineError(f"{file} is not a whole .safetensors file: fetch the model's weights again")
    end = file.stat().st_size
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 0 < size <= end - 8:  # such as the pointer Git LFS leaves behind
            raise broken
        try:
            header: dict[str, Any] = json.loads(stream.read(size))
            header.pop("__metadata__", None)
            for entry in header.values():
                first, last = entry["data_offsets"]
                if not (0 <= int(first) <= int(last) <= end - 8 - size and {"dtype", "shape"} <= entry.keys()):
                    raise broken
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise broken from error
    return size, header
