"""Scores and losses of each family against the raw transformers model, one row at a time, without padding."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pipelines.architecture import FamilyName
from pipelines.backbone import Backbone
from pipelines.encode import Batch, Encoded, collate
from pipelines.families import FAMILIES, SlotView
from pipelines.families.base import word_log_likelihood
from pipelines.methods.dept import Inputs, input_embeddings
from pipelines.slot import Slot
from tests.pipelines.tiny import FIRST, KINDS, LAST, PAD, Tiny, kinds_of, toy_data, toy_slot, toy_spec

SHAPES = [
    {"m": 3, "r": 2, "s": 24, "classes": 3, "form": "pair"},
    {"m": 5, "r": 4, "s": 4, "classes": 2, "form": "single"},  # texts go on beyond s
    {"m": 0, "r": 1, "s": 24, "classes": 2, "form": "pair"},
    {"m": 1, "r": 0, "s": 24, "classes": 3, "form": "single"},
]


def make_slots(backbone: Backbone) -> list[Slot]:
    return [
        toy_slot(
            backbone,
            toy_spec(m=shape["m"], r=shape["r"], s=shape["s"], seed=n),
            toy_data(backbone, form=str(shape["form"]), classes=int(str(shape["classes"])), rows=3, seed=n),
        )
        for n, shape in enumerate(SHAPES)
    ]


class Mixed:
    """A batch with rows of all slots, in an order that mixes them, and what a family says of it."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.slots = make_slots(backbone)
        self.rows = [(k, slot.data.train, i) for i in range(3) for k, slot in enumerate(self.slots)]
        self.batch: Batch = collate(self.rows, backbone.device)
        self.family = FAMILIES[backbone.info.family]
        self.views = [
            SlotView(slot.data.classes, slot.head, [torch.tensor(word) for word in slot.data.words])
            for slot in self.slots
        ]

    def embed(self, tokens: Tensor, mask: Tensor, slot_of_row: Tensor, text: Tensor | None = None) -> Inputs:
        return input_embeddings(tokens.double(), mask, [slot.factors for slot in self.slots], slot_of_row, text)

    def scores(self) -> Tensor:
        return self.family.scores(self.backbone, self.batch, self.embed, self.views)

    def losses(self) -> Tensor:
        return self.family.losses(self.backbone, self.batch, self.embed, self.views)


def own_ids(encoded: Encoded, i: int) -> Tensor:
    return torch.from_numpy(encoded.ids[encoded.offsets[i] : encoded.offsets[i + 1]]).long()


def own_segments(encoded: Encoded, i: int) -> list[int]:
    return [int(part) for part in encoded.segments[encoded.offsets[i] : encoded.offsets[i + 1]]]


def prompted(backbone: Backbone, slot: Slot, ids: Tensor) -> Tensor:
    """[P_s ; W(x) + γ·A·B] of one text."""
    words = backbone.model.get_input_embeddings()(ids).detach().clone()
    used = min(len(ids), slot.spec.s)
    words[:used] += slot.spec.gamma * slot.params["A"].detach()[:used] @ slot.params["B"].detach()
    return torch.cat([slot.params["prompt"].detach(), words])


def encoder_reference(backbone: Backbone, slot: Slot, encoded: Encoded, i: int) -> list[float]:
    """The head's logits from the model's own positions, pooled token by token."""
    embeddings = prompted(backbone, slot, own_ids(encoded, i))
    hidden = backbone.model(inputs_embeds=embeddings[None]).last_hidden_state[0, slot.spec.m :]
    pooled = []
    for segment in range(1, slot.data.segments + 1):
        own = [hidden[place] for place, part in enumerate(own_segments(encoded, i)) if part == segment]
        mean = sum(own[1:], own[0]) / len(own)
        pooled.append(mean / mean.norm() * math.sqrt(len(mean)))
    if len(pooled) == 2:
        u, v = pooled
        pooled += [(u - v).abs(), u * v]
    head = {name: tensor.detach() for name, tensor in slot.head.items()}
    inner = F.gelu(head["hidden.weight"] @ torch.cat(pooled) + head["hidden.bias"])
    return (head["output.weight"] @ inner + head["output.bias"]).tolist()


def encoder_decoder_reference(backbone: Backbone, slot: Slot, encoded: Encoded, i: int) -> list[float]:
    """Teacher forcing, one decoder call per token of each word."""
    model = backbone.model
    read = model.get_encoder()(inputs_embeds=prompted(backbone, slot, own_ids(encoded, i))[None]).last_hidden_state
    values = []
    for word in slot.data.words:
        total = 0.0
        for t, token in enumerate(word):
            before = torch.tensor([[model.config.decoder_start_token_id, *word[:t]]])
            logits = model(encoder_outputs=(read,), decoder_input_ids=before).logits[0, -1]
            total += float(logits.log_softmax(-1)[token])
        values.append(total / len(word))
    return values


def decoder_reference(backbone: Backbone, slot: Slot, encoded: Encoded, i: int) -> list[float]:
    """One call of the whole model per token of each word; the word's own tokens get no update."""
    text = prompted(backbone, slot, own_ids(encoded, i))
    values = []
    for word in slot.data.words:
        total = 0.0
        for t, token in enumerate(word):
            so_far = backbone.model.get_input_embeddings()(torch.tensor(word[:t], dtype=torch.long))
            logits = backbone.model(inputs_embeds=torch.cat([text, so_far])[None]).logits[0, -1]
            total += float(logits.log_softmax(-1)[token])
        values.append(total / len(word))
    return values


REFERENCES = {
    "encoder": encoder_reference,
    "encoder-decoder": encoder_decoder_reference,
    "decoder": decoder_reference,
}


@pytest.mark.parametrize("kind", list(KINDS))
@torch.no_grad()
def test_scores_of_a_mixed_batch_equal_single_rows(tiny: Tiny, kind: str) -> None:
    mixed = Mixed(tiny(kind))
    scores = mixed.scores()
    assert scores.shape == (len(mixed.rows), 3)
    assert scores.dtype == torch.float64
    for row, (k, encoded, i) in zip(scores, mixed.rows, strict=True):
        slot = mixed.slots[k]
        wanted = REFERENCES[mixed.backbone.info.family](mixed.backbone, slot, encoded, i)
        missing = [-math.inf] * (3 - slot.data.classes)
        torch.testing.assert_close(row, torch.tensor([*wanted, *missing], dtype=torch.float64), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["bert", "t5", "bart", "llama", "gpt2"])
def test_losses_belong_to_the_scores(tiny: Tiny, kind: str) -> None:
    """The encoder's is a cross-entropy; the others' is minus the right word's likelihood."""
    mixed = Mixed(tiny(kind))
    losses, scores = mixed.losses(), mixed.scores()
    assert losses.shape == (len(mixed.rows),)
    for loss, row, (k, encoded, i) in zip(losses.tolist(), scores.tolist(), mixed.rows, strict=True):
        label = int(encoded.labels[i])
        own = row[: mixed.slots[k].data.classes]
        wanted = -row[label]
        if kind == "bert":
            wanted += math.log(sum(math.exp(value) for value in own))
        assert loss == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("kind", ["bert", "t5", "bart", "llama", "gpt2"])
def test_gradients_reach_everything_that_is_trained_and_nothing_else(tiny: Tiny, kind: str) -> None:
    mixed = Mixed(tiny(kind))
    mixed.losses().sum().backward()
    for slot in mixed.slots:
        for name, parameter in slot.params.items():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            assert bool(parameter.grad.any()) == (parameter.numel() > 0), name
    assert all(parameter.grad is None for parameter in mixed.backbone.model.parameters())


@pytest.mark.parametrize(("kind", "offset"), [("bert", 0), ("roberta", PAD + 1), ("mpnet", PAD + 1)])
@torch.no_grad()
def test_first_token_stands_where_the_model_puts_it(tiny: Tiny, kind: str, offset: int) -> None:
    """With nothing learned, the text is read as the model reads token ids."""
    backbone = tiny(kind)
    assert backbone.info.architecture.first_position == offset
    data = toy_data(backbone, rows=3)
    batch = collate([(0, data.train, i) for i in range(3)], backbone.device)
    slot = toy_slot(backbone, toy_spec(m=0, r=0), data)
    seen = []

    def look(model: object, arguments: tuple[object, ...], named: dict[str, Tensor], output: object) -> None:
        seen.append((named, output))

    handle = backbone.model.register_forward_hook(look, with_kwargs=True)
    try:
        FAMILIES["encoder"].scores(
            backbone,
            batch,
            lambda tokens, mask, rows, text=None: input_embeddings(tokens, mask, [slot.factors], rows, text),
            [SlotView(2, slot.head)],
        )
    finally:
        handle.remove()
    ((named, output),) = seen
    raw = backbone.model(input_ids=torch.where(batch.mask, batch.ids, PAD), attention_mask=batch.mask.long())
    torch.testing.assert_close(output.last_hidden_state[batch.mask], raw.last_hidden_state[batch.mask])  # type: ignore[attr-defined]
    assert int(named["position_ids"][0, 0]) == offset


def test_every_family_is_known() -> None:
    families: list[FamilyName] = ["encoder", "encoder-decoder", "decoder"]
    assert list(FAMILIES) == families
    assert all(kinds_of(family) for family in families)


def test_word_log_likelihood_is_the_mean_over_real_tokens() -> None:
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    words = torch.tensor([[1, 4, 6], [FIRST, LAST, 0]])
    real = torch.tensor([[True, True, True], [True, True, False]])
    got = word_log_likelihood(logits, words, real)
    exact = logits.log_softmax(-1)
    assert got.dtype == torch.float64
    assert got[0].item() == pytest.approx(float(exact[0, 0, 1] + exact[0, 1, 4] + exact[0, 2, 6]) / 3, abs=1e-14)
    assert got[1].item() == pytest.approx(float(exact[1, 0, FIRST] + exact[1, 1, LAST]) / 2, abs=1e-14)


def test_word_log_likelihood_of_half_precision_is_computed_in_float32() -> None:
    logits = torch.randn(1, 1, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    got = word_log_likelihood(logits, torch.tensor([[3]]), torch.tensor([[True]]))
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(float(logits[0, 0].float().log_softmax(-1)[3]), abs=1e-6)


@pytest.mark.parametrize("kind", ["t5", "bart", *kinds_of("decoder")])
@torch.no_grad()
def test_generation_equals_a_plain_greedy_loop(tiny: Tiny, kind: str) -> None:
    """Rows of several slots together, against one row at a time, the whole model called anew for each token."""
    mixed = Mixed(tiny(kind))
    limit = 5
    said = mixed.family.generate(mixed.backbone, mixed.batch, mixed.embed, mixed.views, limit)
    model = mixed.backbone.model
    for got, (k, encoded, i) in zip(said, mixed.rows, strict=True):
        text = prompted(mixed.backbone, mixed.slots[k], own_ids(encoded, i))[None]
        wanted: list[int] = []
        while len(wanted) < limit and LAST not in wanted:
            if mixed.backbone.info.family == "encoder-decoder":
                before = torch.tensor([[model.config.decoder_start_token_id, *wanted]])
                logits = model(inputs_embeds=text, decoder_input_ids=before).logits
            else:
                so_far = model.get_input_embeddings()(torch.tensor([wanted], dtype=torch.long))
                logits = model(inputs_embeds=torch.cat([text, so_far], 1)).logits
            wanted.append(int(logits[0, -1].argmax()))
        assert got == wanted
    assert len({tuple(ids) for ids in said}) > 1
