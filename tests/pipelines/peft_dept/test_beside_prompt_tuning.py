"""Line by line, what PEFT's own prompt tuning does and what DePT does here: the table of docs/peft.md."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, PromptTuningConfig, get_peft_model
from torch import Tensor

from pipelines.peft_dept import DeptConfig, parameter_groups
from tests.pipelines.conftest import REPOSITORY
from tests.pipelines.peft_dept.adapted import TASK_TYPES, adapted, batch, decoder_inputs, layer_of, randomise, texts
from tests.pipelines.peft_dept.test_adapters import classifier
from tests.pipelines.tiny import KINDS, build_model

LENGTHS = (7, 3, 5)


def prompt_tuned(kind: str, m: int = 3) -> PeftModel:
    torch.manual_seed(0)
    config = PromptTuningConfig(num_virtual_tokens=m, task_type=TASK_TYPES[KINDS[kind]])
    return get_peft_model(build_model(kind).double(), config).double().eval()


def last_logits(model: PeftModel, kind: str, side: str) -> Tensor:
    """What the model says at each text's last token (a decoder) or at its own first (an encoder-decoder)."""
    inputs = batch(texts(LENGTHS), side)
    logits = model(**inputs, **decoder_inputs(kind, 3)).logits
    if KINDS[kind] == "encoder-decoder":
        return logits[:, 0]
    extra = logits.shape[1] - max(LENGTHS)
    places = [extra + length - 1 for length in LENGTHS] if side == "right" else [-1] * 3
    return logits[range(3), places]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "qwen2", "t5", "bart"])
@torch.no_grad()
def test_padding_side(kind: str) -> None:
    """Prompt tuning reads a text padded on the left otherwise than one padded on the right."""
    theirs, ours = prompt_tuned(kind), adapted(kind)
    assert float((last_logits(theirs, kind, "left") - last_logits(theirs, kind, "right")).abs().max()) > 1e-3
    torch.testing.assert_close(last_logits(ours, kind, "left"), last_logits(ours, kind, "right"), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_places_of_the_logits() -> None:
    inputs = batch(texts(LENGTHS))
    assert prompt_tuned("llama")(**inputs).logits.shape[1] == 3 + 7
    assert adapted("llama")(**inputs).logits.shape[1] == 7


@torch.no_grad()
def test_classifiers_read_the_texts_first_token() -> None:
    """BERT's pooler takes the first place: with a prompt in front, a prompt row."""
    inputs = batch(texts(LENGTHS))
    theirs = get_peft_model(classifier(), PromptTuningConfig(num_virtual_tokens=3, task_type="SEQ_CLS")).eval()
    ours = get_peft_model(classifier(), DeptConfig(m=3, r=2, s=16, task_type="SEQ_CLS")).eval()
    randomise(ours, "default", 0)
    seen: dict[str, Tensor] = {}
    for name, model in {"theirs": theirs, "ours": ours}.items():
        bare = model.get_base_model()
        hook = bare.bert.encoder.register_forward_hook(lambda m, a, out, name=name: seen.update({name: out[0]}))
        logits = model(**inputs).logits
        hook.remove()
        place = {"theirs": 0, "ours": 3}[name]  # among prompt and text
        pooled = bare.bert.pooler(seen[name][:, place:])
        torch.testing.assert_close(logits, bare.classifier(pooled))


def test_training_goes_on_from_a_stored_adapter(tmp_path: Path) -> None:
    prompt_tuned("llama").save_pretrained(tmp_path / "theirs")
    adapted("llama").save_pretrained(tmp_path / "ours")
    with pytest.raises(ValueError, match="Cannot set a prompt learning adapter to trainable"):
        PeftModel.from_pretrained(build_model("llama"), str(tmp_path / "theirs"), is_trainable=True)
    again = PeftModel.from_pretrained(build_model("llama"), str(tmp_path / "ours"), is_trainable=True)
    assert len([p for p in again.parameters() if p.requires_grad]) == 3


@torch.no_grad()
def test_rows_of_one_batch_for_several_adapters() -> None:
    """Prompt tuning takes the names and does not look at them."""
    inputs, names = batch(texts(LENGTHS)), ["default", "other", "default"]
    theirs, ours = prompt_tuned("llama"), adapted("llama")
    theirs.add_adapter("other", PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"))
    ours.add_adapter("other", DeptConfig(m=5, r=1, s=9))
    randomise(ours, "other", 1)
    assert torch.equal(theirs(**inputs, adapter_names=names).logits, theirs(**inputs).logits)
    mixed, alone = ours(**inputs, adapter_names=names).logits, ours(**inputs).logits
    torch.testing.assert_close(mixed[::2], alone[::2], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(mixed[1], alone[1])


def test_too_long_a_text_is_named() -> None:
    inputs = batch(texts([63]))
    with pytest.raises(IndexError, match="index out of range in self"):
        prompt_tuned("gpt2")(**inputs)
    with pytest.raises(ValueError, match=r"m \+ s = 3 \+ 63 = 66 is over the 64 positions of GPT2LMHeadModel"):
        adapted("gpt2")(**inputs)


def test_a_learning_rate_of_each_kind() -> None:
    assert len([p for p in prompt_tuned("t5").parameters() if p.requires_grad]) == 1
    groups = parameter_groups(adapted("t5"), alpha1=0.3, alpha2=5e-4)
    assert [group["lr"] for group in groups] == [0.3, 5e-4]


def test_the_same_parameters_make_a_shorter_sequence() -> None:
    """100 rows of plain prompt against 40 rows and rank 45, on T5-base's d: 76,800 numbers each."""
    from transformers import T5Config, T5ForConditionalGeneration

    def backbone() -> T5ForConditionalGeneration:
        sizes: dict[str, Any] = {"d_model": 768, "d_kv": 8, "d_ff": 8, "num_layers": 1, "num_heads": 1}
        return T5ForConditionalGeneration(T5Config(**sizes, vocab_size=200, decoder_start_token_id=0))

    plain = PromptTuningConfig(num_virtual_tokens=100, num_transformer_submodules=1, task_type="SEQ_2_SEQ_LM")
    theirs = get_peft_model(backbone(), plain)
    ours = get_peft_model(backbone(), DeptConfig(m=40, task_type="SEQ_2_SEQ_LM"))
    for model in (theirs, ours):
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 76_800
    assert layer_of(ours).factors("default").r == 45
    inputs = batch(texts(LENGTHS))
    start = {"decoder_input_ids": torch.zeros(3, 1, dtype=torch.long)}
    assert theirs(**inputs, **start).encoder_last_hidden_state.shape[1] == 100 + 7
    assert ours(**inputs, **start).encoder_last_hidden_state.shape[1] == 40 + 7


def test_every_line_of_the_table_names_a_test() -> None:
    """docs/peft.md, against the tests there are; every test of this file stands in it."""
    page = (
        (REPOSITORY / "docs" / "peft.md").read_text(encoding="utf-8").partition("## Beside PEFT")[2].partition("## ")[0]
    )
    lines = [line for line in page.splitlines() if line.startswith("|")][2:]
    assert len(lines) >= 12
    folder = Path(__file__).parent
    there = set(re.findall(r"^def (test_\w+)", "\n".join(f.read_text() for f in folder.glob("test_*.py")), re.M))
    there |= set(re.findall(r"^def (test_\w+)", (folder.parent / "test_folders.py").read_text(), re.M))
    named = {name for line in lines for name in re.findall(r"`(test_\w+)`", line)}
    assert all(re.search(r"`test_\w+`", line) for line in lines), "a line without a test"
    assert named <= there
    own = {name for name, _ in inspect.getmembers(inspect.getmodule(prompt_tuned)) if name.startswith("test_")}
    assert own - {"test_every_line_of_the_table_names_a_test"} <= named
