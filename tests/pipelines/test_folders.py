"""Prompts of the DePT release and of PEFT, against golden values and the formula."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, PromptTuningConfig, get_peft_model
from transformers import T5Config, T5ForConditionalGeneration

from pipelines.errors import PipelineError
from pipelines.folders import PROMPT, A, B, read_adapter, write_adapter
from pipelines.methods.dept import Factors
from pipelines.peft_dept import DeptConfig
from tests.pipelines.peft_dept.adapted import batch, read, texts
from tests.pipelines.tiny import D, build_model
from tests.prompts_store.conftest import make_artifact

CONFIG: dict[str, Any] = {
    "peft_type": "PROMPT_TUNING_LORA", "base_model_name_or_path": "t5-base", "lora_alpha": 8, "r": 3,
    "num_virtual_tokens": 4, "max_length": 20, "task_type": "SEQ_2_SEQ_LM",
}  # fmt: skip


def released(folder: Path, missing: tuple[str, ...] = (), **changes: Any) -> Path:
    """A folder as the release stores it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **changes}))
    torch.manual_seed(0)
    tensors = {PROMPT: torch.randn(4, D), A: torch.randn(20, 3), B: torch.randn(3, D)}
    torch.save({name: t for name, t in tensors.items() if name not in missing}, folder / "adapter_model.bin")
    return folder


@pytest.mark.parametrize("task", ["cola", "sst2"])
def test_released_artifacts_have_their_golden_values(shared: Path, task: str) -> None:
    folder = shared / "reference" / "dept-t5-base"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    golden = json.loads((folder / "golden.json").read_text())[task]
    adapter = read_adapter(folder / task)
    factors = adapter.factors
    assert (adapter.method, adapter.backbone) == ("dept", "t5-base")
    assert (factors.m, factors.r, factors.s) == (golden["m"], golden["r"], golden["s"])
    assert factors.gamma == pytest.approx(golden["scaling"], rel=1e-15)
    delta = factors.gamma * (factors.A.double() @ factors.B.double())
    assert float(delta.norm()) == pytest.approx(golden["delta_fro"], rel=1e-12)
    for row in (0, 10, 255):
        assert delta[row, :5].tolist() == pytest.approx(golden[f"delta_row{row}_first5"], rel=1e-12)
    # what a forward pass uses, in float32
    single = factors.gamma * (factors.A @ factors.B)
    assert single[0, :5].tolist() == pytest.approx(golden["delta_row0_first5"], rel=3e-6)
    assert factors.prompt[0, :5].tolist() == golden["prompt_row0_first5"]
    assert factors.prompt[-1, :5].tolist() == golden["prompt_row_last_first5"]
    assert float(factors.prompt.std()) == pytest.approx(golden["prompt_std"], rel=1e-6)


def test_a_released_prompt_without_its_factors(shared: Path) -> None:
    folder = shared / "reference" / "dept-t5-base" / "superglue-wic"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    with pytest.raises(PipelineError, match=rf"holds the prompt alone: it lacks {A} and {B}, .*--prompt-only"):
        read_adapter(folder)
    adapter = read_adapter(folder, prompt_only=True)
    assert adapter.method == "prompt_tuning"
    assert (adapter.factors.m, adapter.factors.r, adapter.factors.s) == (60, 0, 256)
    golden = json.loads((folder.parent / "golden.json").read_text())["superglue-wic"]
    assert adapter.factors.prompt[0, :5].tolist() == golden["prompt_row0_first5"]


@pytest.mark.parametrize("task", ["cola", "sst2"])
@torch.no_grad()
def test_a_released_artifact_gives_the_logits_of_the_release(shared: Path, task: str) -> None:
    """The release pads every text to s and adds all of A·B; here only the rows in use: the logits are the same."""
    folder = shared / "reference" / "dept-t5-base" / task
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    factors = read_adapter(folder).factors
    torch.manual_seed(0)
    sizes = {"d_model": 768, "d_kv": 64, "d_ff": 256, "num_layers": 2, "num_heads": 4, "vocab_size": 200}
    backbone = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).double().eval()
    rows = [ids + 10 for ids in texts([40, 3, 17])]
    inputs = batch(rows)
    start = torch.tensor([[0, 7, 9]]).repeat(3, 1)

    words = torch.zeros(3, factors.s, 768, dtype=torch.float64)
    mask = torch.zeros(3, factors.s, dtype=torch.long)
    for n, row in enumerate(rows):
        padded = torch.zeros(factors.s, dtype=torch.long)
        padded[: len(row)] = row
        words[n] = backbone.shared(padded) + factors.gamma * (factors.A.double() @ factors.B.double())
        mask[n, : len(row)] = 1
    prompted = torch.cat([factors.prompt.double().expand(3, -1, -1), words], 1)
    longer = torch.cat([mask.new_ones(3, factors.m), mask], 1)
    wanted = backbone(inputs_embeds=prompted, attention_mask=longer, decoder_input_ids=start).logits

    config = DeptConfig(prompt_init="given", given=factors, task_type="SEQ_2_SEQ_LM")
    model = get_peft_model(backbone, config).double().eval()
    got = model(**inputs, decoder_input_ids=start).logits
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def test_the_scale_is_the_releases(tmp_path: Path) -> None:
    factors = read_adapter(released(tmp_path)).factors
    assert factors.gamma == 8 / math.sqrt(3)


def test_one_of_the_factors_is_not_enough(tmp_path: Path) -> None:
    folder = released(tmp_path, missing=(B,))
    with pytest.raises(PipelineError, match=rf"holds the prompt alone: it lacks {B}, so"):
        read_adapter(folder)
    assert read_adapter(folder, prompt_only=True).factors.r == 0


def test_prompt_tuning_of_peft(tmp_path: Path) -> None:
    """Its logits are ours, on texts without padding; for an encoder-decoder it stores twice the rows it reads."""
    for kind, task_type in (("t5", "SEQ_2_SEQ_LM"), ("bart", "SEQ_2_SEQ_LM"), ("llama", "CAUSAL_LM")):
        torch.manual_seed(0)
        theirs = get_peft_model(build_model(kind), PromptTuningConfig(num_virtual_tokens=5, task_type=task_type)).eval()
        theirs.save_pretrained(tmp_path / kind)
        adapter = read_adapter(tmp_path / kind)
        assert (adapter.method, adapter.factors.m) == ("prompt_tuning", 5)
        ours = get_peft_model(build_model(kind), DeptConfig(prompt_init="given", given=adapter.factors)).eval()
        inputs = batch(texts([6, 6]))
        wanted = read(theirs, kind, inputs)
        torch.testing.assert_close(read(ours, kind, inputs), wanted[:, -6:] if kind == "llama" else wanted)


@pytest.mark.parametrize("family", ["encoder", "encoder-decoder", "decoder"])
def test_export_is_loaded_by_peft_and_read_back(family: str, tmp_path: Path) -> None:
    kind = {"encoder": "bert", "encoder-decoder": "t5", "decoder": "llama"}[family]
    head = {"head": None} if family != "encoder" else {}
    artifact = make_artifact(0, family=family, d=D, **head)
    write_adapter(artifact, tmp_path / "out")
    stored = read_adapter(tmp_path / "out").factors
    assert all(torch.equal(getattr(stored, n), artifact.tensors[n]) for n in ("prompt", "A", "B"))
    assert stored.gamma == artifact.card.gamma
    own = Factors(stored.prompt, stored.A, stored.B, artifact.card.gamma)
    inputs = batch(texts([5, 3]))
    wanted = read(get_peft_model(build_model(kind), DeptConfig(prompt_init="given", given=own)).eval(), kind, inputs)
    got = read(PeftModel.from_pretrained(build_model(kind), str(tmp_path / "out")).eval(), kind, inputs)
    assert torch.equal(got, wanted)
    assert (tmp_path / "out" / "head.safetensors").is_file() == (family == "encoder")
    with pytest.raises(PipelineError, match="it exists and is not an empty folder; name another"):
        write_adapter(artifact, tmp_path / "out")


def test_plain_peft_needs_our_import_and_nothing_else(tmp_path: Path) -> None:
    write_adapter(make_artifact(0, family="decoder", d=D, head=None), tmp_path / "out")
    build_model("llama").save_pretrained(tmp_path / "backbone")
    program = f"""
import pipelines.peft_dept
from peft import PeftModel
from transformers import AutoModelForCausalLM
backbone = AutoModelForCausalLM.from_pretrained({str(tmp_path / "backbone")!r})
model = PeftModel.from_pretrained(backbone, {str(tmp_path / "out")!r})
print(model.peft_type, model.active_adapter)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "DEPT default\n", done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"prompt_embeddings": print}), "holds more than tensors, which is never unpickled"),
        (b"", "cannot be read"),
        (b"PK\x03\x04 broken", "cannot be read"),
    ],
)
def test_weights_that_are_not_tensors(tmp_path: Path, content: bytes, message: str) -> None:
    (released(tmp_path) / "adapter_model.bin").write_bytes(content)
    with pytest.raises(PipelineError, match=message):
        read_adapter(tmp_path)


def save(folder: Path, **tensors: torch.Tensor) -> None:
    names = {"prompt": PROMPT, "A": A, "B": B}
    torch.save({names[name]: tensor for name, tensor in tensors.items()}, folder / "adapter_model.bin")


def write_config(folder: Path, text: str) -> None:
    (folder / "adapter_config.json").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: write_config(f, "{"), "is not JSON"),
        (lambda f: write_config(f, "[]"), "must hold an object, got list"),
        (lambda f: write_config(f, '{"peft_type": "LORA"}'), "has peft_type 'LORA': only PROMPT_TUNING_LORA, DEPT and"),
        (lambda f: (f / "adapter_config.json").unlink(), r"cannot read .*adapter_config\.json: No such file"),
        (lambda f: (f / "adapter_model.bin").unlink(), "holds neither adapter_model.safetensors nor adapter_model.bin"),
        (lambda f: save(f, A=torch.zeros(20, 3)), f"holds no prompt: {PROMPT} is missing"),
        (lambda f: save(f, prompt=torch.full((4, D), math.nan)), f"{PROMPT} must be a matrix of finite numbers"),
        (lambda f: save(f, prompt=torch.zeros(4)), f"{PROMPT} must be a matrix of finite numbers"),
        (lambda f: released(f, lora_alpha="x"), "lora_alpha must be a number, got 'x'"),
        (lambda f: released(f, lora_alpha=math.nan), "lora_alpha must be a number, got nan"),
        (lambda f: released(f, max_length=[1], missing=(A, B)), "the prompt alone"),
        (
            lambda f: save(f, prompt=torch.zeros(4, D), A=torch.zeros(20, 3), B=torch.zeros(2, D)),
            r"B must have shape \(r, d\) = \(3, 16\)",
        ),
    ],
)
def test_bad_folders(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(released(tmp_path))
    with pytest.raises(PipelineError, match=message):
        read_adapter(tmp_path)
