"""What memory a source's training file takes: while it is prepared, and while a slot trains on it.

    python -m tests.bench.source_memory [--mb 2 300] [--out FILE]

The rows are generated: about 2 kB of text and a label. For each size the JSON has the peak of the own memory (MiB; what
is mapped from files, which the system may drop at any time, is apart) of a process that prepares the source as
`pretrain-source` does, and of one that is handed the result, loads the embedded encoder and trains three steps.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

KINDS = ("RssAnon", "RssFile")
EVERY = 0.05


class Peak:
    """Watches this process's memory from now on."""

    def __init__(self) -> None:
        self.mib = dict.fromkeys(KINDS, 0)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.look()
            time.sleep(EVERY)

    def look(self) -> dict[str, int]:
        """The peaks so far, MiB."""
        status = Path("/proc/self/status").read_text()
        for kind in KINDS:
            self.mib[kind] = max(self.mib[kind], int(status.partition(f"{kind}:")[2].split()[0]) // 1024)
        return self.mib


def write(folder: Path, megabytes: float) -> int:
    """A training file of so many megabytes and 200 validation rows; returns the number of training rows."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdef", k=180)) for _ in range(50)]

    def row(i: int) -> str:
        text = f"{i} the film was good on day {i} {' '.join(rng.choices(words, k=11))}"
        return json.dumps({"sentence": text, "label": i % 2}) + "\n"

    folder.mkdir(parents=True)
    rows = size = 0
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        while size < megabytes * 1e6:
            size += file.write(row(rows))
            rows += 1
    (folder / "validation.jsonl").write_text("".join(row(10**8 + i) for i in range(200)))
    return rows


def prepare(folder: Path) -> dict[str, Any]:
    """Prepare the source and leave what a worker is handed in a file."""
    from orchestrator.prepare import Preparer
    from pipelines.backbone import describe_backbone
    from tasks import open_data

    peak, start = Peak(), time.process_time()
    data = Preparer(open_data(str(folder), ["sst2"]), describe_backbone("minilm")).full("sst2", 256, 0).data
    handed = pickle.dumps(data)
    (folder / "data").write_bytes(handed)
    seconds = round(time.process_time() - start, 1)
    return {**peak.look(), "cpu_seconds": seconds, "handed_kb": len(handed) // 1000, "kind": type(data.train).__name__}


def train(folder: Path) -> dict[str, int]:
    """Train a slot on what was prepared."""
    import torch

    from pipelines.backbone import load_backbone
    from pipelines.run import Job, PackRun
    from pipelines.spec import SlotSpec

    peak = Peak()
    torch.set_num_threads(1)
    data = replace(pickle.loads((folder / "data").read_bytes()), dev=None, test=None)
    backbone = load_backbone("minilm")
    spec = SlotSpec(
        key="source", config=0, task="sst2", data="sst2", start="scratch", m=20, r=16, s=256, gamma=1.0, alpha1=0.05,
        alpha2=1e-3, head_lr=2e-3, steps=3, batch=8, eval_every=3, seed=0,
    )  # fmt: skip
    run = PackRun(backbone, [spec], Job("minilm", backbone.info.fingerprint, {"sst2": data}), keep=False)
    while not run.done:
        run.advance()
    return peak.look()


PARTS = {"prepare": prepare, "train": train}


def measure(megabytes: float) -> dict[str, Any]:
    """Both parts, each in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        rows = write(Path(temporary, "sst2"), megabytes)
        environment = os.environ | {"ORCHESTRATOR_CACHE": str(Path(temporary, "cache"))}
        found: dict[str, Any] = {"file_mb": megabytes, "rows": rows}
        for part in PARTS:
            command = [sys.executable, "-m", "tests.bench.source_memory", "--part", part, "--folder", temporary]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            found[part] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, nargs="+", default=[2, 300])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.folder)))
        return
    text = json.dumps([measure(megabytes) for megabytes in options.mb], indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
