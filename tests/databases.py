"""Empty MLflow databases to copy, for making one takes seconds."""

import sqlite3
from contextlib import closing
from pathlib import Path


def make_database(path: Path) -> Path:
    """An MLflow SQLite database with all tables and no rows, whole in its one file."""
    from prompts_store import prepare_store

    prepare_store(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:  # else a copy of this one file would lack what its log has
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path
