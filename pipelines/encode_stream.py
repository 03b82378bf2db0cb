"""Token ids of training rows that are too many to be held: tokenised batch by batch into files, and mapped from there.

The files stand in the cache folder under a hash of the rows, the tokenizer, the family, s and the wording, and are made
once. A slot reads of them what its next step needs; memory holds what the operating system likes to keep of them. A
process on the same machine is given the folder and maps the files itself.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from pipelines.encode import Encoded, Tokens, tokenise
from pipelines.errors import PipelineError
from pipelines.gold import Gold, gold_of
from prompts_store.cache import HALF, cache_folder
from tasks import Rows, Selection

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pipelines.architecture import FamilyName

BATCH = 5000
"""Rows that are tokenised at once, and held for that."""

ARRAYS = {
    "ids": np.int32,
    "segments": np.uint8,
    "offsets": np.int64,
    "labels": np.int64,
    "values": np.float64,
    "targets": np.int32,
    "target_offsets": np.int64,
}
"""Name of an array of `Encoded` or its `Gold` -> type of its numbers; each is a file of them and nothing else."""


@dataclass(frozen=True)
class MappedRows(Encoded):
    """Rows whose arrays are files of this folder; pickled, they are its name."""

    folder: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return _mapped, (self.folder,)

    def in_memory(self) -> Encoded:
        """The same rows, held."""
        tokens = Tokens(np.array(self.ids), np.array(self.segments), np.array(self.offsets), self.truncated)
        gold = self.gold
        return Encoded.of(
            tokens,
            replace(
                gold,
                labels=np.array(gold.labels),
                values=np.array(gold.values),
                targets=np.array(gold.targets),
                target_offsets=np.array(gold.target_offsets),
            ),
        )


def encode_stream(
    rows: Selection, tokenizer: PreTrainedTokenizerFast, fingerprint: str, family: FamilyName, s: int
) -> MappedRows:
    """As `pipelines.encode.encode`, for rows to learn from: their right answers and groups, for judging, are left out.

    Args:
        rows: To be encoded.
        tokenizer: Of the backbone.
        fingerprint: SHA-256 over the tokenizer's definition.
        family: Of the backbone.
        s: Texts are cut at so many tokens.

    Raises:
        PipelineError: If the files cannot be written.
    """
    key = _key(rows, fingerprint, family, s)
    folder = cache_folder() / "streams" / key[:2] / key
    if not _whole(folder):
        half = folder.with_name(f"{key}.{uuid.uuid4().hex}{HALF}")
        try:
            half.mkdir(parents=True)
            _write(half, rows, tokenizer, family, s)
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one
            half.rename(folder)
        except OSError as error:
            raise PipelineError(
                f"the token ids of {rows.source} cannot be kept in {folder.parent.parent} ({error.strerror}): make"
                " room, or name another folder in ORCHESTRATOR_CACHE"
            ) from error
        finally:
            shutil.rmtree(half, ignore_errors=True)
    return _mapped(folder)


def _key(rows: Selection, fingerprint: str, family: FamilyName, s: int) -> str:
    import tokenizers

    task = rows.task
    head = {
        "format": 1,
        "tokenizers": tokenizers.__version__,
        "tokenizer": fingerprint,
        "family": family,
        "s": s,
        "fields": task.fields,
        "wording": None if family == "encoder" else task.template,
        "step": task.value_step,
    }
    return hashlib.sha256(json.dumps(head, sort_keys=True).encode() + rows.digests.tobytes()).hexdigest()


def _write(folder: Path, rows: Selection, tokenizer: PreTrainedTokenizerFast, family: FamilyName, s: int) -> None:
    truncated = 0
    with ExitStack() as stack:
        files = {name: _Array(stack.enter_context((folder / name).open("wb")), kind) for name, kind in ARRAYS.items()}
        for name in ("offsets", "target_offsets"):
            files[name].write(np.zeros(1))
        for batch in _batches(rows):
            tokens, gold = tokenise(batch, tokenizer, family, s), gold_of(batch, tokenizer, family)
            truncated += tokens.truncated
            starts = {"offsets": files["ids"].length, "target_offsets": files["targets"].length}
            arrays = {"ids": tokens.ids, "segments": tokens.segments, "labels": gold.labels, "values": gold.values}
            arrays |= {"targets": gold.targets}
            for name, own in (("offsets", tokens.offsets), ("target_offsets", gold.target_offsets)):
                arrays[name] = own[1:] + starts[name]
            for name, values in arrays.items():
                files[name].write(values)
    card = {name: {"length": file.length, "sha256": file.digest.hexdigest()} for name, file in files.items()}
    (folder / "card.json").write_text(json.dumps({"truncated": truncated, "arrays": card}))


def _batches(rows: Selection) -> Iterator[Rows]:
    examples = iter(rows)
    while batch := tuple(islice(examples, BATCH)):
        yield Rows(rows.task, rows.split, batch, "", rows.source)


class _Array:
    """A file that an array is written to, one part after the other."""

    def __init__(self, file: IO[bytes], kind: type) -> None:
        self.length = 0
        self.digest = hashlib.sha256()
        self._file = file
        self._kind = kind

    def write(self, part: np.ndarray) -> None:
        data = np.ascontiguousarray(part, self._kind).tobytes()
        self._file.write(data)
        self.digest.update(data)
        self.length += len(part)


def _whole(folder: Path) -> bool:
    """Whether every file is there, and as it was written."""
    try:
        arrays = json.loads((folder / "card.json").read_text())["arrays"]
        for name in ARRAYS:
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != arrays[name]["sha256"]:
                    return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _mapped(folder: Path) -> MappedRows:
    card = json.loads((folder / "card.json").read_text())
    arrays = {name: _map(folder / name, kind, card["arrays"][name]["length"]) for name, kind in ARRAYS.items()}
    gold = Gold(
        labels=arrays["labels"],
        groups=np.array([], np.int64),
        values=arrays["values"],
        answers=(),
        targets=arrays["targets"],
        target_offsets=arrays["target_offsets"],
    )
    return MappedRows(arrays["ids"], arrays["segments"], arrays["offsets"], gold, card["truncated"], folder)


def _map(path: Path, kind: type, length: int) -> np.ndarray:
    # copy-on-write: nobody writes, but torch warns of arrays that cannot be written
    return np.memmap(path, kind, "c", shape=(length,)) if length else np.array([], kind)
