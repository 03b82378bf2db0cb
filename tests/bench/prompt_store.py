"""How long a large store takes to list, search and store into: `python -m tests.bench.prompt_store [VERSIONS]`.

Makes an SQLite store in a temporary folder: some versions through `put`, the others as copies of those rows.
"""

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from prompts_store import PromptStore
from tests.prompts_store.conftest import make_artifact

TASKS = 100


def multiply(database: Path, versions: int) -> None:
    """Copy each name's first version until there are `versions` in all."""
    with sqlite3.connect(database) as connection:
        for table in ("model_versions", "model_version_tags"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            copied = ", ".join("number" if column == "version" else column for column in columns)
            connection.execute(
                "WITH RECURSIVE counted(number) AS "
                "(SELECT 2 UNION ALL SELECT number + 1 FROM counted WHERE number < ?) "
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {copied} FROM {table}, counted WHERE version = 1",
                (versions // TASKS,),
            )


def report(what: str, call: Callable[[], object]) -> None:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    print(f"{what}: {min(times):.3f} s, at most {max(times):.3f} s")


def main(versions: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = PromptStore(f"sqlite:///{folder}/mlflow.db")
        run = store.client.create_run(store.ensure_experiment("runs")).info.run_id
        for task in range(TASKS):
            store.put(make_artifact(task, task=f"task{task}", backbone="google-t5/t5-base", dev_score=0.6), run_id=run)
        multiply(Path(folder, "mlflow.db"), versions)
        assert len(store.list()) == versions
        print(f"{versions} versions of {TASKS} names")
        report("list", store.list)
        report("find a task", lambda: store.find(task="task7"))
        report("resolve a name", lambda: store.resolve("dept-google-t5--t5-base-task7"))
        report("resolve a version", lambda: store.resolve("dept-google-t5--t5-base-task7/2"))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
