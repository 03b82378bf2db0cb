"""Empty MLflow databases to copy, for making one takes seconds."""

from pathlib import Path


def make_database(path: Path) -> Path:
    """An MLflow SQLite database with all tables and no rows, whole in its one file."""
    from prompts_store import prepare_store

    prepare_store(f"sqlite:///{path}")
    return path
