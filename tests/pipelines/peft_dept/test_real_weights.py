"""The method on pretrained weights, and beside the engine that trains packs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from pipelines import heads
from pipelines.encode import collate
from pipelines.locate import locate
from pipelines.pack import Pack
from pipelines.peft_dept import DeptConfig, parameter_groups
from tests.pipelines.peft_dept.adapted import layer_of, naive_embeddings
from tests.pipelines.tiny import Tiny, build_model, toy_data, toy_slot, toy_spec


@pytest.fixture
def stories(shared: Path) -> Path:
    folder = shared / "models" / "stories260k-llama"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    return folder


def randomised(model: PeftModel, seed: int = 0, scale: float = 1.0) -> PeftModel:
    """Factors of the size of the word embeddings, an update among them."""
    generator = torch.Generator().manual_seed(seed)
    layer = layer_of(model)
    with torch.no_grad():
        shape = layer.dept_B["default"].shape
        rms = layer.vocabulary.float().pow(2).mean().sqrt()
        layer.dept_B["default"].copy_(torch.randn(shape, generator=generator) * rms * scale)
    return model.eval()


@torch.no_grad()
def test_minilm_reads_the_formula() -> None:
    folder = locate("minilm")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bare = AutoModel.from_pretrained(folder, dtype=torch.float64)
    model = randomised(get_peft_model(bare, DeptConfig(m=20, r=16, s=64, task_type="FEATURE_EXTRACTION")))
    sentences = ["A person is walking a dog.", "Nobody sleeps.", "It was, all in all, a rather long and quiet film."]
    for side in ("right", "left"):
        tokenizer.padding_side = side
        inputs = tokenizer(sentences, padding=True, return_tensors="pt")
        hidden = model(**inputs).last_hidden_state
        for got, mask, ids in zip(hidden, inputs["attention_mask"].bool(), inputs["input_ids"], strict=True):
            own = naive_embeddings(model, ids[mask], int(mask.sum()))
            with model.disable_adapter():
                wanted = bare(inputs_embeds=own[None]).last_hidden_state[0, 20:]
            torch.testing.assert_close(got[mask], wanted, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_a_pretrained_decoder_generates_by_the_formula(stories: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(stories, padding_side="left")
    tokenizer.pad_token = tokenizer.eos_token
    bare = AutoModelForCausalLM.from_pretrained(stories, dtype=torch.float64)
    inputs = tokenizer(["Once upon a time", "The cat"], padding=True, return_tensors="pt")
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": tokenizer.pad_token_id}
    plain = bare.generate(**inputs, **options)
    model = randomised(get_peft_model(bare, DeptConfig(m=8, r=4, s=32, task_type="CAUSAL_LM")))
    given = inputs["input_ids"].shape[1]
    cached, anew = (model.generate(**inputs, **options, use_cache=use) for use in (True, False))
    assert torch.equal(cached, anew)
    assert not torch.equal(cached, plain)
    for row, mask in zip(cached, inputs["attention_mask"].bool(), strict=True):
        so_far = row[:given][mask]
        text = len(so_far)
        for token in row[given:]:
            with model.disable_adapter():
                logits = bare(inputs_embeds=naive_embeddings(model, so_far, text)[None]).logits[0, -1]
            assert int(logits.argmax()) == int(token)
            so_far = torch.cat([so_far, token[None]])
    with model.disable_adapter():
        assert torch.equal(model.generate(**inputs, **options), plain)


def test_a_prompt_teaches_a_pretrained_decoder(stories: Path) -> None:
    """Trained on one sentence, in bfloat16, the factors make the frozen model say it."""
    tokenizer = AutoTokenizer.from_pretrained(stories)
    bare = AutoModelForCausalLM.from_pretrained(stories, dtype=torch.bfloat16)
    torch.manual_seed(0)
    model = get_peft_model(bare, DeptConfig(m=10, r=4, s=32, task_type="CAUSAL_LM"))
    text, answer = tokenizer("One day").input_ids, tokenizer(" the big red dog ate a cake.").input_ids[1:]
    ids = torch.tensor([[*text, *answer]])
    labels = torch.tensor([[-100] * len(text) + answer])
    rms = float(layer_of(model).vocabulary.float().pow(2).mean().sqrt())
    optimizer = torch.optim.AdamW(parameter_groups(model, alpha1=0.3 * rms, alpha2=0.05))
    losses = []
    for _ in range(80):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    assert losses[-1] < 0.2 * losses[0]
    said = model.eval().generate(torch.tensor([text]), max_new_tokens=len(answer), do_sample=False, pad_token_id=0)
    assert said[0, len(text) :].tolist() == answer


@pytest.mark.parametrize("kind", ["bert", "t5", "bart", "llama", "gpt2"])
@torch.no_grad()
def test_the_pack_engine_scores_as_peft_reads(tiny: Tiny, kind: str) -> None:
    """What a pack trains means the same to the PEFT method: class scores agree row by row."""
    backbone = tiny(kind)
    slot = toy_slot(backbone, toy_spec(), toy_data(backbone, classes=3))
    (scores,) = Pack(backbone, [slot]).scores([slot], [slot.data.dev])

    config = DeptConfig(prompt_init="given", given=slot.factors, task_type="FEATURE_EXTRACTION")
    model = get_peft_model(build_model(kind).double(), config).double().eval()
    rows = collate([(0, slot.data.dev, i) for i in range(len(slot.data.dev))], backbone.device)
    for n in range(len(scores)):
        ids = rows.ids[n][rows.mask[n]]
        if backbone.info.family == "encoder":
            hidden = model(input_ids=ids[None]).last_hidden_state
            wanted = heads.logits(slot.head, heads.pool(hidden, rows.segments[n : n + 1][:, rows.mask[n]]))[0]
        else:
            wanted = torch.stack([_likelihood(model, kind, ids, torch.tensor(word)) for word in slot.data.words])
        torch.testing.assert_close(scores[n], wanted, rtol=1e-9, atol=1e-9)


def _likelihood(model: PeftModel, kind: str, ids: Tensor, word: Tensor) -> Tensor:
    """Mean log-likelihood per token of a label word."""
    if kind in ("t5", "bart"):
        start = torch.tensor([model.get_base_model().config.decoder_start_token_id])
        logits = model(input_ids=ids[None], decoder_input_ids=torch.cat([start, word[:-1]])[None]).logits[0]
    else:
        labels = torch.cat([torch.full_like(ids, -100), word])
        logits = model(input_ids=torch.cat([ids, word])[None], labels=labels[None]).logits[0, len(ids) - 1 : -1]
    return logits.log_softmax(-1).gather(1, word[:, None]).mean()
