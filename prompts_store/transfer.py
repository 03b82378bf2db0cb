"""Moving an artifact's files into and out of MLflow, in the form of a logged model of a run."""

import hashlib
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from prompts_store.artifact import CARD_FILE, TENSORS_FILE, Artifact, parse_artifact
from prompts_store.cache import Cache
from prompts_store.card import Card
from prompts_store.errors import StoreError
from prompts_store.versions import StoredPrompt, Summary, summarise

MODEL_TYPE = "soft-prompt"
"""What our logged models are called among those of others."""

TEMPORARY = "orchestrator-prompt-"
"""How the names of our temporary folders start."""


def upload(client: Any, uri: str, folder: Path, card: Card, name: str) -> tuple[Any, str]:
    """Upload the artifact in `folder` as a logged model of the run `card.run_id`, and read it back.

    Returns:
        The `mlflow.entities.LoggedModel`, READY, and the SHA-256 of the card's file. When anything fails the model is
        left FAILED, and no version points to it.

    Raises:
        StoreError: what was read back is not what was written.
        MlflowException: the run does not exist, or the store refuses.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_run(card.run_id).info.experiment_id
    shown = name.replace(".", "_")  # a logged model's name may not have a '.', a registered model's may
    tags = {"task": card.task, "backbone": card.backbone, "method": card.method}
    written = {file: sha256(Path(folder, file).read_bytes()) for file in (CARD_FILE, TENSORS_FILE)}
    model = client.create_logged_model(experiment, shown, source_run_id=card.run_id, tags=tags, model_type=MODEL_TYPE)
    try:
        client.log_model_artifacts(model.model_id, str(folder))
        for file, digest in written.items():
            read = sha256(fetch(uri, model.artifact_location, file))
            if read != digest:
                raise StoreError(
                    f"The file {file} was changed or damaged on its way to {model.artifact_location}: its SHA-256 is "
                    f"{read[:12]}..., not {digest[:12]}...; store it again."
                )
        client.finalize_logged_model(model.model_id, "READY")
    except BaseException:
        with suppress(MlflowException):
            client.finalize_logged_model(model.model_id, "FAILED")
        raise
    return model, written[CARD_FILE]


def download(uri: str, location: str, stored: StoredPrompt, cache: Cache | None) -> Artifact:
    """Fetch and check the artifact of the version `stored`.

    Args:
        uri: the store.
        location: where its files lie, an artifact URI.
        stored: what the registry says about it.
        cache: where files that do not lie on this machine are looked for first, and kept; None reads what is stored.

    Raises:
        StoreError: a file is missing, or is not whole, or is not what the registry says.
    """
    wanted = {CARD_FILE: stored.card_sha256, TENSORS_FILE: stored.tensors_sha256}
    kept = {} if cache is None or _local_folder(location) else {f: cache.read(sha) for f, sha in wanted.items()}
    files = {file: data if (data := kept.get(file)) is not None else fetch(uri, location, file) for file in wanted}
    artifact = parse_artifact(files[CARD_FILE], files[TENSORS_FILE], location)
    read = summarise(artifact.card)
    for field in Summary.model_fields:
        if getattr(read, field) != getattr(stored, field):
            raise StoreError(
                f"The artifact at {location} is not the one that was stored: its card says "
                f"{field}={getattr(read, field)!r}, the registry {getattr(stored, field)!r}."
            )
    if (digest := sha256(files[CARD_FILE])) != stored.card_sha256:
        raise StoreError(
            f"The file {location}/{CARD_FILE} was changed or damaged: its SHA-256 is {digest[:12]}..., the registry "
            f"says {stored.card_sha256[:12]}..."
        )
    if cache is not None:
        for file, data in kept.items():
            if data is None:
                cache.write(files[file])
    return artifact


def remove(client: Any, uri: str, model_id: str) -> bool:
    """Remove the files and the record of a logged model of ours, unless a version, of whatever name, is made of it.

    Returns:
        Whether it was removed.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        model = client.get_logged_model(model_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    # Versions can be made to point anywhere: only what MLflow itself laid out for this model is removed.
    of_ours = model.model_type == MODEL_TYPE and model_id in model.artifact_location.split("/")
    if not of_ours or client.search_model_versions(f"source_path LIKE '%{model_id}%'", max_results=1):
        return False
    get_artifact_repository(model.artifact_location, tracking_uri=uri).delete_artifacts()
    client.delete_logged_model(model_id)
    return True


def fetch(uri: str, location: str, file: str) -> bytes:
    """The bytes of `file` at the artifact URI `location` of the store `uri`; in a folder they are read in place.

    Raises:
        StoreError: it is missing or cannot be read.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        if folder := _local_folder(location):
            return Path(folder, file).read_bytes()
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as temporary:
            get_artifact_repository(location, tracking_uri=uri).download_artifacts(file, dst_path=temporary)
            return Path(temporary, file).read_bytes()
    except (OSError, MlflowException) as error:
        raise StoreError(f"The file {file} cannot be fetched from {location}: {error}") from error


def sha256(data: bytes) -> str:
    """The SHA-256 of `data`, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _local_folder(location: str) -> str | None:
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    return local_file_uri_to_path(location) if is_local_uri(location) else None
