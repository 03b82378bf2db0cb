"""What memory `pretrain-source` takes on a training file of some size: every process of the command, sampled.

    python -m tests.bench.source_memory [--mb 2 300] [--steps 20] [--out FILE]

The rows are generated: a sentence of 5 to 40 common words and a label. The JSON has, for each size, the peak of the
driver's and of the busiest worker's own memory (MiB; what is mapped from files, which the system may drop at any time,
is apart) and the seconds the command took.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

WORDS = (
    *("government", "information", "development", "international", "university", "president", "community"),
    *("business", "different", "important", "children", "national", "political", "following", "including"),
    *("available", "education", "research", "american", "programme", "together", "language", "position"),
)
KINDS = ("RssAnon", "RssFile", "RssShmem")
EVERY = 0.2


def write(folder: Path, megabytes: float) -> int:
    """A training file of so many megabytes and 200 validation rows; returns the number of training rows."""
    rng = random.Random(0)
    folder.mkdir(parents=True)
    rows = size = 0
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        while size < megabytes * 1e6:
            rows += 1
            size += file.write(_row(rng, f"{rows}"))
    (folder / "validation.jsonl").write_text("".join(_row(rng, f"validation {i}") for i in range(200)))
    return rows


def _row(rng: random.Random, first: str) -> str:
    label = rng.randrange(2)
    text = " ".join([first, *rng.choices(WORDS, k=rng.randint(5, 40))])
    return json.dumps({"sentence": text, "label": label}) + "\n"


def peaks(process: subprocess.Popen[bytes]) -> dict[str, dict[str, float]]:
    """Peak of each kind of memory, MiB, by process of a command; what forks share counts in each."""
    found: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(KINDS, 0.0))
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        for one in [parent, *parent.children(recursive=True)]:
            try:
                status = Path(f"/proc/{one.pid}/status").read_text()
                name = "driver" if one.pid == process.pid else " ".join(one.cmdline())[:60] or one.name()
            except (OSError, psutil.Error):
                continue
            for kind in KINDS:
                if kind in status:
                    now = int(status.partition(f"{kind}:")[2].split()[0]) / 1024
                    found[name][kind] = max(found[name][kind], now)
        time.sleep(EVERY)
    return found


def measure(folder: Path, megabytes: float, steps: int) -> dict[str, Any]:
    """Run the command on a file of that size."""
    rows = write(folder / "rows" / "sst2", megabytes)
    command = [
        sys.executable,
        "-m",
        "orchestrator",
        "pretrain-source",
        "--tasks",
        "sst2",
        "--data",
        str(folder / "rows"),
    ]
    command += ["--steps", str(steps), "--eval-every", str(steps), "--workers", "1"]
    environment = os.environ | {"ORCHESTRATOR_CACHE": str(folder / "cache"), "PYTHONPATH": str(Path.cwd())}
    start = time.perf_counter()
    with (folder / "out.txt").open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)
        found = peaks(process)
    if process.returncode:
        raise RuntimeError((folder / "out.txt").read_text())
    workers = {name: kinds for name, kinds in found.items() if name.startswith("ray::")}
    worker = max(workers.values(), key=lambda kinds: kinds["RssAnon"])
    kept = sum(f.stat().st_size for f in (folder / "cache" / "streams").rglob("*") if f.is_file())
    return {
        "file_mb": megabytes,
        "rows": rows,
        "seconds": round(time.perf_counter() - start, 1),
        "driver_mib": {kind: round(value) for kind, value in found["driver"].items()},
        "worker_mib": {kind: round(value) for kind, value in worker.items()},
        "token_ids_mb": round(kept / 1e6),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, nargs="+", default=[2, 300])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = []
    for megabytes in options.mb:
        with tempfile.TemporaryDirectory() as temporary:
            found.append(measure(Path(temporary), megabytes, options.steps))
            print(json.dumps(found[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
