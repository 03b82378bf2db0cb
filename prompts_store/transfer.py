"""Moving an artifact's files into and out of MLflow, in the form of a logged model of a run."""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from prompts_store.artifact import CARD_FILE, TENSORS_FILE, Artifact, load_artifact
from prompts_store.card import Card
from prompts_store.errors import StoreError


def upload(client: Any, uri: str, folder: Path, card: Card, name: str) -> Any:
    """Upload the artifact in `folder` as a logged model of the run `card.run_id`, and read it back.

    Returns:
        The `mlflow.entities.LoggedModel`, READY. When anything fails it is left FAILED, and no version points to it.

    Raises:
        StoreError: what was read back is not what was written.
        MlflowException: the run does not exist, or the store refuses.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_run(card.run_id).info.experiment_id
    shown = name.replace(".", "_")  # a logged model's name may not have a '.', a registered model's may
    tags = {"task": card.task, "backbone": card.backbone, "method": card.method}
    model = client.create_logged_model(experiment, shown, source_run_id=card.run_id, tags=tags, model_type="prompt")
    try:
        client.log_model_artifacts(model.model_id, str(folder))
        download(uri, model.artifact_location, card.tensors_sha256)
        client.finalize_logged_model(model.model_id, "READY")
    except BaseException:
        with suppress(MlflowException):
            client.finalize_logged_model(model.model_id, "FAILED")
        raise
    return model


def download(uri: str, location: str, tensors_sha256: str | None) -> Artifact:
    """Fetch and check the artifact whose files lie at the artifact URI `location` of the store `uri`.

    Raises:
        StoreError: a file is missing, or is not whole, or its tensors do not have the hash `tensors_sha256`.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(location, tracking_uri=uri)
    with tempfile.TemporaryDirectory(prefix="prompt-") as folder:
        for file in (CARD_FILE, TENSORS_FILE):
            try:
                repository.download_artifacts(file, dst_path=folder)
            except (OSError, MlflowException) as error:
                raise StoreError(f"The file {file} cannot be fetched from {location}: {error}") from error
        try:
            artifact = load_artifact(folder)
        except StoreError as error:
            raise StoreError(str(error).replace(folder, location)) from error
    if artifact.card.tensors_sha256 != tensors_sha256:
        raise StoreError(
            f"The tensors at {location} are not those that were stored: their SHA-256 is "
            f"{str(artifact.card.tensors_sha256)[:12]}..., the registry says {str(tensors_sha256)[:12]}..."
        )
    return artifact
