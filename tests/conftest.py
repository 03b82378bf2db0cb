"""Fixtures for every folder of tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import make_database
from tests.servers import Server


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow SQLite database with all tables and no rows; copy it, for making one takes seconds."""
    return make_database(tmp_path_factory.mktemp("empty") / "mlflow.db")


@pytest.fixture
def tracking_uri(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty MLflow store of the test's own, which nothing in the environment points away from."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copyfile(empty_database, folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture(scope="session", autouse=True)
def starting_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server | None]:
    """An MLflow server that is started before the first test, if any test wants it."""
    if not any("shared_server" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    server = Server(tmp_path_factory.mktemp("server"))
    server.launch()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def shared_server(starting_server: Server) -> Server:
    """An MLflow server of the tests' own that answers; others have put things into its store."""
    starting_server.wait()
    return starting_server
