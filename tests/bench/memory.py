"""What a configuration more in a pack costs in memory.

    python -m tests.bench.memory [--backbones minilm,t5-base] [--packs 1,2,4,8,16] [--mean 30] [--json FILE]

Each pack trains for some steps in a process of its own, which then says how large it was at most (Linux counts this:
VmHWM, set back once the backbone is loaded). Printed are the peak above a process without a backbone; what the slots
keep (numbers, gradients, AdamW's moments, the best checkpoint) as `pipelines.memory` estimates it; and what the largest
pass holds for its backward pass. Fails if the largest pack takes more than three times what the smallest takes plus
what its passes hold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

STEPS = 3
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
TIMES = 3
"""How many times one slot's memory a whole pack may take, besides what its passes hold."""


def resident(line: str) -> int:
    """Bytes of this process in memory now (VmRSS) or at most (VmHWM)."""
    (found,) = (row for row in STATUS.read_text().splitlines() if row.startswith(line))
    return int(found.split()[1]) * 1024


def measure(name: str, number: int, mean: int) -> dict[str, int]:
    """Bytes of a pack of so many slots; for a process that does nothing else."""
    import torch

    from orchestrator.bench.shapes import Sizes, load, slot, texts
    from orchestrator.bench.steps import FEW
    from pipelines.backbone import default_attention, default_dtype
    from pipelines.encode import chunks
    from pipelines.memory import held_bytes, slot_bytes
    from pipelines.pack import Pack

    device = torch.device("cpu")
    dtype = default_dtype(device)
    empty = resident("VmRSS")
    backbone = load(name, dtype, default_attention(device, dtype), device)
    CLEAR.write_text("5")
    size = Sizes.of(backbone.info)
    rows = [texts(FEW, mean, 100 + n, backbone, size.s) for n in range(number)]
    pack = Pack(backbone, [slot(backbone, rows[n], FEW, n, size.m, size.r, size.s) for n in range(number)])
    for _ in range(STEPS):
        pack.step()
    peak = resident("VmHWM") - empty
    everything = [(k, own, i) for k, own in enumerate(rows) for i in range(len(own))]
    lengths = [size.m + int(own.lengths[i]) for _, own, i in everything]
    passes = chunks(lengths, pack.chunk_tokens)
    largest = max(passes, key=lambda places: len(places) * max(lengths[i] for i in places))
    held = held_bytes(lambda: pack.backward(pack.slots, [everything[i] for i in largest]), backbone.model.parameters())
    weights = sum(parameter.nbytes for parameter in backbone.model.parameters())
    return {"peak": peak, "weights": weights, "slots": sum(map(slot_bytes, pack.slots)), "held": held}


def in_a_process(name: str, number: int, mean: int) -> dict[str, int]:
    """The same, in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "--alone", name, str(number), "--mean", str(mean)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print and keep the numbers."""
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--backbones", default="minilm,t5-base")
    parser.add_argument("--packs", default="1,2,4,8,16")
    parser.add_argument("--mean", type=int, default=30)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", nargs=2, metavar=("BACKBONE", "SLOTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.alone[0], int(options.alone[1]), options.mean)))
        return
    sizes = sorted(map(int, options.packs.split(",")))
    result: dict[str, Any] = {}
    for name in options.backbones.split(","):
        found = {number: in_a_process(name, number, options.mean) for number in sizes}
        first, last = found[sizes[0]], found[sizes[-1]]
        added = (last["peak"] - first["peak"]) / max(1, sizes[-1] - sizes[0])
        result[name] = {"packs": found, "added": added}
        for number, one in found.items():
            print(f"{name}, {number}: " + ", ".join(f"{key} {value / 2**20:.0f} MiB" for key, value in one.items()))
        print(f"{name}: {added / 2**20:.1f} MiB for each slot more", flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, one in result.items():
        first, last = one["packs"][sizes[0]], one["packs"][sizes[-1]]
        if last["peak"] >= TIMES * first["peak"] + last["held"]:
            raise SystemExit(f"{name}: {sizes[-1]} slots take more than {TIMES} times what {sizes[0]} take")


if __name__ == "__main__":
    main()
