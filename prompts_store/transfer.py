"""Moving an artifact's files into and out of MLflow, in the form of a logged model of a run."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompts_store.cache import Cache
from prompts_store.card import Card
from prompts_store.errors import StoreError
from prompts_store.files import CARD_FILE, FILES, TENSORS_FILE, fetch, fetch_cached, repository, sha256
from prompts_store.versions import StoredPrompt, Summary, summarise

if TYPE_CHECKING:
    from prompts_store.artifact import Artifact

MODEL_TYPE = "soft-prompt"
"""What our logged models are called among those of others."""


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
    written = {file: sha256(Path(folder, file).read_bytes()) for file in FILES}
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


def download(uri: str, location: str, stored: StoredPrompt, cache: Cache | None) -> "Artifact":
    """Fetch and check the artifact of the version `stored`.

    Args:
        uri: the store.
        location: where its files lie, an artifact URI.
        stored: what the registry says about it.
        cache: for files that do not lie on this machine; None reads what is stored.

    Raises:
        StoreError: a file is missing, or is not whole, or is not what the registry says.
    """
    from prompts_store.artifact import parse_artifact

    card_data = fetch_cached(uri, location, CARD_FILE, stored.card_sha256, cache)
    tensors_data = fetch_cached(uri, location, TENSORS_FILE, stored.tensors_sha256, cache)
    artifact = parse_artifact(card_data, tensors_data, location)
    read = summarise(artifact.card)
    for field in Summary.model_fields:
        if getattr(read, field) != getattr(stored, field):
            raise StoreError(
                f"The artifact at {location} is not the one that was stored: its card says "
                f"{field}={getattr(read, field)!r}, the registry {getattr(stored, field)!r}."
            )
    if (digest := sha256(card_data)) != stored.card_sha256:
        raise StoreError(
            f"The file {location}/{CARD_FILE} was changed or damaged: its SHA-256 is {digest[:12]}..., the registry "
            f"says {stored.card_sha256[:12]}..."
        )
    return artifact


def remove(client: Any, uri: str, model_id: str) -> None:
    """Remove the files and the record of a logged model of ours, unless a version, of whatever name, is made of it."""
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_logged_model(model_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return
    # Versions can be made to point anywhere: only what MLflow itself laid out for this model is removed.
    of_ours = model.model_type == MODEL_TYPE and model_id in model.artifact_location.split("/")
    if of_ours and not is_used(client, model_id):
        repository(uri, model.artifact_location).delete_artifacts()
        client.delete_logged_model(model_id)


def is_used(client: Any, model_id: str) -> bool:
    """Whether a version, of whatever name, is made of this logged model."""
    return bool(client.search_model_versions(f"source_path LIKE '%{model_id}%'", max_results=1))
