"""MLflow servers of a test's own, which can be killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 120.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """An `mlflow server` with its artifact proxy on one port, over a database and files in a folder.

    Args:
        folder: Holds ``files``, ``server.log``, and ``mlflow.db``, made when it is not there.
        database: Another database's address.
    """

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.folder = folder
        self.database = database or f"sqlite:///{folder}/mlflow.db"
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start it; `wait` for its first answer, which takes seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", self.database]
        command += ["--artifacts-destination", f"{self.folder}/files"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
        environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
                return
            except OSError:
                log = (self.folder / "server.log").read_text()[-2000:]
                assert self._process is not None
                assert self._process.poll() is None, log
                assert time.monotonic() < deadline, f"the server did not start within {START_SECONDS:.0f} s: {log}"
                time.sleep(0.1)

    def start(self) -> None:
        self.launch()
        self.wait()

    def kill(self) -> None:
        """Kill -9: the server and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=10)
            self._process = None


@contextmanager
def serving(folder: Path, database: str | None = None) -> Iterator[Server]:
    """A server that answers, and is killed at the end."""
    server = Server(folder, database)
    try:
        server.start()
        yield server
    finally:
        server.kill()
