"""A whole search beside the one a competent user would write with PEFT, the HF Trainer, Ray Tune and Optuna.

    python -m tests.bench.peer_search [--target cb] [--data sample] [--trials 12] [--rounds 2] [--json FILE]

Both search on the same draws of 16 rows, choose on the same 16 dev rows of each, evaluate at every fifth of the same
number of steps, then train the best configuration again and test it; each is a process of its own, taken in turn, timed
from its start to its end. Ours: `orchestrator fewshot --from scratch`, DePT m=20 r=16 in the middle of its range, with
MLflow. The peer's: `tests.bench.peer`, prompt tuning with 47 rows in the middle of its range: as many parameters.
Printed are configurations per hour, and the seconds until each had finished a configuration with the dev score that
both reached.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

TOP = Path(__file__).parents[2]


def process(arguments: list[str], folder: str) -> tuple[str, float, float]:
    """Run Python; its output, when it started, and the seconds it took."""
    variables = {**os.environ, "PYTHONPATH": str(TOP), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    started = time.time()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-4000:])
    return done.stdout, started, time.time() - started


def ours(options: argparse.Namespace, common: list[str]) -> dict[str, Any]:
    """`orchestrator fewshot`, in a store of its own."""
    every = str(max(1, options.steps // 5))
    arguments = ["-m", "orchestrator", "fewshot", *common, "--k", "16", "--from", "scratch", "--eval-every", every]
    with tempfile.TemporaryDirectory() as folder:
        _, started, seconds = process(arguments, folder)
        client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
        experiments = [found.experiment_id for found in client.search_experiments()]
        runs = client.search_runs(experiments)
    ended = [run for run in runs if run.data.tags.get("orchestrator.state") == "finished" and run.info.end_time]
    trials = [run for run in ended if run.data.tags.get("orchestrator.role") == "trial"]
    (final,) = [run for run in ended if run.data.tags.get("orchestrator.role") == "final"]
    trace = [(run.info.end_time / 1000 - started, run.data.metrics["best_dev_score"]) for run in trials]
    return {
        "seconds": seconds,
        "trace": sorted(trace),
        "dev": max(score for _, score in trace),
        "test": final.data.metrics["test_score"],
    }


def until(trace: list[tuple[float, float]], score: float) -> float:
    """Seconds until a configuration with this dev score had finished."""
    return min(seconds for seconds, reached in trace if reached >= score - 1e-9)


def main() -> None:
    """Print and keep the numbers."""
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--target", default="cb")
    parser.add_argument("--data", default="sample")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="the peer's; ours takes a GPU where there is one")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = ("target", "data", "trials", "seeds", "steps")
    common = [part for name in names for part in (f"--{name}", str(getattr(options, name)))]
    rounds = []
    for _ in range(options.rounds):
        device = ["--device", options.device] if options.device else []
        with tempfile.TemporaryDirectory() as folder:
            out, _, seconds = process(["-m", "tests.bench.peer", *common, *device], folder)
        found = {"peer": json.loads(out.splitlines()[-1]) | {"seconds": seconds}, "ours": ours(options, common)}
        score = min(one["dev"] for one in found.values())
        for one in found.values():
            one |= {"per_hour": 3600 * options.trials / one["seconds"], "until": until(one["trace"], score)}
        print(json.dumps(found), flush=True)
        rounds.append(found)
    for key, better in (("per_hour", "configurations an hour"), ("until", "seconds to the same dev score")):
        mine, theirs = (statistics.median(one[who][key] for one in rounds) for who in ("ours", "peer"))
        times = mine / theirs if key == "per_hour" else theirs / mine
        print(f"{better}: ours {mine:.0f}, the peer's {theirs:.0f}: {times:.1f} times")
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
