"""Thousands of broken inputs for each reader: `python -m tests.bench.fuzz [--examples 5000] [--target "row files"]`."""

import argparse
import time

from tests.fuzzing import TARGETS, run


def main() -> None:
    """Try so many inputs of each kind and say what became of them; ends with an error at the first fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--target", choices=list(TARGETS))
    wanted = parser.parse_args()
    for target in [wanted.target] if wanted.target else TARGETS:
        start = time.perf_counter()
        counts = run(target, wanted.examples)
        print(f"{target}: {dict(counts)} in {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
