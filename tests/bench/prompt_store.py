"""How long a large store takes: `python -m tests.bench.prompt_store [VERSIONS [COMPARED]]`.

Makes SQLite stores in a temporary folder: some versions through `put`, the others as copies of those rows. Lists and
searches VERSIONS (10,000), and compares a prompt with COMPARED (1,000) others, each with files of its own.
"""

import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from prompts_store import PromptStore, save_artifact
from prompts_store.files import CARD_FILE, sha256
from prompts_store.similar import MEASURES, similar
from prompts_store.versions import TAG
from tests.prompts_store.conftest import make_artifact

TASKS = 100
SIZES = {"d": 768, "m": 40, "r": 45, "s": 256}


def multiply(database: Path, versions: int) -> None:
    """Copy each name's first version until it has `versions`."""
    with sqlite3.connect(database) as connection:
        for table in ("model_versions", "model_version_tags"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            copied = ", ".join("number" if column == "version" else column for column in columns)
            connection.execute(
                "WITH RECURSIVE counted(number) AS "
                "(SELECT 2 UNION ALL SELECT number + 1 FROM counted WHERE number < ?) "
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {copied} FROM {table}, counted WHERE version = 1",
                (versions,),
            )


def give_files(database: Path, versions: int) -> None:
    """Give each version of the one name tensors of its own."""
    with sqlite3.connect(database) as connection:
        (text,) = connection.execute("SELECT value FROM model_version_tags WHERE key = ?", (TAG,)).fetchone()
        for version in range(1, versions + 1):
            folder = database.parent / "copies" / str(version)
            card = save_artifact(make_artifact(version, **SIZES), folder)
            digests = {"tensors_sha256": card.tensors_sha256, "card_sha256": sha256((folder / CARD_FILE).read_bytes())}
            connection.execute(
                "UPDATE model_versions SET source = ?, storage_location = ? WHERE version = ?",
                (folder.as_uri(), folder.as_uri(), version),
            )
            tag = json.dumps(json.loads(text) | digests, separators=(",", ":"))
            connection.execute(
                "UPDATE model_version_tags SET value = ? WHERE key = ? AND version = ?", (tag, TAG, version)
            )


def report(what: str, call: Callable[[], object], times: int = 3) -> None:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    print(f"{what}: {min(taken):.3f} s, at most {max(taken):.3f} s")


def main(versions: int, compared: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ORCHESTRATOR_CACHE"] = f"{folder}/cache"
        store = PromptStore(f"sqlite:///{folder}/mlflow.db")
        run = store.client.create_run(store.ensure_experiment("runs")).info.run_id
        for task in range(TASKS):
            store.put(make_artifact(task, task=f"task{task}", backbone="google-t5/t5-base"), run_id=run)
        multiply(Path(folder, "mlflow.db"), versions // TASKS)
        assert len(store.list()) == versions
        print(f"{versions} versions of {TASKS} names")
        report("list", store.list)
        report("find by score and text", lambda: store.find(min_score=0.5, text="task7"))
        report("find a task", lambda: store.find(task="task7"))
        report("resolve a name", lambda: store.resolve("dept-google-t5--t5-base-task7"))
        report("resolve a version", lambda: store.resolve("dept-google-t5--t5-base-task7/2"))

        store = PromptStore(f"sqlite:///{folder}/compared/mlflow.db")
        run = store.client.create_run(store.ensure_experiment("runs")).info.run_id
        ref = store.put(make_artifact(**SIZES), run_id=run).ref
        multiply(Path(folder, "compared", "mlflow.db"), compared)
        give_files(Path(folder, "compared", "mlflow.db"), compared)
        assert len(similar(store, ref)) == compared - 1
        print(f"{compared} prompts to compare, {SIZES}")
        for measure in MEASURES:
            report(f"similar by {measure}", lambda measure=measure: similar(store, ref, measure=measure))  # type: ignore[misc]
        os.environ["ORCHESTRATOR_CACHE"] = f"{folder}/another"
        report("similar for the first time", lambda: similar(store, ref), times=1)


if __name__ == "__main__":
    sizes = [int(argument) for argument in sys.argv[1:]]
    main(*sizes, *(10_000, 1_000)[len(sizes) :])
