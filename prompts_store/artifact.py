"""The artifact: the tensors of one learned prompt with its card, and its two files on disk."""

import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors

from prompts_store.card import Card
from prompts_store.errors import StoreError
from prompts_store.files import CARD_FILE, TENSORS_FILE, sha256

MAX_CARD_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Artifact:
    """The tensors of one learned prompt with its card.

    `tensors` holds 'prompt' (m, d), 'A' (s, r), 'B' (r, d) and, when the card names a head, 'head.*' in any shape: all
    float32 and finite. They are kept detached and contiguous on the CPU. m = 0 and r = 0 are allowed: prompt tuning is
    r = 0, with A (s, 0) and B (0, d).

    Raises:
        StoreError: a tensor is missing, unknown, of another shape or dtype than the card says, or not finite.
    """

    card: Card
    tensors: Mapping[str, torch.Tensor]

    def __post_init__(self) -> None:
        _check_tensors(self.card, self.tensors)
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        object.__setattr__(self, "tensors", MappingProxyType(kept))

    @property
    def head(self) -> dict[str, torch.Tensor]:
        """The head's tensors by their names without 'head.'."""
        return {name.removeprefix("head."): t for name, t in self.tensors.items() if name.startswith("head.")}

    def __reduce__(self) -> "tuple[type[Artifact], tuple[Card, dict[str, torch.Tensor]]]":
        return Artifact, (self.card, dict(self.tensors))


def _check_tensors(card: Card, tensors: Mapping[str, torch.Tensor]) -> None:
    wanted = {"prompt": (card.m, card.d), "A": (card.s, card.r), "B": (card.r, card.d)}
    heads = {name for name in tensors if name.startswith("head.") and name != "head."}
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise StoreError(f"The artifact lacks the tensors {missing}: it must hold {sorted(wanted)}.")
    if unknown := sorted(tensors.keys() - wanted.keys() - heads):
        raise StoreError(
            f"The artifact holds unknown tensors {unknown}: only {sorted(wanted)} and 'head.*' are allowed."
        )
    if bool(heads) != (card.head is not None):
        raise StoreError(f"The card says head={card.head!r}, but the artifact's head tensors are {sorted(heads)}.")
    for name, tensor in tensors.items():
        if name in wanted and tuple(tensor.shape) != wanted[name]:
            raise StoreError(
                f"The tensor {name!r} has shape {tuple(tensor.shape)}, but the card's d={card.d}, m={card.m}, "
                f"r={card.r}, s={card.s} ask for {wanted[name]}."
            )
        if tensor.dtype != torch.float32:
            raise StoreError(f"The tensor {name!r} is {tensor.dtype}: artifacts hold torch.float32, convert it first.")
        if not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise StoreError(f"The tensor {name!r} has {bad} values that are NaN or infinite: the training diverged.")


def tensors_sha256(artifact: Artifact) -> str:
    """The SHA-256 of the tensors' file as `save_artifact` writes it."""
    return sha256(dump_tensors(dict(artifact.tensors)))


def save_artifact(artifact: Artifact, folder: str | os.PathLike[str]) -> Card:
    """Write `prompt.safetensors` and `card.json` into the new folder `folder`, whole or not at all.

    The files are written and synced in a hidden sibling folder that is then renamed. Equal tensors give equal bytes.

    Returns:
        The card as written, with `tensors_sha256` filled in.

    Raises:
        StoreError: the folder exists and is not empty, or cannot be written.
    """
    target = Path(folder).absolute()
    data = dump_tensors(dict(artifact.tensors))
    card = artifact.card.model_copy(update={"tensors_sha256": sha256(data)})
    half = target.parent / f".{target.name[:100]}.{uuid.uuid4().hex}.tmp"
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StoreError(
                f"Cannot save an artifact to {target}: it exists and is not an empty folder. Name another."
            )
        half.mkdir(parents=True)
        _write_synced(half / TENSORS_FILE, data)
        _write_synced(half / CARD_FILE, (card.model_dump_json(indent=2) + "\n").encode())
        half.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise StoreError(f"Cannot save an artifact to {target}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return card


def load_artifact(folder: str | os.PathLike[str]) -> Artifact:
    """Read an artifact from the two files in `folder`, checking everything; nothing else there is looked at.

    Raises:
        StoreError: a file is missing or too large, the card is not valid, the tensors' hash is not the card's, the
            tensors are not in the safetensors format (a pickle is never opened), or they do not fit the card.
    """
    path = Path(folder)
    return parse_artifact(_read(path / CARD_FILE), _read(path / TENSORS_FILE), str(path))


def parse_artifact(card_data: bytes, tensors_data: bytes, place: str) -> Artifact:
    """The artifact in the bytes of its two files, everything checked; `place` is where they lie, for messages.

    Raises:
        StoreError: as `load_artifact`.
    """
    card = parse_card(card_data, place)
    file = f"{place}/{TENSORS_FILE}"
    if card.tensors_sha256 is None:
        raise StoreError(f"The card {place}/{CARD_FILE} has no tensors_sha256, so the tensors cannot be checked.")
    digest = sha256(tensors_data)
    if digest != card.tensors_sha256:
        raise StoreError(
            f"The file {file} was changed or damaged: its SHA-256 is {digest[:12]}..., the card says "
            f"{card.tensors_sha256[:12]}...{_looks_like(tensors_data)}"
        )
    try:
        tensors = load_tensors(tensors_data)
    except (SafetensorError, ValueError, KeyError, OverflowError) as error:
        raise StoreError(f"The file {file} is not in the safetensors format.{_looks_like(tensors_data)}") from error
    return Artifact(card, tensors)


def parse_card(data: bytes, place: str) -> Card:
    """The card in the bytes of its file; `place` is the folder it lies in, for messages.

    Raises:
        StoreError: it is too large, not JSON, or not a valid card.
    """
    file = f"{place}/{CARD_FILE}"
    if len(data) > MAX_CARD_BYTES:
        raise StoreError(f"The file {file} has {len(data)} bytes, at most {MAX_CARD_BYTES} are allowed.")
    try:
        return Card.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        value = "" if first["type"] in ("missing", "json_invalid") else f", got {str(first['input'])[:80]!r}"
        raise StoreError(f"The card {file} is not valid: {where}: {first['msg']}{value}.") from error


def _looks_like(data: bytes) -> str:
    if data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") or data[:4] == b"PK\x03\x04":
        return " It looks like a pickle, which is never opened: store safetensors."
    return ""


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise StoreError(f"There is no file {path}: an artifact's folder holds {TENSORS_FILE} and {CARD_FILE}.")
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror or error}.") from error


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
