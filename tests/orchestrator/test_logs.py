"""Logs on standard error, results on standard output, and the exit codes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.orchestrator.test_cli import environment

MAIN = "from orchestrator.cli import main; main()"
BROKEN = """
import sys
import orchestrator.commands.tasks as tasks
def broken(*_):
    raise {error}
tasks.list_tasks = broken
from orchestrator.cli import main
main()
"""


def run(*arguments: str, folder: Path, program: str = MAIN, **more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment() | more, capture_output=True, text=True, timeout=60, check=False
    )


def test_levels(tmp_path: Path) -> None:
    plain = run("tasks", "show", "mmli", folder=tmp_path)
    assert plain.stderr.count("\n") == 1
    for arguments in (["tasks", "show", "mmli", "-v"], ["-v", "tasks", "show", "mmli"]):
        found = run(*arguments, folder=tmp_path)
        assert (found.returncode, found.stdout) == (2, "")
        assert "Traceback" in found.stderr
        assert found.stderr.endswith(plain.stderr)
    assert run("tasks", "show", "mmli", "-q", folder=tmp_path).stderr == plain.stderr
    wrong = run("tasks", "list", folder=tmp_path, ORCHESTRATOR_LOG="loud")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: ORCHESTRATOR_LOG must be one of debug, info, warning, error, got 'loud'\n"


def test_results_and_logs_are_apart(tmp_path: Path) -> None:
    program = f"import logging\n{MAIN.replace('main()', 'main')}\n" + (
        "import orchestrator.commands.tasks as tasks\n"
        "def listed(console):\n"
        "    for name in ('orchestrator.x', 'tasks.y', 'urllib3'):\n"
        "        logging.getLogger(name).debug('found'); logging.getLogger(name).info('going on at http://a:b@c/')\n"
        "    console.print('result')\n"
        "tasks.list_tasks = listed\nmain()\n"
    )
    found = run("tasks", "list", folder=tmp_path, program=program)
    assert (found.stdout, found.stderr) == ("result\n", "going on at http://c/\n" * 2)
    found = run("tasks", "list", "--quiet", folder=tmp_path, program=program)
    assert (found.stdout, found.stderr) == ("result\n", "")
    found = run("tasks", "list", folder=tmp_path, program=program, ORCHESTRATOR_LOG="debug")
    assert len(found.stderr.splitlines()) == 4
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} DEBUG +orchestrator\.x: found", found.stderr)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("OSError(28, 'No space left on device', 'x')", 1, "error: [Errno 28] No space left on device: 'x'\n"),
        ("KeyboardInterrupt", 130, "error: interrupted"),
        ("RuntimeError('at https://me:hunter2@host')", 1, "error: this is a fault in orchestrator itself (Runtime"),
    ],
)
def test_exit_codes(tmp_path: Path, error: str, code: int, message: str) -> None:
    found = run("tasks", "list", folder=tmp_path, program=BROKEN.format(error=error))
    assert found.returncode == code
    assert message in found.stderr
    assert ("Traceback" in found.stderr) is ("itself" in message)
    assert "hunter2" not in found.stderr


def test_the_exit_codes_are_in_the_help(tmp_path: Path) -> None:
    text = " ".join(run("--help", folder=tmp_path).stdout.split())
    assert "0 done, 1 failed while running, 2 what was asked for cannot be done, 130 interrupted" in text
