"""Many at once on one store: recorders of slots, and processes that store prompts and fetch them.

    python -m tests.bench.load --processes 64 --steps 20

Each of the processes records a configuration of its own; then each stores a prompt of the same task and fetches the
newest that it sees. First in SQLite, then through an MLflow server. Every metric must be there once and every prompt
whole. The exit code is 1 if anything is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any

from orchestrator.patience import patiently
from orchestrator.recorder import Recorder
from prompts_store import PromptStore, prepare_store
from prompts_store.checking import verify
from tests.prompts_store.conftest import PROCESSES, make_artifact
from tests.servers import serving

SECONDS = 900.0


def record(uri: str, number: int, steps: int) -> list[str]:
    """Record a configuration; returns its run."""
    store = patiently(lambda: PromptStore(uri))
    recorder = Recorder(store, "load", name=f"slot {number}", kind="test", params={"n": number}, tags={})
    with recorder:
        recorder.start(0, f"slot {number}", {"n": number}, {})
        for step in range(steps):
            recorder.metrics(0, step, {"loss": number + step / 7, "score": number - step / 3})
        recorder.finish(0, "finished")
    return [recorder.run_id(0)]


def lost_metrics(uri: str, runs: dict[int, list[str]], steps: int) -> int:
    """How many values are not there, or not once, or wrong."""
    client, lost = PromptStore(uri).client, 0
    for number, (run_id,) in runs.items():
        run = client.get_run(run_id)
        lost += run.info.status != "FINISHED" or run.data.params != {"n": str(number)}
        for key, sign, by in (("loss", 1, 7), ("score", -1, 3)):
            expected = Counter((step, number + sign * step / by) for step in range(steps))
            found = Counter((point.step, point.value) for point in client.get_metric_history(run_id, key))
            lost += ((expected - found) + (found - expected)).total()
    return lost


def store_and_fetch(uri: str, number: int, steps: int) -> list[str]:
    """Store a prompt, then fetch the newest three; returns its name and all that are listed."""
    store = patiently(lambda: PromptStore(uri))
    experiment = patiently(lambda: store.ensure_experiment("load"))
    run_id = patiently(lambda: store.client.create_run(experiment)).info.run_id
    artifact = make_artifact(number, dev_score=number / 1000)
    stored = patiently(lambda: store.put(artifact, run_id=run_id))
    listed = [prompt.ref for prompt in patiently(store.list)]
    for ref in listed[-3:]:
        patiently(lambda ref=ref: store.get(ref))  # type: ignore[misc]
    return [stored.ref, *listed]


def lost_prompts(uri: str, found: dict[int, list[str]]) -> int:
    """How many prompts are not there once, not whole, not seen by who stored them, or wrongly the best."""
    store = PromptStore(uri)
    refs = [ref for ref, *_ in found.values()]
    lost = len(refs) - len(set(refs) & {prompt.ref for prompt in store.list()})
    lost += sum(ref not in listed for ref, *listed in found.values())
    lost += sum(checked.problem is not None for checked in verify(store))
    return lost + (store.resolve("mnli").dev_score != max(number / 1000 for number in found))


def work(do: Callable[[str, int, int], list[str]], uri: str, number: int, steps: int, results: Any) -> None:
    """In a process of its own; tells what came of it."""
    import torch

    torch.set_num_threads(1)
    try:
        results.put((number, do(uri, number, steps)))
    except Exception as error:
        results.put((number, f"{type(error).__name__}: {error}"))


def at_once(do: Callable[[str, int, int], list[str]], uri: str, processes: int, steps: int) -> dict[int, list[str]]:
    """Let so many processes do it at once.

    Raises:
        RuntimeError: If one of them failed or did not end in time.
    """
    queue = PROCESSES.Queue()
    workers = [PROCESSES.Process(target=work, args=(do, uri, n, steps, queue)) for n in range(processes)]
    deadline = time.monotonic() + SECONDS
    results: dict[int, Any] = {}
    try:
        for worker in workers:
            worker.start()
        with suppress(Empty):
            while len(results) < processes:
                number, result = queue.get(timeout=max(0.0, deadline - time.monotonic()))
                results[number] = result
    finally:
        for worker in workers:
            worker.join(10)
            worker.kill()
    if failed := {number: result for number, result in results.items() if isinstance(result, str)}:
        raise RuntimeError(f"{len(failed)} of {processes} failed, such as {failed.popitem()}")
    if len(results) < processes:
        raise RuntimeError(f"{processes - len(results)} of {processes} did not end within {SECONDS:.0f} s")
    return results


def measure(where: str, uri: str, processes: int, steps: int) -> list[dict[str, Any]]:
    """Record, store and fetch, and count what is missing."""
    lines = []
    for what, do in (("recorders", record), ("put and get", store_and_fetch)):
        start = time.monotonic()
        found = at_once(do, uri, processes, steps)
        seconds = time.monotonic() - start
        lost = lost_metrics(uri, found, steps) if do is record else lost_prompts(uri, found)
        lines.append({"store": where, "what": what, "processes": processes, "seconds": round(seconds, 1), "lost": lost})
        print(f"{where}, {processes} {what}: {seconds:.1f} s, {lost} lost", flush=True)
    return lines


def main() -> None:
    """Load both kinds of store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--store", choices=["sqlite", "server"], help="only this kind")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ORCHESTRATOR_CACHE"] = f"{folder}/cache"
        lines: list[dict[str, Any]] = []
        if options.store != "server":
            uri = prepare_store(f"sqlite:///{folder}/mlflow.db")
            lines += measure("SQLite", uri, options.processes, options.steps)
        if options.store != "sqlite":
            with serving(Path(folder, "server")) as server:
                lines += measure("server", server.uri, options.processes, options.steps)
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1))
    sys.exit(any(line["lost"] for line in lines))


if __name__ == "__main__":
    main()
