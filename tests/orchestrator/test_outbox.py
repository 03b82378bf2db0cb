"""Recording while the store is away: nothing is lost, nothing written twice, and nobody waits in vain."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

from orchestrator.outbox import Letter, Outbox
from orchestrator.patience import is_temporary, patiently
from orchestrator.recorder import Recorder
from prompts_store import PromptStore, StoreError

pytestmark = pytest.mark.timeout(120)


def record(store: PromptStore, name: str, steps: int, pause: float = 0.0) -> list[str]:
    """Record two configurations of so many steps; returns their runs."""
    recorder = Recorder(store, "load", name=name, kind="test", params={"a": 1}, tags={})
    with recorder:
        for config in range(2):
            recorder.start(config, f"{name}/{config}", {"config": config}, {})
            for step in range(steps):
                recorder.metrics(config, step, {"loss": step / 7, "score": step / 3})
                time.sleep(pause)
            recorder.finish(config, "finished")
    return [recorder.run_id(config) for config in range(2)]


def check(store: PromptStore, run_id: str, steps: int) -> None:
    run = store.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "config" in run.data.params
    for key, by in (("loss", 7), ("score", 3)):
        history = store.client.get_metric_history(run_id, key)
        assert [(p.step, p.value) for p in sorted(history, key=lambda p: p.step)] == [(n, n / by) for n in range(steps)]


def test_a_database_locked_for_longer_than_mlflow_waits(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PromptStore(tracking_uri)
    recorder = Recorder(store, "locked", name="x", kind="test", params={}, tags={})
    locked, release = threading.Event(), threading.Event()

    def lock() -> None:
        with closing(sqlite3.connect(tracking_uri.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            locked.set()
            release.wait(60)
            other.execute("ROLLBACK")

    with recorder:
        recorder.start(0, "0", {"config": 0}, {})
        recorder.heartbeat._end.set()
        other = threading.Thread(target=lock)
        other.start()
        assert locked.wait(30)
        threading.Timer(23.0, release.set).start()  # MLflow gives up after 20 s
        began = time.monotonic()
        for step in range(5):
            recorder.metrics(0, step, {"loss": step / 7, "score": step / 3})
        assert time.monotonic() - began < 1  # whoever records is not held up
        recorder.finish(0, "finished")
    other.join()
    check(store, recorder.run_id(0), 5)


@pytest.fixture
def server(tmp_path: Path, tracking_uri: str) -> Iterator[Any]:
    """Starts and kills an `mlflow server` on one port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    started: list[subprocess.Popen[bytes]] = []

    class Server:
        uri = address

        def start(self) -> None:
            arguments = ["--backend-store-uri", tracking_uri, "--artifacts-destination", str(tmp_path / "files")]
            command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *arguments]
            started.append(
                subprocess.Popen(
                    command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    start_new_session=True, cwd=tmp_path,
                )
            )  # fmt: skip
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    with urllib.request.urlopen(f"{address}/health", timeout=2):
                        return
                except OSError:
                    time.sleep(0.2)
            raise AssertionError("the server did not start")

        def kill(self) -> None:
            os.killpg(started[-1].pid, signal.SIGKILL)
            started[-1].wait()

    there = Server()
    there.start()
    yield there
    there.kill()


@pytest.mark.slow
def test_a_server_killed_and_started_again(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store = PromptStore(server.uri)

    def away() -> None:
        time.sleep(0.3)
        server.kill()
        time.sleep(3)
        server.start()

    outage = threading.Thread(target=away)
    outage.start()
    runs = record(store, "outage", 40, pause=0.02)
    outage.join()
    for run_id in runs:
        check(store, run_id, 40)
    experiment = store.ensure_experiment("load")
    assert len(store.client.search_runs([experiment])) == 3


def test_many_recorders_at_once_lose_nothing(tracking_uri: str) -> None:
    store = PromptStore(tracking_uri)
    store.ensure_experiment("load")
    with ThreadPoolExecutor(8) as threads:
        runs = list(threads.map(lambda n: record(store, str(n), 5), range(8)))
    for run_id in (run_id for pair in runs for run_id in pair):
        check(store, run_id, 5)


def test_a_letter_sent_twice_is_there_once(tracking_uri: str) -> None:
    store = PromptStore(tracking_uri)
    run_id = store.client.create_run(store.ensure_experiment("x")).info.run_id
    for _ in range(2):
        outbox = Outbox(store.client)
        outbox.post(Letter(run_id, {"p": "1"}, [Metric("a", 0.5, 17, 3)], {"t": "x"}, {}, ("FINISHED", 18)))
        outbox.close()
    assert len(store.client.get_metric_history(run_id, "a")) == 1
    assert store.client.get_run(run_id).info.end_time == 18


def test_what_is_not_temporary_fails_at_once_with_the_reason(tracking_uri: str) -> None:
    outbox = Outbox(PromptStore(tracking_uri).client)
    outbox.post(Letter("0" * 32, tags={"a": "b"}))
    with pytest.raises(StoreError, match=r"refused a write: Run with id=0+ not found"):
        outbox.close()
    with pytest.raises(StoreError, match="refused a write"):
        outbox.post(Letter("0" * 32))


@pytest.mark.parametrize(
    ("error", "temporary"),
    [
        (requests.ConnectionError("refused"), True),
        (requests.Timeout("slow"), True),
        (MlflowException("database is locked", TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("database or disk is full", TEMPORARILY_UNAVAILABLE), False),
        (MlflowException("wrong", INVALID_PARAMETER_VALUE), False),
        (ValueError("a fault of ours"), False),
    ],
)
def test_which_errors_are_waited_for(error: Exception, temporary: bool) -> None:
    assert is_temporary(error) is temporary
    calls = 0

    def call() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error
        return calls

    if temporary:
        assert patiently(call) == 2
    else:
        with pytest.raises(type(error)):
            patiently(call)
        assert calls == 1
