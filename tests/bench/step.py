"""What a training step costs, and what makes it cheap.

    python -m tests.bench.step [--backbone minilm|t5-small|t5-base|llama-1b] [--rounds 5] [--json FILE]

- **ways**: a step of plain prompt tuning with 100 rows, every text padded to 256 tokens, in float32, one configuration
  a pass, which is how the DePT release works; then DePT, then texts of their own length, then the machine's own number
  type and attention, then a pack of 8 configurations. Seconds for one configuration's 32 rows each.
- **packs**: seconds for one few-shot configuration's 16 rows, by the number of configurations in a pass.
- **rate**: matrix products a second in a packed step, over what one large product reaches.

Texts have the lengths of real ones (about 30 tokens; see --mean) and weights are random: speed is the same.
Everything is measured in turn in one run; the numbers are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as t
from torch.utils.flop_counter import FlopCounterMode

from pipelines.architecture import architecture_of
from pipelines.backbone import Backbone, BackboneInfo, default_attention, default_dtype, locate
from pipelines.encode import Batch, Encoded, collate
from pipelines.families import FAMILIES, SlotView
from pipelines.heads import initial_head
from pipelines.methods.dept import Factors, input_embeddings, rank_for_budget
from pipelines.pack import Pack
from pipelines.slot import Slot, SlotData, SlotSpec

S, ROWS, FEW, PACKED = 256, 32, 16, 8
PLAIN_ROWS = 100
SHAPES: Mapping[str, Callable[[], Any]] = {
    "t5-small": lambda: t.T5Config(decoder_start_token_id=0),
    "t5-base": lambda: t.T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12, decoder_start_token_id=0),
    "llama-1b": lambda: t.LlamaConfig(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8
    ),
}
CLASSES = {"encoder": t.AutoModel, "encoder-decoder": t.AutoModelForSeq2SeqLM, "decoder": t.AutoModelForCausalLM}


def load(name: str, dtype: torch.dtype, attention: str, device: torch.device) -> Backbone:
    """A backbone of this shape, in this type."""
    torch.manual_seed(0)
    config = t.AutoConfig.from_pretrained(locate(name)) if name == "minilm" else SHAPES[name]()
    architecture = architecture_of(config)
    with torch.device(device):
        model = CLASSES[architecture.family].from_config(config, dtype=dtype, attn_implementation=attention)
    model.requires_grad_(False).eval()
    weight = model.get_input_embeddings().weight
    rms = float(weight[:1000].float().pow(2).mean().sqrt())
    return Backbone(BackboneInfo(name, Path(), architecture, weight.shape[1], rms, "", ""), model)


def texts(rows: int, mean: int, seed: int) -> Encoded:
    """Token ids of texts whose lengths spread around a mean as real ones do."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.gamma(4.0, mean / 4.0, rows).round().astype(int), 4, S)
    return Encoded(
        ids=rng.integers(10, 30_000, lengths.sum()).astype(np.int32),
        segments=np.ones(lengths.sum(), np.uint8),
        offsets=np.concatenate([[0], lengths.cumsum()]),
        labels=rng.integers(0, 2, rows),
        truncated=0,
    )


def slot(backbone: Backbone, rows: Encoded, batch: int, seed: int, m: int, r: int) -> Slot:
    """A configuration on these rows."""
    generator = torch.Generator().manual_seed(seed)
    d, family = backbone.info.d, backbone.info.family
    tensors = {
        "prompt": torch.randn(m, d, generator=generator) * backbone.info.embedding_rms,
        "A": torch.randn(S, r, generator=generator),
        "B": torch.randn(r, d, generator=generator) * 0.01,
    }
    if family == "encoder":
        tensors |= {f"head.{name}": value for name, value in initial_head(d, 1, 2, generator).items()}
    spec = SlotSpec(
        key=str(seed), config=seed, task="bench", data="bench", start="scratch", m=m, r=r, s=S, gamma=1.0, alpha1=1e-3,
        alpha2=1e-3, head_lr=1e-3, steps=10**6, batch=batch, eval_every=10**6, seed=seed,
    )  # fmt: skip
    words = () if family == "encoder" else ((17,), (23,))
    data = SlotData(train=rows, dev=rows, labels=("a", "b"), metric="accuracy", segments=1, words=words)
    return Slot(spec, data, tensors, backbone.device)


def padded(batch: Batch, width: int) -> Batch:
    """The same rows, padded to a fixed width."""
    missing = width - batch.ids.shape[1]
    wider = {name: torch.nn.functional.pad(getattr(batch, name), (0, missing)) for name in ("ids", "mask", "segments")}
    return Batch(**wider, labels=batch.labels, slot=batch.slot)


def padded_step(backbone: Backbone, one: Slot) -> None:
    """A step as the release takes it: all rows in one pass, padded to s."""
    rows = collate([(0, one.data.train, i) for i in one.next_rows()], backbone.device)
    views = [SlotView(2, one.head, [torch.tensor(word) for word in one.data.words])]
    factors: Sequence[Factors] = [one.factors]

    def embed(tokens: Any, mask: Any, slot_of_row: Any, text: Any = None) -> Any:
        return input_embeddings(tokens.float(), mask, factors, slot_of_row, text)

    loss = FAMILIES[backbone.info.family].losses(backbone, padded(rows, S), embed, views).mean()
    loss.backward()
    one.update(float(loss.detach()))


def medians(steps: Mapping[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Seconds of each, in turn, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of one large matrix product."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    seconds = medians({"product": lambda: a @ b}, 10, device)["product"]
    return 2 * n**3 / seconds


def main() -> None:
    """Print and keep the numbers."""
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--backbone", default="minilm", choices=["minilm", *SHAPES])
    parser.add_argument("--mean", type=int, default=30, help="mean tokens of a text")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packs", default="1,2,4,8,16")
    parser.add_argument("--json")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = default_dtype(device)
    single = load(options.backbone, torch.float32, "sdpa", device)
    native = load(options.backbone, dtype, default_attention(device, dtype), device)
    m, d = (20, single.info.d) if single.info.family == "encoder" else (40, single.info.d)
    r = 16 if single.info.family == "encoder" else rank_for_budget(PLAIN_ROWS, m, S, d)
    rows = [texts(640, options.mean, seed) for seed in range(PACKED)]

    plain = slot(single, rows[0], ROWS, 0, PLAIN_ROWS, 0)
    ours = slot(single, rows[0], ROWS, 0, m, r)
    packs = {
        "DePT, own lengths, float32": Pack(single, [slot(single, rows[0], ROWS, 0, m, r)]),
        f"DePT, own lengths, {str(dtype).removeprefix('torch.')}": Pack(native, [slot(native, rows[0], ROWS, 0, m, r)]),
        f"the same, {PACKED} in a pack": Pack(native, [slot(native, rows[n], ROWS, n, m, r) for n in range(PACKED)]),
    }
    ways: dict[str, Callable[[], object]] = {
        f"prompt tuning, {PLAIN_ROWS} rows, padded to {S}, float32": lambda: padded_step(single, plain),
        f"DePT m={m} r={r}, padded to {S}, float32": lambda: padded_step(single, ours),
        **{name: pack.step for name, pack in packs.items()},
    }
    seconds = medians(ways, options.rounds, device)
    *_, packed = seconds
    seconds[packed] /= PACKED
    first = next(iter(seconds.values()))
    result: dict[str, Any] = {"backbone": options.backbone, "device": str(device), "threads": torch.get_num_threads()}
    result["ways"] = seconds
    for name, value in seconds.items():
        print(f"{value:8.4f} s  {first / value:5.1f} times  {name}", flush=True)

    few = [texts(FEW, options.mean, 100 + n) for n in range(64)]
    curve = {
        size: Pack(native, [slot(native, few[n], FEW, n, m, r) for n in range(size)])
        for size in map(int, options.packs.split(","))
    }
    by_size = medians({str(size): pack.step for size, pack in curve.items()}, options.rounds, device)
    result["packs"] = {size: value / int(size) for size, value in by_size.items()}
    alone = next(iter(result["packs"].values()))
    for size, value in result["packs"].items():
        print(f"{value:8.4f} s  {alone / value:5.1f} times  a few-shot configuration, {size} in a pack", flush=True)

    size, pack = list(curve.items())[-1]
    with FlopCounterMode(display=False) as counter:
        pack.step()
    reached, possible = counter.get_total_flops() / by_size[str(size)], peak(dtype, device)
    result["rate"] = {"reached": reached, "possible": possible}
    print(f"{reached / 1e12:.3f} of {possible / 1e12:.3f} TFLOP/s: {reached / possible:.0%}, {size} in a pack")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
