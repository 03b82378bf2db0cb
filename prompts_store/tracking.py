"""Which MLflow store is used, and getting it ready: one database, one artifact folder, no noise."""

import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from prompts_store.errors import StoreError
from prompts_store.names import clean_name
from prompts_store.secrets import without_secrets

SERVER_SECONDS = 5.0
"""How long a server may take to answer before it counts as unreachable."""

_SQLITE = "sqlite:///"
_MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Without it MLflow's UI opens an experiment at its page for language-model applications, which shows no runs."""
_QUIET_LOGGERS = ("alembic", "mlflow.store.db.utils", "mlflow.store.db.base_sql_model", "mlflow.tracking.client")


def default_tracking_uri() -> str:
    """MLFLOW_TRACKING_URI if it is set, else the SQLite file mlflow.db in the working directory; paths made absolute.

    Raises:
        StoreError: the variable names a kind of store that cannot be used.
    """
    return resolve_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db")


def resolve_tracking_uri(uri: str) -> str:
    """`uri` with an absolute SQLite path, so that processes in other folders mean the same store.

    Raises:
        StoreError: `uri` is a folder or an SQLite database in memory.
    """
    path = database_path(uri)
    if path is not None:
        return _SQLITE + str(path).replace("%", "%25").replace("?", "%3F")
    if "://" not in uri or uri.startswith("file:"):
        if uri == "databricks" or uri.startswith("databricks:"):
            return uri
        raise StoreError(
            f"The MLflow store {without_secrets(uri)!r} is a folder, which MLflow no longer writes: use "
            "sqlite:///PATH/mlflow.db, or the http:// address of a server."
        )
    return uri


def database_path(uri: str) -> Path | None:
    """The absolute path of an SQLite store's file; None for other kinds.

    Raises:
        StoreError: the database is in memory, where no other process sees it.
    """
    if not uri.startswith("sqlite:"):
        return None
    path = unquote(uri.removeprefix(_SQLITE).split("?")[0]) if uri.startswith(_SQLITE) else ""
    if not path or path.startswith(":memory:"):
        raise StoreError(f"The MLflow store {uri!r} names no file: use sqlite:///PATH/mlflow.db.")
    return Path(path).absolute()


def artifact_root(uri: str) -> Path | None:
    """The folder of an SQLite store's artifacts, `mlartifacts` beside its file; None where a server decides."""
    path = database_path(uri)
    return None if path is None else path.parent / "mlartifacts"


def prepare_store(uri: str | None = None) -> str:
    """Make the store ready: create its database once, check that a server answers, quiet MLflow's log.

    Call it once before workers start; more calls are cheap and safe, from several processes too. It switches MLflow's
    telemetry, progress bars and addresses of finished runs off in this process's environment.

    Returns:
        The tracking URI to use everywhere, with an absolute path.

    Raises:
        StoreError: the folder cannot be written, the file is not an SQLite database or is of another MLflow version, or
            the server does not answer within 5 seconds.
    """
    uri = default_tracking_uri() if uri is None else resolve_tracking_uri(uri)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    path = database_path(uri)
    if path is not None:
        _check_database_file(path)
    elif uri.startswith(("http://", "https://")):
        _check_server(uri)
    client = connect(uri)
    with mlflow_errors(uri):
        client.search_registered_models(max_results=1)
    return uri


def connect(uri: str) -> Any:
    """An `mlflow.MlflowClient` for the tracking store and the registry at `uri`, with a quiet log."""
    import mlflow

    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    with mlflow_errors(uri):
        return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def paged(search: Callable[..., Any], *wanted: Any, size: int, **more: Any) -> Iterator[Any]:
    """What a search method of MLflow's client finds, through all its pages of `size`."""
    token = None
    while True:
        page = search(*wanted, max_results=size, page_token=token, **more)
        yield from page
        token = page.token
        if not token:
            return


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """Turn MLflow's, the database's and the disk's own errors into a `StoreError` that names the store."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:  # OSError: a full disk, a server that went away
        reason = str(error).strip().split("\n")[0]
        raise StoreError(without_secrets(f"The MLflow store {uri} refused: {reason}")) from error


def ensure_experiment(client: Any, uri: str, name: str) -> str:
    """The id of the experiment `name`, created when it is not there.

    In an SQLite store its artifacts go to `mlartifacts/<name>` beside the database; a server keeps its own root.

    Raises:
        StoreError: the name is empty, or the experiment was deleted.
    """
    from mlflow.exceptions import MlflowException

    if not name.strip():
        raise StoreError(f"The experiment's name is empty, got {name!r}: name it.")
    with mlflow_errors(uri):
        experiment = client.get_experiment_by_name(name)
    if experiment is None:
        root = artifact_root(uri)
        try:
            location = None if root is None else (root / clean_name(name)).as_uri()
            return str(client.create_experiment(name, artifact_location=location, tags=_MODEL_TRAINING))
        except MlflowException:  # another process may have created it since
            with mlflow_errors(uri):
                experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        raise StoreError(
            f"The experiment {name!r} was deleted: restore it with 'mlflow experiments restore --experiment-id "
            f"{experiment.experiment_id}', or name another."
        )
    return str(experiment.experiment_id)


def _check_database_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        start = _first_bytes(path)
    except OSError as error:
        raise StoreError(
            f"The store {path} cannot be opened: {error.strerror or error}. Name another place."
        ) from error
    if start and start != b"SQLite format 3\0":
        raise StoreError(f"The file {path} is not an SQLite database: name another file for the store.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise StoreError(f"The store {path} cannot be written: change its permissions, or name another place.")


def _first_bytes(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        return file.read(16)


def _check_server(uri: str) -> None:
    shown = without_secrets(uri)
    parts = urlsplit(uri)
    health = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/") + "/health"))
    try:
        with urllib.request.urlopen(health, timeout=SERVER_SECONDS):
            return
    except urllib.error.HTTPError:
        return  # something answers; what it refuses shows at the first call
    except (OSError, ValueError) as error:
        raise StoreError(
            f"No MLflow server answers at {shown} ({without_secrets(str(error))}): start it, or name "
            "another store; without MLFLOW_TRACKING_URI it is mlflow.db in the working directory."
        ) from error
