"""How fast rows are read and tokenised, what the cache of token ids saves, and what memory a draw from a stream takes.

    python -m tests.bench.rows [--rows 20000] [--stream-mb 300] [--out docs/bench/rows.json]

The rows are generated: a sentence of 5 to 40 words and a label, so that nothing has to be fetched. The JSON has rows a
second by file kind, seconds to tokenise the rows for the embedded encoder against reading them from the cache, and by
how much the process grew (peak resident memory, MiB) while it drew 16 rows from a JSONL file of that size.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tasks import Task, draw_fewshot, load_task, read_rows, stream_rows

WORDS = tuple(f"word{n}" for n in range(500))


def sentences(seed: int) -> Iterator[dict[str, Any]]:
    """Rows without end, all different."""
    rng = random.Random(seed)
    n = 0
    while True:
        n += 1
        yield {"sentence": f"{n} {' '.join(rng.choices(WORDS, k=rng.randint(5, 40)))}", "label": n % 2}


def write_jsonl(path: Path, rows: int | None = None, megabytes: float = 0) -> int:
    """Write so many rows, or so many megabytes; returns the rows written."""
    written = size = 0
    with path.open("w", encoding="utf-8") as file:
        for row in sentences(0):
            size += file.write(json.dumps(row) + "\n")
            written += 1
            if written == rows or (rows is None and size >= megabytes * 1e6):
                return written
    raise AssertionError("sentences never end")


def write_kinds(folder: Path, rows: int) -> dict[str, Path]:
    """The same rows in each kind of file."""
    import pyarrow
    import pyarrow.parquet

    paths = {kind: folder / f"train.{kind}" for kind in ("jsonl", "csv", "tsv", "parquet")}
    write_jsonl(paths["jsonl"], rows)
    records = [json.loads(line) for line in paths["jsonl"].read_text().splitlines()]
    for kind, delimiter in (("csv", ","), ("tsv", "\t")):
        with paths[kind].open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["sentence", "label"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(records)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), paths["parquet"])
    return paths


def seconds(run: Callable[[], object], times: int = 3) -> float:
    """The shortest of a few runs."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def tokenising(path: Path, task: Task) -> dict[str, float]:
    """Seconds to tokenise the rows, to tokenise and keep them, and to read them again."""
    from pipelines.backbone import describe_backbone, load_tokenizer
    from pipelines.encode_cache import EncodeCache

    info = describe_backbone("minilm")
    rows = read_rows(path, task)
    cache = EncodeCache(load_tokenizer(info.folder), info.tokenizer_fingerprint, info.family)
    start = time.perf_counter()
    cache.encode(rows, task.max_length)
    first = time.perf_counter() - start
    return {"tokenise_and_keep_s": first, "from_cache_s": seconds(lambda: cache.encode(rows, task.max_length))}


def peak_mib() -> float:
    """Peak resident memory of this process since it was started; getrusage's would begin with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def stream_growth(path: str) -> dict[str, float]:
    """MiB by which this process grows at most while it draws 16 rows and as many for dev from a stream."""
    task = load_task("sst2")
    draw_fewshot(read_rows(Path(path).with_name("small.jsonl"), task), 2, 0)  # what any draw needs is not counted
    before = peak_mib()
    start = time.perf_counter()
    draw = draw_fewshot(stream_rows(path, task, "train"), 16, 0)
    assert len(draw.train) == len(draw.dev) == 16
    return {"growth_mib": peak_mib() - before, "seconds": time.perf_counter() - start}


def measure_stream(folder: Path, megabytes: float) -> dict[str, float]:
    """The growth of a fresh process that draws from a file of that size."""
    path = folder / "large.jsonl"
    rows = write_jsonl(path, megabytes=megabytes)
    write_jsonl(folder / "small.jsonl", 100)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.rows", "--grow", str(path)], capture_output=True, text=True, check=True
    )
    return {"file_mb": path.stat().st_size / 1e6, "rows": rows} | json.loads(done.stdout)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--stream-mb", type=float, default=300)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--grow", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.grow:
        print(json.dumps(stream_growth(options.grow)))
        return
    task = load_task("sst2")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["ORCHESTRATOR_CACHE"] = str(folder / "cache")
        paths = write_kinds(folder, options.rows)
        result = {
            "rows": options.rows,
            "rows_per_second": {
                kind: round(options.rows / seconds(lambda path=path: read_rows(path, task)))  # type: ignore[misc]
                for kind, path in paths.items()
            },
            "encoding": tokenising(paths["jsonl"], task),
            "stream": measure_stream(folder, options.stream_mb),
        }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
