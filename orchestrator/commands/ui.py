"""`orchestrator ui`: MLflow's UI over the store, opened at the page that shows the newest results."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console

from orchestrator.errors import RunFailedError, UsageError
from orchestrator.interrupts import ended_by_signals
from orchestrator.reading import existing_store, experiments, right_page, store_place
from prompts_store import PromptStore, artifact_root
from prompts_store.secrets import without_secrets

HOST = "127.0.0.1"
START_SECONDS = 120.0
STOP_SECONDS = 5.0


def ui(port: int, target: str | None, console: Console) -> None:
    """Serve MLflow's UI until interrupted; over a server's store, say where that server's page is.

    Raises:
        UsageError: If there is no store, no run of the target, or the port is taken.
        RunFailedError: If MLflow's server does not start, or ends by itself.
    """
    store = existing_store()
    if store is None:
        raise UsageError(
            f"there is no store at {store_place()}: go to the folder where you ran `orchestrator pretrain-source` or "
            "`fewshot`, or set MLFLOW_TRACKING_URI"
        )
    page = right_page(store, target)
    if page is None:
        known = ", ".join(experiment.task for experiment in experiments(store)) or "no target yet"
        raise UsageError(
            f"no few-shot runs of --target {target!r} in {store_place()}: it has runs of {known}; leave --target out, "
            f"or run `orchestrator fewshot --target {target} --k 16` first"
        )
    if store.tracking_uri.startswith(("http://", "https://")):
        _say(console, f"{without_secrets(store.tracking_uri).rstrip('/')}/{page}")
        return
    if artifact_root(store.tracking_uri) is None:
        raise UsageError(
            f"`orchestrator ui` serves SQLite stores, and MLFLOW_TRACKING_URI is "
            f"{without_secrets(store.tracking_uri)!r}: open that store's own UI"
        )
    _check_port(port)
    with ended_by_signals(), tempfile.TemporaryFile() as log:
        try:
            with _server(store, port, log) as process:
                console.print(f"starting MLflow's UI over {store_place()} ...", highlight=False, soft_wrap=True)
                _wait_until_healthy(process, port, log)
                _say(console, f"http://{HOST}:{port}/{page}")
                console.print("Ctrl-C stops it", highlight=False)
                process.wait()
                raise RunFailedError(f"MLflow's server ended by itself: {_tail(log)}")
        except KeyboardInterrupt:
            console.print("stopped", highlight=False)


def _say(console: Console, address: str) -> None:
    console.print(f"MLflow UI: {address}", highlight=False, soft_wrap=True, markup=False)


def _check_port(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself will do
        try:
            listener.bind((HOST, port))
        except OSError as error:
            free = _free_port()
            raise UsageError(
                f"port {port} of {HOST} cannot be used ({error.strerror}): stop what listens there, or take another, "
                f"such as --port {free}"
            ) from error


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


@contextmanager
def _server(store: PromptStore, port: int, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server in a process group of its own, all of which is gone afterwards."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store.tracking_uri, "--artifacts-destination", str(_artifacts(store))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment |= {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a quarter of the memory
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _stop(process)


def _artifacts(store: PromptStore) -> Path:
    root = artifact_root(store.tracking_uri)
    assert root is not None
    return root


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server's process group: asked to first, then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + STOP_SECONDS
        while _group_lives(process) and time.monotonic() < deadline:
            time.sleep(0.05)
    process.wait()


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # or it would stay as a zombie, which counts as living
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not know this machine's ports
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RunFailedError(f"MLflow's server did not start: {_tail(log)}")
        try:
            with direct.open(f"http://{HOST}:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RunFailedError(f"MLflow's server did not answer within {START_SECONDS:.0f} s: {_tail(log)}")


def _tail(log: IO[bytes], lines: int = 5) -> str:
    log.seek(0)
    text = log.read().decode(errors="replace").strip().splitlines()
    return " / ".join(text[-lines:]) or "it said nothing"
