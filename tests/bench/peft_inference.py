"""What DePT costs at inference: beside the bare backbone, beside prompt tuning, and many tasks in one batch.

    python -m tests.bench.peft_inference [--rounds 15] [--json FILE]

Medians of ratios, each of two times taken side by side. Weights are random, of the shapes of t5-small and of
all-MiniLM-L6-v2; texts have 30 to 80 tokens.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from peft import PromptTuningConfig, get_peft_model
from torch import Tensor
from transformers import BertConfig, BertModel, T5Config, T5ForConditionalGeneration

from pipelines.peft_dept import DeptConfig

M, LONG, TASKS, ROWS = 40, 100, 8, 32
Step = Callable[[], object]


def t5_small() -> T5ForConditionalGeneration:
    """60M parameters, d = 512."""
    config = T5Config(d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8, decoder_start_token_id=0)
    return T5ForConditionalGeneration(config).eval()


def minilm() -> BertModel:
    """22.7M parameters, d = 384."""
    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    return BertModel(config).eval()


def texts(rows: int, extra: int = 0) -> dict[str, Tensor]:
    """Ids and mask of rows with 30 to 80 tokens, and so many more."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(30, 81, (rows,), generator=generator) + extra
    ids = torch.randint(1, 30_000, (rows, int(lengths.max())), generator=generator)
    return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}


def times(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step in each round, in turn, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], over: str, under: str) -> float:
    """Median over the rounds of one step's time over another's, which were taken side by side."""
    return statistics.median(a / b for a, b in zip(seconds[over], seconds[under], strict=True))


def measure(make: Callable[[], Any], rounds: int, dtype: torch.dtype) -> dict[str, list[float]]:
    """Seconds of each way to read the same rows."""
    torch.manual_seed(0)
    bare, tuned, adapted = (make().to(dtype) for _ in range(3))
    kind = "SEQ_2_SEQ_LM" if hasattr(bare, "lm_head") else "FEATURE_EXTRACTION"
    extra = {"decoder_input_ids": torch.zeros(ROWS, 2, dtype=torch.long)} if kind == "SEQ_2_SEQ_LM" else {}
    tuned = get_peft_model(tuned, PromptTuningConfig(num_virtual_tokens=LONG, task_type=kind)).eval()
    adapted = get_peft_model(adapted, DeptConfig(m=M, task_type=kind), adapter_name="0").eval()
    for task in range(1, TASKS):
        adapted.add_adapter(str(task), DeptConfig(m=M, task_type=kind))
    rows, longer = texts(ROWS), texts(ROWS, M)
    mixed = {key: value[:TASKS] for key, value in (rows | extra).items()}
    names = [str(task) for task in range(TASKS)]
    lengths = rows["attention_mask"].sum(1).tolist()
    single = [{key: value[n : n + 1, : lengths[n]] for key, value in mixed.items()} for n in range(TASKS)]

    def separately() -> None:
        for name, row in zip(names, single, strict=True):
            adapted.set_adapter(name)
            adapted(**row)

    def dept() -> None:
        adapted.set_adapter("0")
        adapted(**rows, **extra)

    steps: dict[str, Step] = {
        "bare": lambda: bare(**rows, **extra),
        f"bare, {M} more tokens": lambda: bare(**longer, **extra),
        f"DePT m={M}": dept,
        f"prompt tuning, {LONG} rows": lambda: tuned(**rows, **extra),
        f"{TASKS} tasks mixed": lambda: adapted(**mixed, adapter_names=names),
        f"{TASKS} tasks apart": separately,
    }
    with torch.no_grad():
        return times(steps, rounds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json")
    options = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {}
    for name, make in {"t5-small": t5_small, "minilm": minilm}.items():
        for dtype in (torch.float32, torch.bfloat16):
            seconds = measure(make, options.rounds, dtype)
            label = f"{name} {str(dtype).removeprefix('torch.')}"
            results[label] = {name: [round(value, 5) for value in row] for name, row in seconds.items()}
            dept = f"DePT m={M}"
            more = ratio(seconds, f"bare, {M} more tokens", dept)
            long = ratio(seconds, f"prompt tuning, {LONG} rows", dept)
            gain = ratio(seconds, f"{TASKS} tasks apart", f"{TASKS} tasks mixed")
            print(
                f"{label}: throughput of DePT m={M} {more:.1%} of the bare backbone's with {M} more tokens, "
                f"{long:.2f} times prompt tuning's with {LONG} rows; {TASKS} rows of {TASKS} tasks in one call "
                f"{gain:.2f} times as fast as {TASKS} calls",
                flush=True,
            )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            machine = {"threads": torch.get_num_threads(), "torch": torch.__version__}
            json.dump(machine | {"seconds": results}, file, indent=2)


if __name__ == "__main__":
    main()
