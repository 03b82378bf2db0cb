"""A real MLflow server on a free port; it takes some seconds to start, so the tests share it where they can."""

import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from orchestrator.commands.ui import ui
from orchestrator.errors import UsageError
from prompts_store import PromptStore
from tests.orchestrator.helpers import Final, console, record
from tests.servers import free_port

pytestmark = pytest.mark.timeout(200)
SECONDS = 120


@dataclass
class Ui:
    process: "subprocess.Popen[str]"
    lines: "queue.Queue[str]"
    port: int
    address: str
    runs: list[str]


def wait_for_line(lines: "queue.Queue[str]", start: str) -> str:
    deadline, seen = time.monotonic() + SECONDS, []
    while (left := deadline - time.monotonic()) > 0:
        try:
            seen.append(lines.get(timeout=left))
        except queue.Empty:
            break
        if seen[-1].startswith(start):
            return seen[-1]
    raise AssertionError(f"no line {start!r} within {SECONDS} s: {seen}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Ui]:
    """`orchestrator ui` over a store in its working directory with a few-shot command's runs."""
    folder = tmp_path_factory.mktemp("ui")
    shutil.copyfile(empty_database, folder / "mlflow.db")
    runs = record(PromptStore(f"sqlite:///{folder}/mlflow.db"), "sample.cb", [Final({0: 0.3}), Final({0: 0.6}, "mnli")])
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    command = [sys.executable, "-c", "from orchestrator.cli import main; main()", "ui", "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=lambda out: [lines.put(line) for line in out], args=[process.stdout], daemon=True).start()
    try:
        address = wait_for_line(lines, "MLflow UI: ").removeprefix("MLflow UI: ").strip()
        yield Ui(process, lines, port, address, runs)
    finally:
        for one in [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []:
            one.kill()
        process.kill()
        process.wait(timeout=20)


def test_serves_this_machine_alone_at_the_right_page(served: Ui) -> None:
    assert served.address.startswith(f"http://127.0.0.1:{served.port}/#/compare-runs?runs=")
    assert all(run in served.address for run in served.runs)
    with urllib.request.urlopen(served.address.split("#")[0], timeout=20) as answer:
        assert b"<title>MLflow</title>" in answer.read()
    with urllib.request.urlopen(
        f"http://127.0.0.1:{served.port}/api/2.0/mlflow/runs/get?run_id={served.runs[1]}", timeout=20
    ) as answer:
        assert b"test_score_by_seed" in answer.read()
    listening = {c.laddr.ip for p in family(served) for c in p.net_connections() if c.status == "LISTEN"}
    assert listening == {"127.0.0.1"}


def test_over_a_server_s_store_its_own_page_is_named(served: Ui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{served.port}/")
    to, printed = console()
    ui(free_port(), "cb", to)
    assert printed.getvalue().strip() == f"MLflow UI: {served.address}"


def test_a_taken_port_is_named(served: Ui, tmp_path: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    to, printed = console()
    with pytest.raises(UsageError, match=rf"port {served.port} of 127\.0\.0\.1 .*--port \d+"):
        ui(served.port, None, to)
    assert printed.getvalue() == ""


def test_ctrl_c_leaves_nothing(served: Ui) -> None:
    """The last test of the shared server."""
    started = family(served)
    assert len(started) >= 2
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(timeout=30) == 0
    wait_for_line(served.lines, "stopped")
    deadline = time.monotonic() + 5
    while (left := [p for p in started if p.is_running()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", served.port)) != 0


def test_no_store_and_no_runs(tmp_path: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    to, _ = console()
    monkeypatch.chdir(tmp_path / "store")
    with pytest.raises(UsageError, match=r"'qqp'.*no target yet.*fewshot --target qqp"):
        ui(free_port(), "qqp", to)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"there is no store at .*elsewhere/mlflow\.db"):
        ui(free_port(), None, to)
    assert not list((tmp_path / "elsewhere").iterdir())


def family(served: Ui) -> list[psutil.Process]:
    parent = psutil.Process(served.process.pid)
    return [parent, *parent.children(recursive=True)]
