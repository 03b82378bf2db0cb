"""A PostgreSQL of a test's own on 127.0.0.1, where it is installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import free_port

USER = "nobody"
"""Whom the server runs as where the tests are run by root, as whom it does not start."""


def postgres_programs() -> Path | None:
    """The folder with `initdb` and `postgres`, which Debian keeps off the path; None without them or their driver."""
    if importlib.util.find_spec("psycopg2") is None:
        return None
    found = [Path(program).parent for program in [shutil.which("initdb")] if program]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in found if (folder / "postgres").exists()), None)


@contextmanager
def postgres(programs: Path) -> Iterator[str]:
    """Yield the address of an empty database."""
    user = USER if os.geteuid() == 0 else None
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    with tempfile.TemporaryDirectory(prefix="orc-pg-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        if user:
            shutil.chown(folder, user)
        initdb = [programs / "initdb", "-D", folder / "data", "-U", "mlflow", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(initdb, user=user, env=environment, check=True, capture_output=True, timeout=60, cwd=folder)
        server = [programs / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder]
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(server, user=user, env=environment, stdout=log, stderr=log, cwd=folder)
            try:
                _wait_for(process, port)
                yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
            finally:
                process.kill()
                process.wait(timeout=10)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    import psycopg2

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user="mlflow", dbname="postgres").close()
            return
        except psycopg2.OperationalError:
            assert process.poll() is None, "PostgreSQL ended"
            assert time.monotonic() < deadline, "PostgreSQL did not start within 30 s"
            time.sleep(0.1)
