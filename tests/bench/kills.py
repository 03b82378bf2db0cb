"""Kills drivers with SIGKILL at random points, resumes them, and compares with a command that was left alone.

    python -m tests.bench.kills --times 20 --seed 0

For each of `pretrain-source` and `fewshot`: no artifact lost, none twice, no run left RUNNING, the same numbers. The
end of each line says what was found; the exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from prompts_store import PromptStore, prepare_store
from tests.orchestrator.test_main_job import command, environment, run, runs
from tests.orchestrator.test_resume import FEWSHOT, SOURCES, numbers, parents

EXPERIMENTS = {"pretrain-source": ("pretrain-source", SOURCES), "fewshot": ("fewshot.sample.cb", FEWSHOT)}


def found(folder: Path, experiment: str) -> tuple[dict[str, Any], list[str]]:
    """The numbers of the one command there, and the names of what is stored."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return numbers(MlflowClient(uri), experiment), sorted(prompt.ref for prompt in PromptStore(uri).list())


def kill_after(folder: Path, arguments: list[str], seconds: float) -> None:
    """Run a command, and kill its driver after so many seconds if it still runs."""
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command(*arguments), cwd=folder, env=environment(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def resume(folder: Path, arguments: list[str], experiment: str) -> str:
    """Take the command up, or start it if it had not begun; says which."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    begun = client.get_experiment_by_name(experiment) is not None and parents(runs(client, experiment))
    if not begun:
        run(folder, *arguments)
        return "not begun"
    if begun[0].info.status == "FINISHED":
        return "finished"
    text = run(folder, "resume", "latest")
    return next(line for line in text.splitlines() if line.startswith("resuming")).partition(": ")[2]


def main() -> None:
    """Kill and resume."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        prepare_store(f"sqlite:///{temporary}/mlflow.db")
        for name, (experiment, arguments) in EXPERIMENTS.items():
            expected, took = None, 0.0
            for time_ in range(options.times + 1):
                folder = Path(temporary, f"{name}-{time_}")
                folder.mkdir()
                shutil.copyfile(Path(temporary, "mlflow.db"), folder / "mlflow.db")
                if expected is None:
                    start = time.monotonic()
                    run(folder, *arguments)
                    took = time.monotonic() - start
                    expected = found(folder, experiment)
                    print(f"{name}: {took:.1f} s undisturbed, stored {', '.join(expected[1])}", flush=True)
                    continue
                at = draw.uniform(0.2, 1.0) * took  # the imports come before
                kill_after(folder, arguments, at)
                how = resume(folder, arguments, experiment)
                same = found(folder, experiment) == expected
                wrong += not same
                print(f"{name}: killed after {at:.1f} s; {how}: {'same' if same else 'DIFFERENT'}", flush=True)
                shutil.rmtree(folder)
    print(f"{wrong} of {2 * options.times} differ")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
