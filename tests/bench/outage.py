"""An MLflow server that is away in the middle of a few-shot search, compared with one that was always there.

    python -m tests.bench.outage --seconds 60

Three searches, each through a real `mlflow server` of its own: left alone; with the server killed and started again
after so many seconds; and with the driver killed too while the server is away, and resumed once it is back. All must
end with the same metrics, each value once, and no run left RUNNING. The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from prompts_store import PromptStore
from tests.bench.kills import FEWSHOT, SAMPLE
from tests.databases import make_database
from tests.orchestrator.processes import command, environment, runs
from tests.orchestrator.test_resume import children, numbers, parents
from tests.servers import Server, serving

EXPERIMENT = "fewshot.sample.cb"
SECONDS = 600.0


def started(folder: Path, server: Server, *arguments: str) -> subprocess.Popen[bytes]:
    """A command of ours that uses the server; what it says goes into a file."""
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            command(*arguments),
            cwd=folder,
            env=environment() | {"MLFLOW_TRACKING_URI": server.uri},
            stdout=log,
            stderr=log,
        )


def ended(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait for it; it must end well."""
    assert process.wait(SECONDS) == 0, (folder / "log.txt").read_text()


def wait_until(true: Callable[[], bool], folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait for something that the command does."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert process.poll() is None, (folder / "log.txt").read_text()
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def searching(server: Server) -> bool:
    """Whether the first configurations have been evaluated."""
    client = MlflowClient(server.uri)
    if client.get_experiment_by_name(EXPERIMENT) is None:
        return False
    found = runs(client, EXPERIMENT)
    return any("objective" in run.data.metrics for parent in parents(found) for run in children(found, parent))


def spools() -> list[Path]:
    """What has not been sent."""
    return sorted(Path(os.environ["ORCHESTRATOR_CACHE"], "spool").glob("*.jsonl"))


def spooled_ends() -> int:
    """How many configurations have ended of which the server does not know."""
    lines = [line for path in spools() for line in path.read_text().splitlines()]
    return sum(json.loads(line)["end"] is not None for line in lines)


def search(folder: Path, server: Server, seconds: float, kill_driver: bool) -> dict[str, Any]:
    """Run a search, with the server away for so many seconds in the middle; returns what was seen."""
    start = time.monotonic()
    process = started(folder, server, *FEWSHOT, *SAMPLE, "--steps", "8", "--eval-every", "4")
    spooled = 0
    if seconds:
        wait_until(lambda: searching(server), folder, process)
        server.kill()
        gone = time.monotonic()
        if kill_driver:
            wait_until(lambda: spooled_ends() > 0, folder, process)
            process.kill()
            process.wait()
            spooled = spooled_ends()
        time.sleep(max(0.0, gone + seconds - time.monotonic()))
        server.start()
        if kill_driver:
            process = started(folder, server, "resume", "latest")
    ended(folder, process)
    client = MlflowClient(server.uri)
    return {
        "seconds": time.monotonic() - start,
        "spooled": spooled,
        "metrics": numbers(client, EXPERIMENT),
        "states": sorted(run.info.status for run in runs(client, EXPERIMENT)),
        "stored": [prompt.ref for prompt in PromptStore(server.uri).list()],
        "left": len(spools()),
    }


def main() -> None:
    """Search three times and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = {
        "undisturbed": (0.0, False),
        "server away": (options.seconds, False),
        "server away, driver killed, resumed": (options.seconds, True),
    }
    lines: list[dict[str, Any]] = []
    expected: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["ORCHESTRATOR_CACHE"] = f"{temporary}/cache"
        make_database(Path(temporary, "mlflow.db"))
        for name, (seconds, kill_driver) in cases.items():
            folder = Path(temporary, name.replace(" ", "-").replace(",", ""))
            (folder / "server").mkdir(parents=True)
            shutil.copyfile(Path(temporary, "mlflow.db"), folder / "server" / "mlflow.db")
            with serving(folder / "server") as server:
                found = search(folder, server, seconds, kill_driver)
            compared = {key: found[key] for key in ("metrics", "states", "stored", "left")}
            expected = expected or compared
            values = sum(len(h) for _, _, metrics in found["metrics"].values() for h in metrics.values())
            line = {
                "case": name, "away": seconds, "seconds": round(found["seconds"], 1), "runs": len(found["states"]),
                "values": values, "ends_in_spool": found["spooled"], "same": compared == expected,
            }  # fmt: skip
            lines.append(line)
            print(json.dumps(line), flush=True)
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1))
    sys.exit(not all(line["same"] for line in lines))


if __name__ == "__main__":
    main()
