"""Which tokens of a decoder's sequence are text: in training, in generation, with a cache and without."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from torch.nn import functional as F

from tests.pipelines.peft_dept.adapted import adapted, batch, naive_read, texts
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


@every_decoder
@torch.no_grad()
def test_the_text_can_be_named(kind: str) -> None:
    """By a mask of the caller's, for models and calls without labels."""
    model, rows = adapted(kind), texts([6, 6])
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[0, :4], mask[1, :2] = True, True
    output = model(**batch(rows), text_mask=mask)
    for got, row, text in zip(output.logits, rows, (4, 2), strict=True):
        close(got, naive_read(model, kind, row, text))
    with pytest.raises(ValueError, match=r"text_mask has shape \(2, 3\), the attention mask \(2, 6\)"):
        model(**batch(rows), text_mask=mask[:, :3])


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
    from pipelines.peft_dept import DeptConfig
    from tests.pipelines.peft_dept.adapted import randomise

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
