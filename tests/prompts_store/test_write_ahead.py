import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from prompts_store import PromptStore, prepare_store, write_ahead


def journal(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def connections(store: PromptStore) -> tuple[str, int]:
    """Journal and `synchronous` (1 is NORMAL, 2 FULL) as the store's own connections have them."""
    from sqlalchemy import text

    with store.client._tracking_client.store.engine.connect() as connection:
        mode = connection.execute(text("PRAGMA journal_mode")).scalar_one()
        return str(mode), int(connection.execute(text("PRAGMA synchronous")).scalar_one())


def test_store_keeps_a_log_and_does_not_wait_for_the_disk(store: PromptStore, tmp_path: Path) -> None:
    assert connections(store) == ("wal", 1)
    assert journal(tmp_path / "store" / "mlflow.db") == "wal"


def test_another_file_system_keeps_its_journal(
    tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store" / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    monkeypatch.setattr(write_ahead, "LOCAL", frozenset())
    assert connections(PromptStore(tracking_uri)) == ("delete", 2)
    assert journal(path) == "delete"


def test_places() -> None:
    assert not write_ahead.on_local_disk(Path("/proc/mlflow.db"))


def test_database_in_use_keeps_its_journal_and_can_be_used(tracking_uri: str, tmp_path: Path) -> None:
    path = tmp_path / "store" / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM experiments").fetchone()
        reader.execute("SELECT count(*) FROM runs").fetchone()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(write_ahead, "BUSY_MILLISECONDS", 100)
            store = PromptStore(tracking_uri)
            assert connections(store)[0] == "delete"
        assert store.list() == []


def test_what_was_written_is_there_after_a_kill(tracking_uri: str) -> None:
    code = (
        "import os, signal, sys; from prompts_store import PromptStore; store = PromptStore(sys.argv[1]);"
        "run = store.client.create_run(store.ensure_experiment('runs'));"
        "store.client.log_metric(run.info.run_id, 'loss', 0.5); print(run.info.run_id, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run([sys.executable, "-c", code, tracking_uri], capture_output=True, text=True, timeout=120)
    found = PromptStore(prepare_store(tracking_uri)).client.get_run(run.stdout.strip())
    assert found.data.metrics == {"loss": 0.5}
