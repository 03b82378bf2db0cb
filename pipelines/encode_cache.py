"""Token ids kept on disk: a set of rows is tokenised once for a backbone's tokenizer and a length.

What is kept depends on the texts, in their order, and on nothing that rows are labelled with, so a set whose labels
were mended is not tokenised again. Files are those of `prompts_store.cache`: written whole or not at all, checked when
read, made again when damaged, safe with several processes; deleting them costs time alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from pipelines.encode import Encoded, Tokens, tokenise
from pipelines.gold import gold_of
from prompts_store.cache import Cache
from tasks import Rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pipelines.architecture import FamilyName

FORMAT = 1
"""To be raised whenever `tokenise` gives other ids for the same texts."""

LEAST_ROWS = 1000
"""Smaller sets are tokenised in less time than a file is worth: docs/tasks.md has both."""


class EncodeCache:
    """Encodes rows for one tokenizer, with what was encoded before.

    Args:
        tokenizer: Of the backbone.
        fingerprint: SHA-256 over the tokenizer's definition.
        family: Of the backbone.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, fingerprint: str, family: FamilyName) -> None:
        self.tokenizer = tokenizer
        self.fingerprint = fingerprint
        self.family = family
        self._cache = Cache("encoded")

    def encode(self, rows: Rows, s: int) -> Encoded:
        """As `pipelines.encode.encode`."""
        return Encoded.of(self._tokens(rows, s), gold_of(rows, self.tokenizer, self.family))

    def _tokens(self, rows: Rows, s: int) -> Tokens:
        if len(rows) < LEAST_ROWS:
            return tokenise(rows, self.tokenizer, self.family, s)
        key = self._key(rows, s)
        kept = self._cache.read(key)
        if kept is not None and (tokens := _unpacked(kept)) is not None:
            return tokens
        tokens = tokenise(rows, self.tokenizer, self.family, s)
        self._cache.write(key, _packed(tokens))
        return tokens

    def _key(self, rows: Rows, s: int) -> str:
        import tokenizers

        wording = None if self.family == "encoder" else {"template": rows.task.template, "fields": rows.task.fields}
        head = {
            "format": FORMAT,
            "tokenizers": tokenizers.__version__,
            "tokenizer": self.fingerprint,
            "family": self.family,
            "s": s,
            "texts": len(rows.task.fields),
            "wording": wording,
        }
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        for example in rows.examples:
            for text in example.texts:
                data = text.encode("utf-8", "surrogatepass")
                digest.update(b"%d:" % len(data))  # so that no two lists of texts run together alike
                digest.update(data)
        return digest.hexdigest()


def _packed(tokens: Tokens) -> bytes:
    file = io.BytesIO()
    np.savez(
        file,
        ids=tokens.ids,
        segments=tokens.segments,
        offsets=tokens.offsets,
        truncated=np.asarray(tokens.truncated),
    )
    return file.getvalue()


def _unpacked(data: bytes) -> Tokens | None:
    """The arrays; None for a file of another layout."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return Tokens(arrays["ids"], arrays["segments"], arrays["offsets"], int(arrays["truncated"]))
    except (ValueError, KeyError, zipfile.BadZipFile):
        return None
