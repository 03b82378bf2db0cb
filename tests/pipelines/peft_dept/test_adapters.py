"""How an adapter starts, what it computes once, and how it is trained."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

from pipelines.methods.dept import Factors
from pipelines.peft_dept import DeptConfig, parameter_groups
from pipelines.peft_dept import layer as layer_module
from tests.pipelines.peft_dept.adapted import adapted, batch, layer_of, randomise, texts
from tests.pipelines.tiny import FIRST, LAST, PAD, SPECIAL, WORDS, D, TinyFolder, V, build_model


def fresh(**changes: object) -> tuple[PeftModel, Factors]:
    torch.manual_seed(3)
    model = get_peft_model(build_model("t5"), DeptConfig(**{"m": 4, "r": 3, "s": 50, **changes}))
    return model, layer_of(model).factors("default")


def is_row_of(row: Tensor, table: Tensor) -> bool:
    return bool((table == row).all(1).any())


def test_starts() -> None:
    model, start = fresh()
    vocabulary = layer_of(model).vocabulary
    assert all(is_row_of(row, vocabulary) for row in start.prompt)
    assert len({tuple(row.tolist()) for row in start.prompt}) == 4
    assert not start.B.any()
    assert start.gamma == pytest.approx(8 / math.sqrt(3))
    bound = 1 / math.sqrt(3)
    assert 0.9 * bound < float(start.A.abs().max()) <= bound
    assert float(start.A.std()) == pytest.approx(bound / math.sqrt(3), rel=0.15)

    _, start = fresh(prompt_init="normal", a_init="gaussian", scaling="paper")
    assert start.gamma == 1.0
    assert float(start.A.std()) == pytest.approx(1.0, rel=0.2)
    rms = float(vocabulary.pow(2).mean().sqrt())
    assert float(start.prompt.pow(2).mean().sqrt()) == pytest.approx(rms, rel=0.4)
    assert not any(is_row_of(row, vocabulary) for row in start.prompt)

    given = torch.randn(2, D)
    _, start = fresh(prompt_init="given", given=given)
    assert torch.equal(start.prompt, given)
    factors = Factors(given, torch.randn(7, 1), torch.randn(1, D), 0.3)
    model, start = fresh(prompt_init="given", given=factors)
    assert (start.m, start.r, start.s, start.gamma) == (2, 1, 7, 0.3)
    assert torch.equal(start.B, factors.B)
    _, start = fresh(gamma=0.25)
    assert start.gamma == 0.25


def test_text_is_repeated_and_the_tokenizer_is_asked_once(
    tiny_folder: TinyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"prompt_init": "text", "prompt_init_text": "a b c", "tokenizer_name_or_path": str(tiny_folder("t5"))}
    model, start = fresh(m=5, **options)
    words = [WORDS.index(letter) for letter in "abcab"]
    assert torch.equal(start.prompt, layer_of(model).vocabulary[words])
    model.save_pretrained(tmp_path)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda *_: pytest.fail("asked again"))
    again = PeftModel.from_pretrained(build_model("t5"), str(tmp_path), is_trainable=True)
    assert torch.equal(layer_of(again).factors("default").prompt, start.prompt)
    assert PeftConfig.from_pretrained(str(tmp_path)).prompt_init_ids == words[:3]


def test_the_rank_comes_from_the_budget() -> None:
    """100 rows of d less m rows, over s + d; (40, 45) at T5-base's d = 768 and s = 256."""
    assert DeptConfig().rank(768) == 45
    model, start = fresh(m=2, r=None)
    assert start.r == (100 - 2) * D // (50 + D)
    assert model.peft_config["default"].r == start.r


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"m": -1}, "m must be a whole number of at least 0, got -1"),
        ({"s": 2.5}, "s must be a whole number of at least 0, got 2.5"),
        ({"m": 0, "r": 0}, "m = 0 and r = 0 leave nothing to train"),
        ({"scaling": "lora"}, "scaling must be one of released, paper, got 'lora'"),
        ({"a_init": "zero"}, "a_init must be one of uniform, gaussian, got 'zero'"),
        ({"gamma": math.inf}, "gamma must be finite, got inf"),
        ({"prompt_init": "text"}, "prompt_init='text' needs prompt_init_text"),
        ({"prompt_init": "given"}, "given and prompt_init='given' go together, got prompt_init='given'"),
        ({"given": torch.zeros(2, D)}, "given and prompt_init='given' go together, got prompt_init='vocabulary'"),
    ],
)
def test_bad_configurations(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeptConfig(**options)  # type: ignore[arg-type]


def test_what_does_not_fit_the_backbone() -> None:
    with pytest.raises(ValueError, match="m=31 prompt rows cannot be drawn from a vocabulary of 30 rows"):
        fresh(m=V + 1)
    with pytest.raises(ValueError, match=r"the given prompt has shape \(2, 5\), not \(m, d\) = \(2, 16\)"):
        fresh(prompt_init="given", given=torch.zeros(2, 5))
    with pytest.raises(ValueError, match="the given factors have d=5, the backbone has d=16"):
        fresh(prompt_init="given", given=Factors(torch.zeros(1, 5), torch.zeros(3, 1), torch.zeros(1, 5), 1.0))


def test_it_cannot_be_merged() -> None:
    model, _ = fresh()
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(ValueError, match="DePT changes the inputs, not the weights: it cannot be merged"):
            merge()


def test_the_update_is_computed_once_until_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A·B of an adapter that is not trained is kept, whatever batches it is in; a step or a write makes it anew."""
    model, inputs, calls = adapted("llama"), batch(texts([5, 3])), []
    model.add_adapter("other", DeptConfig(m=1, r=1, s=5))
    real = layer_module.update_of

    def counting(factors: Factors) -> Tensor:
        calls.append(1)
        return real(factors)

    monkeypatch.setattr(layer_module, "update_of", counting)
    with torch.no_grad():
        first = model(**inputs).logits
        for names in (["default", "other"], ["other", "other"], ["__base__", "default"]):
            model(**inputs, adapter_names=names)
        model.set_adapter("other")
        model(**inputs)
        model.set_adapter("default")
        assert torch.equal(model(**inputs).logits, first)
    assert len(calls) == 2
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for expected in (3, 4):
        model(**inputs).logits.pow(2).mean().backward()
        assert len(calls) == expected
    optimizer.step()
    with torch.no_grad():
        assert not torch.allclose(model(**inputs).logits, first)
        model(**inputs)
        assert len(calls) == 5
        before = model(**inputs).logits
        randomise(model, "default", 4)
        assert not torch.allclose(model(**inputs).logits, before)
        model(**inputs)
    assert len(calls) == 6
    model.requires_grad_(False)
    model(**inputs)  # nothing is trained, so nothing is computed again, gradients wanted or not
    assert len(calls) == 6


def test_an_adapter_of_the_same_name_is_not_mistaken_for_the_last(tmp_path: Path) -> None:
    """Memory that one adapter leaves is taken by the next: a server that rotates tasks sees that all the time."""
    inputs = batch(texts([5, 3]))
    wanted = []
    for seed in (1, 2):
        model = adapted("llama", dtype=torch.float32)
        randomise(model, "default", seed)
        model.save_pretrained(tmp_path / str(seed))
        wanted.append(model(**inputs).logits.detach())
    model = adapted("llama", dtype=torch.float32)
    with torch.no_grad():
        for turn in range(30):
            model.load_adapter(str(tmp_path / str(turn % 2 + 1)), "task")
            model.set_adapter("task")
            torch.testing.assert_close(model(**inputs).logits, wanted[turn % 2])
            model.set_adapter("default")
            model.delete_adapter("task")


def test_loaded_in_inference_mode(tmp_path: Path) -> None:
    adapted("bert").save_pretrained(tmp_path)
    inputs = batch(texts([5, 3]))
    with torch.inference_mode():
        model = PeftModel.from_pretrained(build_model("bert").double(), str(tmp_path)).eval()
        first = model(**inputs).last_hidden_state
    with torch.no_grad():
        assert torch.equal(model(**inputs).last_hidden_state, first)


def test_a_configuration_serves_several_backbones(tiny_folder: TinyFolder) -> None:
    """What is found for one backbone, a rank or token ids, is not taken to the next."""
    config = DeptConfig(m=2, s=50)
    narrow = get_peft_model(build_model("t5"), config)
    sizes = {"d_model": 64, "d_kv": 8, "d_ff": 8, "num_layers": 1, "num_heads": 1}
    wide = get_peft_model(T5ForConditionalGeneration(T5Config(**sizes, vocab_size=200)), config)
    assert layer_of(narrow).factors("default").r == 98 * D // (50 + D)
    assert layer_of(wide).factors("default").r == 98 * 64 // (50 + 64)
    assert config.r is None


def classifier() -> BertForSequenceClassification:
    torch.manual_seed(0)
    sizes = {"hidden_size": D, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    tokens = {"vocab_size": V, "pad_token_id": PAD, "bos_token_id": FIRST, "eos_token_id": LAST}
    return BertForSequenceClassification(BertConfig(**sizes, **tokens, num_labels=2, initializer_range=0.3))


def has_letter(rows: int, seed: int) -> list[dict[str, Tensor]]:
    """Whether the first letter of the alphabet stands in a text: something a classifier can learn."""
    data = []
    for n, ids in enumerate(texts([6] * rows, seed)):
        ids[ids == len(SPECIAL)] += 1
        if n % 2:
            ids[n % 6] = len(SPECIAL)
        data.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor(n % 2)})
    return data


def test_trainer_with_two_rates(tmp_path: Path) -> None:
    """Hugging Face's Trainer, a classification head beside the factors, checkpoints of our tensors alone."""
    model = get_peft_model(classifier(), DeptConfig(m=4, r=4, s=16, task_type="SEQ_CLS"))
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(parameter_groups(model, alpha1=0.1, alpha2=0.02, rest=0.01))
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.02, 0.01]
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    assert sizes == [4 * D, (16 + D) * 4, 2 * D + 2]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=120, per_device_train_batch_size=16, save_steps=120, logging_steps=20,
        report_to="none", lr_scheduler_type="constant", disable_tqdm=True, use_cpu=True, seed=0,
    )  # fmt: skip
    trainer = Trainer(
        model=model, args=arguments, train_dataset=has_letter(64, 0), eval_dataset=has_letter(32, 1),
        optimizers=(optimizer, None),
    )  # fmt: skip
    start = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.8 * start
    for name, parameter in model.named_parameters():
        if name in frozen:
            assert torch.equal(parameter, frozen[name]), name
        else:
            assert not torch.equal(parameter, before[name]), name
    checkpoint = tmp_path / "checkpoint-120"
    assert (checkpoint / "adapter_model.safetensors").stat().st_size < 4_000
    again = PeftModel.from_pretrained(classifier(), str(checkpoint)).eval()
    inputs = {"input_ids": has_letter(4, 2)[1]["input_ids"][None]}
    torch.testing.assert_close(again(**inputs).logits, model.eval()(**inputs).logits)


def test_groups_leave_nothing_out() -> None:
    model = get_peft_model(classifier(), DeptConfig(m=4, r=4, s=16, task_type="SEQ_CLS"))
    with pytest.raises(ValueError, match=r"2 other tensors are trained, such as \S*classifier\S*: give rest a rate"):
        parameter_groups(model, 0.1, 0.1)
    groups = parameter_groups(model, 0.1, 0.1, 0.1, weight_decay=0.01)
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in model.parameters() if p.requires_grad}
    assert {group["weight_decay"] for group in groups} == {0.01}
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="no DePT adapter is trainable"):
        parameter_groups(model, 0.1, 0.1)


@torch.no_grad()
def test_rows_of_several_classifiers() -> None:
    """Each adapter's own head reads its rows."""
    model = get_peft_model(classifier(), DeptConfig(m=4, r=2, s=16, task_type="SEQ_CLS")).eval()
    model.add_adapter("other", DeptConfig(m=1, r=2, s=16, task_type="SEQ_CLS"))
    randomise(model, "other", 2)
    for name, parameter in model.named_parameters():
        if "classifier" in name and "other" in name:
            parameter.normal_()
    rows = texts([5, 6, 4])
    names = ["other", "default", "other"]
    together = model(**batch(rows), adapter_names=names).logits
    for n, name in enumerate(names):
        model.set_adapter(name)
        torch.testing.assert_close(together[n], model(**batch([rows[n]])).logits[0], rtol=1e-4, atol=1e-5)
