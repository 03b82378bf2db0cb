"""The live view as a person sees it: in a terminal (a pseudo-terminal of 60 columns) and without one."""

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import pytest

from orchestrator.live import Live, Rate, clock
from tests.orchestrator.helpers import console

PROGRAM = """
import sys, time
from rich.console import Console
from orchestrator.live import Live
from orchestrator.logs import set_up_logs
set_up_logs(sys.argv[1])
with Live(Console(), "few-shot sample.cb") as live:
    live.launched(0, "trial 0: from sample.mnli", 40, 2)
    live.launched(1, "trial 1: a name that is [far] too long for a narrow terminal", 40, 2)
    live.launched(2, "trial 2: scratch", 40, 2)
    live.finished(2, "pruned")
    for step in range(1, 11):
        live.evaluated(0, step * 4, 0.5 + step / 100)
        live.advance(16)
        time.sleep(0.1)
    live.tell("best so far from sample.mnli, dev 60.0%")
    time.sleep(0.5)
    live.say("stored dept-minilm-sample.cb/1")
    import logging
    logging.getLogger("orchestrator.packs").warning("a pack crashed")
    time.sleep(0.5)
print("the end")
"""


def in_terminal(*arguments: str, columns: int = 60, **environment: str) -> str:
    """What a program writes into a terminal that is so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=kept | {"TERM": "xterm-256color"} | environment,
    )  # fmt: skip
    os.close(theirs)
    written = b""
    with suppress(OSError):  # what Linux raises once the other end is closed
        while block := os.read(ours, 65536):
            written += block
    os.close(ours)
    assert process.wait(timeout=20) == 0, written.decode()
    return written.decode()


def frames(written: str) -> list[list[str]]:
    """The lines that were written between two moves of the cursor upwards."""
    drawn = re.split(r"(?:\x1b\[\d*A)", written)
    return [[re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip("\r") for line in d.split("\n")] for d in drawn]


@pytest.mark.timeout(60)
def test_in_a_narrow_terminal() -> None:
    written = in_terminal("info")
    seen = [line for frame in frames(written) for line in frame]
    assert max(len(line) for line in seen) <= 60
    assert any(re.match(r"trial 0: from sample\.mnli +\d+/40 +5\d\.0%", line) for line in seen)
    assert any(re.match(r"trial 1: a name that is \[far\].*… +0/40", line) for line in seen)
    assert any(re.search(r"160/240 steps · .*steps/s, 0:0\d left", line) for line in seen)
    assert any(line.startswith("2 running, 1 pruned") for line in seen)
    assert any(line.startswith("best so far from sample.mnli, dev 60.0%") for line in seen)
    assert any("few-shot sample.cb" in line and "0:0" in line for line in seen)
    assert any(line.startswith("stored dept-minilm-sample.cb/1") for line in seen)
    assert any(line.startswith("warning: a pack crashed") for line in seen)
    assert "\x1b[2J" not in written, "clearing the screen flickers"
    assert len(frames(written)) < 150, "not more often than an eye can follow"
    assert written.rstrip("\r\n").endswith("the end")


@pytest.mark.timeout(60)
def test_without_colour_and_quiet() -> None:
    written = in_terminal("info", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|4[0-7]|38|48|9[0-7])[0-9;]*m", written)
    assert "trial 0" in written
    assert "trial 0" not in in_terminal("warning")


def test_lines_without_a_terminal(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, logger="orchestrator")
    monkeypatch.setattr("orchestrator.live.LINE_SECONDS", 0.0)
    to, printed = console()
    with Live(to, "pretraining") as live:
        live.launched(0, "sst2", 100, 1)
        live.advance(40)
        live.tell("best so far scratch")
        live.finished(0, "finished")
        live.advance(0, skipped=60)
        live.say("stored it at postgresql://me:hunter2@db/x")
    assert printed.getvalue() == "stored it at postgresql://db/x\n"
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "pretraining: 40/100 steps; 1 running"
    assert lines[-1] == "pretraining: 100/100 steps; 1 finished; best so far scratch"


def test_the_rate_is_of_trained_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("orchestrator.live.time.monotonic", lambda: now[0])
    rate = Rate()
    assert rate.per_second == 0
    for _ in range(60):
        now[0] += 2
        rate.add(10)
    assert rate.per_second == pytest.approx(5)
    for _ in range(20):
        now[0] += 2
        rate.add(100)
    assert rate.per_second == pytest.approx(50), "the latest half minute"
    rate.add(-10_000)
    assert rate.per_second == 0
    assert (clock(5), clock(62), clock(3723)) == ("0:05", "1:02", "1:02:03")
