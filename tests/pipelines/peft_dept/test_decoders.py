"""Which tokens of a decoder's sequence are text: in training, in generation, with a cache and without."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor
from torch.nn import functional as F
from transformers import BertConfig, BertLMHeadModel

from pipelines.peft_dept import DeptConfig
from tests.pipelines.peft_dept.adapted import adapted, batch, naive_read, randomise, texts
from tests.pipelines.tiny import LAST, PAD, kinds_of

every_decoder = pytest.mark.parametrize("kind", kinds_of("decoder"))
LENGTHS, LABELS = (6, 2, 4), (1, 3, 2)


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def with_labels(side: str) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Text and label word in one sequence, and the rows without padding."""
    rows = [torch.cat(pair) for pair in zip(texts(LENGTHS), texts(LABELS, seed=5), strict=True)]
    inputs = batch(rows, side)
    labels = torch.full_like(inputs["input_ids"], -100)
    for n, (text, label) in enumerate(zip(LENGTHS, LABELS, strict=True)):
        first = inputs["attention_mask"][n].argmax()
        labels[n, first + text : first + text + label] = rows[n][text:]
    return {**inputs, "labels": labels}, rows


@every_decoder
@pytest.mark.parametrize("side", ["right", "left"])
@torch.no_grad()
def test_label_tokens_get_no_update_in_training(kind: str, side: str) -> None:
    model = adapted(kind)
    inputs, rows = with_labels(side)
    output = model(**inputs)
    assert output.logits.shape[:2] == inputs["input_ids"].shape
    losses = []
    for n, (row, text) in enumerate(zip(rows, LENGTHS, strict=True)):
        wanted = naive_read(model, kind, row, text)
        close(output.logits[n][inputs["attention_mask"][n].bool()], wanted)
        losses.append(F.cross_entropy(wanted[text - 1 : -1], row[text:], reduction="none"))
    assert float(output.loss) == pytest.approx(float(torch.cat(losses).mean()), rel=1e-6)  # taken in float32


def test_training_without_text_or_without_labels_is_warned_of() -> None:
    """A Trainer that smooths labels takes them away; a collator for language modelling labels everything."""
    model, inputs = adapted("llama"), batch(texts([5, 3]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(**inputs)
        model.train()
        model(**with_labels("right")[0])
        model(**inputs, text_mask=inputs["attention_mask"])
    with pytest.warns(UserWarning, match="sees neither labels nor text_mask"):
        model(**inputs)
    with pytest.warns(UserWarning, match=r"every token has a label, so none is text and A·B is not trained"):
        model(**inputs, labels=inputs["input_ids"])


@torch.no_grad()
def test_a_text_that_begins_behind_the_cache_is_refused() -> None:
    """Padding in front of a text goes before its prompt, which a cache already holds."""
    model, inputs = adapted("llama"), batch(texts([6, 2]), "left")
    with pytest.raises(ValueError, match="a row's text begins behind the cache"):
        model.generate(**inputs, max_new_tokens=2, prefill_chunk_size=2, pad_token_id=PAD)
    row = batch(texts([6]))
    options = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": PAD}
    assert torch.equal(model.generate(**row, **options, prefill_chunk_size=2), model.generate(**row, **options))


@torch.no_grad()
def test_generation_from_nothing() -> None:
    model = adapted("llama")
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": PAD}
    assert torch.equal(model.generate(**options, use_cache=True), model.generate(**options, use_cache=False))


def test_a_bert_that_decodes_is_a_decoder() -> None:
    config = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=30, is_decoder=True
    )
    config.architectures = ["BertForMaskedLM"]  # as its checkpoint says
    model = get_peft_model(BertLMHeadModel(config).double().eval(), DeptConfig(m=3, r=2, s=20, task_type="CAUSAL_LM"))
    assert model.base_model.hooks.architecture.family == "decoder"


@every_decoder
@pytest.mark.parametrize("side", ["right", "left"])
@torch.no_grad()
def test_training_and_a_cache_give_the_same_logits(kind: str, side: str) -> None:
    """The label's tokens one by one behind the cached text, as generation reads them."""
    model = adapted(kind)
    text, label = texts(LENGTHS), torch.stack(texts([3, 3, 3], seed=5))
    inputs = batch(text, side)
    first = model(**inputs, use_cache=True)
    cache, mask = first.past_key_values, inputs["attention_mask"]
    for t in range(3):
        mask = torch.cat([mask, mask.new_ones(3, 1)], 1)
        step = model(input_ids=label[:, t : t + 1], attention_mask=mask, past_key_values=cache, use_cache=True)
        cache = step.past_key_values
        assert step.logits.shape[1] == 1
        for n, row in enumerate(text):
            close(step.logits[n, 0], naive_read(model, kind, torch.cat([row, label[n]]), len(row))[len(row) + t])


def greedy(model: PeftModel, kind: str, row: Tensor, tokens: int) -> list[int]:
    """Generation by the definition: everything is read again for each token."""
    so_far = row
    for _ in range(tokens):
        so_far = torch.cat([so_far, naive_read(model, kind, so_far, len(row))[-1].argmax()[None]])
        if so_far[-1] == LAST:
            break
    return so_far[len(row) :].tolist()


def generated(output: Tensor, given: int) -> list[list[int]]:
    rows = [row[given:].tolist() for row in output]
    return [[token for token in row if token != PAD] for row in rows]


@every_decoder
@pytest.mark.parametrize("use_cache", [True, False])
@torch.no_grad()
def test_greedy_generation(kind: str, use_cache: bool) -> None:
    model, rows = adapted(kind), texts(LENGTHS)
    inputs = batch(rows, "left")
    output = model.generate(**inputs, max_new_tokens=6, do_sample=False, use_cache=use_cache, pad_token_id=PAD)
    wanted = [greedy(model, kind, row, 6) for row in rows]
    assert generated(output, max(LENGTHS)) == [[token for token in row if token != PAD] for row in wanted]


@every_decoder
@torch.no_grad()
def test_beams_and_adapters_by_row(kind: str) -> None:
    """Each row is repeated for its beams, with its own adapter."""
    model, rows = adapted(kind), texts(LENGTHS)
    model.add_adapter("other", DeptConfig(m=5, r=1, s=4))
    randomise(model, "other", 3)
    names = ["other", "default", "other"]
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "num_beams": 3, "pad_token_id": PAD}
    together = model.generate(**batch(rows, "left"), adapter_names=names, **options)
    for n, (name, row) in enumerate(zip(names, rows, strict=True)):
        model.set_adapter(name)
        alone = model.generate(**batch([row]), **options)
        assert generated(together[n : n + 1], max(LENGTHS)) == generated(alone, len(row))


@torch.no_grad()
def test_a_static_cache_is_refused() -> None:
    model = adapted("llama")
    with pytest.raises(ValueError, match="which a static cache cannot hold: use a dynamic one"):
        model.generate(**batch(texts([4])), max_new_tokens=3, cache_implementation="static", pad_token_id=PAD)


@torch.no_grad()
def test_masks_of_other_shapes_are_refused() -> None:
    model, inputs = adapted("llama"), batch(texts([4]))
    with pytest.raises(ValueError, match=r"attention_mask of shape \(rows, tokens\), got \(1, 1, 4, 4\)"):
        model(input_ids=inputs["input_ids"], attention_mask=torch.ones(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"attention_mask has shape \(1, 3\), the text \(1, 4\)"):
        model(input_ids=inputs["input_ids"], attention_mask=torch.ones(1, 3))


@torch.no_grad()
def test_encoder_decoders_generate() -> None:
    for kind in kinds_of("encoder-decoder"):
        model, rows = adapted(kind), texts(LENGTHS)
        for side in ("right", "left"):
            for options in ({}, {"num_beams": 3}, {"use_cache": False}):
                together = model.generate(**batch(rows, side), max_new_tokens=5, do_sample=False, **options)
                for n, row in enumerate(rows):
                    alone = model.generate(**batch([row]), max_new_tokens=5, do_sample=False, **options)
                    assert generated(together[n : n + 1], 0) == generated(alone, 0)
        inputs = batch(rows)
        once = model.generate(**inputs, max_new_tokens=5, do_sample=False)
        output = model(**inputs, decoder_input_ids=once[:, :-1])
        assert torch.equal(output.logits[:, 0].argmax(-1), once[:, 1])
