"""Kills drivers with SIGKILL at random points, resumes them, and compares with a command that was left alone.

    python -m tests.bench.kills --times 20 --seed 0 [--sample]

For each of `pretrain-source` and `fewshot`: no artifact lost, none twice, no run left RUNNING, the same numbers, and
nothing left behind in the spool. The moment is drawn from the time that the fastest undisturbed command took, less its
first third, in which Python and Ray start; one whose run had ended by then does not count and is drawn again. The end
of each line says what was found; the exit code is 1 if anything differs. The work is a tiny encoder's on tiny rows, so
that kills fall into everything a command does; with `--sample` it is the embedded encoder's on the sample tasks, and
most fall into passes.
"""

from __future__ import annotations

import argparse
import json
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

from prompts_store import PromptStore
from tests.databases import make_database
from tests.orchestrator.processes import command, environment, run, runs
from tests.orchestrator.test_resume import numbers, parents
from tests.orchestrator.tiny_work import UNMEASURED, write_rows
from tests.pipelines.tiny import build_model, build_tokenizer

SOURCES = ["pretrain-source", "--tasks", "sst2,mnli", "--batch", "8", "--checkpoint-every", "1"]
FEWSHOT = ["fewshot", "--target", "cb", "--k", "4", "--from", "scratch", "--trials", "4", "--pack", "2", "--seeds", "1"]
COMMANDS = {
    "pretrain-source": (SOURCES, ["--steps", "1500", "--eval-every", "100"], ["--steps", "6", "--eval-every", "3"]),
    "fewshot": (FEWSHOT, ["--steps", "800", "--eval-every", "200"], ["--steps", "8", "--eval-every", "4"]),
}
"""Their arguments, and how long they train on tiny and on sample work."""
ENDED = "its run had ended, not its process"
SAMPLE = ["--data", "sample", "--max-length", "32"]


def work(name: str, top: Path, sample: bool) -> list[str]:
    """All arguments of a command."""
    command, tiny, small = COMMANDS[name]
    if sample:
        return [*command, *small, *SAMPLE]
    rows, backbone = top / "rows", top / "tiny-bert"
    if not backbone.exists():
        write_rows(rows)
        build_tokenizer("encoder").save_pretrained(backbone)
        build_model("bert").save_pretrained(backbone)
    return [*command, *tiny, "--data", str(rows), "--backbone", str(backbone), *UNMEASURED]


def experiment_of(name: str, sample: bool) -> str:
    """The MLflow experiment of a command's runs."""
    return name if name == "pretrain-source" else f"fewshot.{'sample.' if sample else ''}cb"


def found(folder: Path, experiment: str) -> tuple[dict[str, Any], list[str], list[str]]:
    """The numbers of the one command there, the names of what is stored, and what is left in the spool."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    stored = sorted(prompt.ref for prompt in PromptStore(uri).list())
    parent = parents(runs(MlflowClient(uri), experiment))[0].info.run_id
    spooled = [path.name for path in Path(os.environ["ORCHESTRATOR_CACHE"], "spool").glob(f"{parent}*")]
    return numbers(MlflowClient(uri), experiment), stored, spooled


def kill_after(folder: Path, arguments: list[str], seconds: float) -> bool:
    """Run a command, and kill its driver after so many seconds; says whether it still ran."""
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command(*arguments), cwd=folder, env=environment(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def resume(folder: Path, arguments: list[str], experiment: str) -> str:
    """Take the command up, or start it if it had not begun; says which."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    begun = client.get_experiment_by_name(experiment) is not None and parents(runs(client, experiment))
    if not begun:
        run(folder, *arguments)
        return "not begun"
    if begun[0].info.status == "FINISHED":
        return ENDED
    text = run(folder, "resume", "latest")
    said = [line.partition(": ")[2] for line in text.splitlines() if line.startswith("resuming")]
    return said[0] if said else "all had ended, and was written by resume"


def place(top: Path, name: str) -> Path:
    """A working directory with an empty store."""
    folder = top / name
    shutil.rmtree(folder, ignore_errors=True)  # of a part that was cut off
    folder.mkdir()
    shutil.copyfile(top / "mlflow.db", folder / "mlflow.db")
    return folder


def undisturbed(top: Path, name: str, experiment: str, arguments: list[str]) -> tuple[float, Any]:
    """How long the command takes when it is left alone, and what it ends with; kept in the folder."""
    kept = top / f"{name}.json"
    if not kept.exists():
        seconds, ends = [], []
        for number in range(2):  # the first also measures how to fit packs to this machine
            folder = place(top, f"{name}-undisturbed-{number}")
            start = time.monotonic()
            run(folder, *arguments)
            seconds.append(time.monotonic() - start)
            ends.append(found(folder, experiment))
        assert ends[0] == ends[1], "two undisturbed commands differ"
        kept.write_text(json.dumps([min(seconds), ends[0]]))
    took, end = json.loads(kept.read_text())
    return took, end


def main() -> None:
    """Kill and resume."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--what", choices=list(COMMANDS), help="only this command")
    parser.add_argument("--folder", type=Path, help="keeps the undisturbed ends, for a series in several parts")
    parser.add_argument("--sample", action="store_true", help="the embedded encoder on the sample tasks")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        top = options.folder or Path(temporary)
        top.mkdir(exist_ok=True)
        os.environ["ORCHESTRATOR_CACHE"] = str(top / "cache")
        make_database(top / "mlflow.db")
        for name in [options.what] if options.what else COMMANDS:
            experiment, arguments = experiment_of(name, options.sample), work(name, top, options.sample)
            took, expected = undisturbed(top, name, experiment, arguments)
            print(f"{name}: {took:.1f} s undisturbed, stored {', '.join(expected[1])}", flush=True)
            killed = 0
            while killed < options.times:
                # a new place each time: MLflow keeps the database of a path open, though it was deleted since
                folder = place(top, f"{name}-killed-{len(lines)}")
                at = draw.uniform(1 / 3, 1.0) * took
                alive, start = kill_after(folder, arguments, at), time.monotonic()
                how = resume(folder, arguments, experiment) if alive else ENDED
                after = time.monotonic() - start
                same = json.loads(json.dumps(found(folder, experiment))) == expected
                lines.append({"command": name, "killed_after": at, "resumed": how, "seconds": after, "same": same})
                print(json.dumps(lines[-1]), flush=True)
                if how == ENDED:
                    took = min(took, at)
                else:
                    killed += 1
                shutil.rmtree(folder)
    different = sum(not line["same"] for line in lines)
    print(f"{different} of {len(lines)} differ")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
