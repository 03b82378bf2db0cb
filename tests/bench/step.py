"""What a training step costs, what makes it cheap, and what packs are worth: `orchestrator bench` with more options.

    python -m tests.bench.step [--backbone minilm|t5-small|t5-base|llama-1b] [--rounds 5] [--json FILE]
                               [--what step,packs] [--packs 1,2,4,8,16] [--mean 30] [--least 0.45]

- **step**: plain prompt tuning with 100 rows, every text padded to 256 tokens, in float32, one configuration a pass,
  which is how the DePT release works; then DePT, then texts of their own length, then the machine's own number type and
  attention, then a pack of 8 configurations. Seconds for one configuration's 32 rows each.
- **packs**: seconds for one few-shot configuration's 16 rows, by the number of configurations in a pass, and the matrix
  products a second of the largest pack over what one large product reaches; fails if that is less than --least.

Texts have the lengths of real ones (about 30 tokens; see --mean) and weights are random: speed is the same.
Everything is measured in turn in one run; the numbers are medians.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from orchestrator.commands.bench import bench


def main() -> None:
    """Print and keep the numbers."""
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--backbone", default="minilm")
    parser.add_argument("--mean", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--what", default="step,packs")
    parser.add_argument("--packs", default="1,2,4,8,16")
    parser.add_argument("--least", type=float, default=0.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = bench(
        Console(),
        what=options.what.split(","),
        backbone=options.backbone,
        mean=options.mean,
        sizes=[int(number) for number in options.packs.split(",")],
        rounds=options.rounds,
        out=options.json,
    )
    if "packs" in result and result["packs"]["reached"] < options.least * result["packs"]["possible"]:
        raise SystemExit(f"less than {options.least:.0%} of what the machine can do")


if __name__ == "__main__":
    main()
