"""The two files of an artifact where MLflow keeps them: read, looked for, and cached where they lie on a server."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from prompts_store.cache import Cache
from prompts_store.errors import StoreError

TENSORS_FILE = "prompt.safetensors"
CARD_FILE = "card.json"
FILES = (CARD_FILE, TENSORS_FILE)

TEMPORARY = "orchestrator-prompt-"
"""How the names of our temporary folders start."""


def sha256(data: bytes) -> str:
    """The SHA-256 of `data`, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def files_cache() -> Cache:
    """Where files from servers are kept, each under the hash of its bytes."""
    return Cache("files")


def fetch(uri: str, location: str, file: str) -> bytes:
    """The bytes of `file` at the artifact URI `location` of the store `uri`; in a folder they are read in place.

    Raises:
        StoreError: it is missing or cannot be read.
    """
    from mlflow.exceptions import MlflowException

    try:
        if folder := local_folder(location):
            return Path(folder, file).read_bytes()
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as temporary:
            repository(uri, location).download_artifacts(file, dst_path=temporary)
            return Path(temporary, file).read_bytes()
    except (OSError, MlflowException) as error:
        raise StoreError(f"The file {file} cannot be fetched from {location}: {error}") from error


def fetch_cached(uri: str, location: str, file: str, digest: str, cache: Cache | None) -> bytes:
    """As `fetch`, but what does not lie on this machine is looked for in `cache`, and kept there if it has the hash.

    Whoever calls it compares the hash of what came with `digest`, and says what differs.
    """
    if cache is None or local_folder(location):
        return fetch(uri, location, file)
    kept = cache.read(digest)
    if kept is not None and sha256(kept) == digest:
        return kept
    data = fetch(uri, location, file)
    if sha256(data) == digest:
        cache.write(digest, data)
    return data


def missing_files(uri: str, location: str) -> list[str]:
    """The files of an artifact that are not at the artifact URI `location` of the store `uri`.

    Raises:
        MlflowException: the place cannot be looked into.
    """
    if folder := local_folder(location):
        there = {file for file in FILES if Path(folder, file).exists()}
    else:
        there = {file.path for file in repository(uri, location).list_artifacts()}
    return [file for file in FILES if file not in there]


def repository(uri: str, location: str) -> Any:
    """MLflow's `ArtifactRepository` of the artifact URI `location` in the store `uri`."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(location, tracking_uri=uri)


def local_folder(location: str) -> str | None:
    """The path of an artifact URI on this machine; None for one elsewhere."""
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    return local_file_uri_to_path(location) if is_local_uri(location) else None
