"""A command is followed and stopped from another process; a dead one is told from a living one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orchestrator.commands.cancel import cancel
from orchestrator.commands.resume import resume
from orchestrator.commands.status import status
from orchestrator.errors import UsageError
from orchestrator.heartbeat import CANCEL, LOST_SECONDS, Sign, is_alive
from orchestrator.resumed import children
from orchestrator.runs import condition, find_command
from prompts_store import PromptStore
from tests.orchestrator.helpers import console

pytestmark = pytest.mark.timeout(120)

DRIVER = """
import sys, time
from orchestrator.interrupts import ended_by_signals
from orchestrator.plan import Plan
from orchestrator.recorder import Recorder
from orchestrator.settings import FewshotSettings
from prompts_store import PromptStore
import orchestrator.outbox

if sys.argv[1:] == ["unmade"]:
    orchestrator.outbox.LINGER_SECONDS = 100.0
plan = Plan("fewshot", FewshotSettings(target="cb", k=4), "f", {}, (), 1)
recorder = Recorder(PromptStore(), "fewshot.cb", name="cb k=4", kind="fewshot", params={}, tags={}, plan=plan)
recorder.heartbeat.progress = lambda: (30, 100, "best so far scratch, dev 50.0%")
with ended_by_signals(), recorder:
    recorder.start(0, "trial 0", {"steps": 40}, {})
    recorder.metrics(0, 10, {"dev_score": 0.5})
    if sys.argv[1:] != ["unmade"]:
        recorder.run_id(0)  # is there by then
    print("up", flush=True)
    time.sleep(100)
"""


@contextmanager
def driver(tracking_uri: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> Iterator[subprocess.Popen[str]]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    process = subprocess.Popen([sys.executable, "-c", DRIVER, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def parent(tracking_uri: str) -> Any:
    return find_command(PromptStore(tracking_uri), "latest")


def statuses(tracking_uri: str) -> set[str]:
    store = PromptStore(tracking_uri)
    experiment = store.ensure_experiment("fewshot.cb")
    return {run.info.status for run in store.client.search_runs([experiment])}


def wait_for_sign(tracking_uri: str) -> None:
    deadline = time.monotonic() + 30
    while Sign.read(parent(tracking_uri).data.tags) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_living_command_is_shown_and_stopped(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with driver(tracking_uri, monkeypatch) as process:
        wait_for_sign(tracking_uri)
        assert condition(parent(tracking_uri)) == "running"
        out, printed = console()
        status(None, out)
        status("cb k=4", out)
        text = printed.getvalue()
        assert "running" in text
        assert "30 of 100 steps" in text
        assert "best so far scratch" in text
        assert f"process {process.pid}" in text
        assert "trial 0" in text
        with pytest.raises(UsageError, match="being worked on"):
            resume("latest", out)
        cancel(parent(tracking_uri).info.run_id[:6], out)
        assert "stopped" in printed.getvalue()
        process.wait(20)
    assert statuses(tracking_uri) == {"KILLED"}
    with pytest.raises(UsageError, match="has ended already"):
        cancel("latest", out)


def test_the_tag_alone_reaches_a_driver_elsewhere(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with driver(tracking_uri, monkeypatch) as process:
        wait_for_sign(tracking_uri)
        run_id = parent(tracking_uri).info.run_id
        PromptStore(tracking_uri).client.set_tag(run_id, CANCEL, "now")
        process.wait(30)
    assert statuses(tracking_uri) == {"KILLED"}


def test_a_dead_command_is_told_from_a_living_one_and_closed(
    tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with driver(tracking_uri, monkeypatch) as process:
        wait_for_sign(tracking_uri)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert condition(parent(tracking_uri)) == "dead"
    out, printed = console()
    status("latest", out)
    assert "its driver is gone" in printed.getvalue()
    assert "1 cut off" in printed.getvalue()
    cancel("latest", out)
    assert "closed 2 runs as KILLED" in printed.getvalue()
    assert statuses(tracking_uri) == {"KILLED"}


@pytest.mark.parametrize("ended", [signal.SIGKILL, signal.SIGINT])
def test_a_configuration_whose_run_was_not_made_yet_is_closed(
    tracking_uri: str, monkeypatch: pytest.MonkeyPatch, ended: signal.Signals
) -> None:
    """By the command itself if it is interrupted, else by whoever cancels it."""
    with driver(tracking_uri, monkeypatch, "unmade") as process:
        wait_for_sign(tracking_uri)
        assert statuses(tracking_uri) == {"RUNNING"}
        process.send_signal(ended)
        process.wait(20)
    out, printed = console()
    if ended == signal.SIGKILL:
        cancel("latest", out)
        assert "closed 2 runs as KILLED" in printed.getvalue()
    assert statuses(tracking_uri) == {"KILLED"}
    (child,) = children(PromptStore(tracking_uri), parent(tracking_uri))
    assert (child.info.run_name, child.data.params, child.data.metrics) == (
        "trial 0",
        {"steps": "40"},
        {"dev_score": 0.5},
    )


def test_elsewhere_the_age_of_the_last_sign_decides() -> None:
    now = time.time()
    assert is_alive("no-such-run", Sign("another-host", 1, now, now))
    assert not is_alive("no-such-run", Sign("another-host", 1, now, now - LOST_SECONDS - 1))


def test_what_names_no_run_is_refused(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    out, _ = console()
    for ref in ("latest", "", "nothing"):
        with pytest.raises(UsageError, match="there is no run"):
            status(ref, out)
