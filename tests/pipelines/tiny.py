"""Tiny random backbones with tokenizers of their own, and slots to train on them."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from pipelines.architecture import FamilyName
from pipelines.backbone import Backbone
from pipelines.encode import encode
from pipelines.heads import initial_head
from pipelines.pack import Pack
from pipelines.slot import Slot
from pipelines.spec import Scoring, SlotData, SlotSpec
from tasks import Example, Rows, Task

SPECIAL = ("[UNK]", "[PAD]", "[CLS]", "[SEP]")
UNK, PAD, FIRST, LAST = range(4)
WORDS = (*SPECIAL, *string.ascii_lowercase)
V, D, POSITIONS = len(WORDS), 16, 64

Tiny = Callable[[str], Backbone]
TinyFolder = Callable[[str], Path]

KINDS: Mapping[str, FamilyName] = {
    "bert": "encoder",
    "roberta": "encoder",
    "mpnet": "encoder",
    "deberta": "encoder",
    "modernbert": "encoder",
    "t5": "encoder-decoder",
    "bart": "encoder-decoder",
    "llama": "decoder",
    "granite": "decoder",
    "gpt2": "decoder",
    "gpt_neox": "decoder",
    "opt": "decoder",
    "qwen2": "decoder",
}
FAMILY_KINDS = ("bert", "t5", "llama")


def kinds_of(family: FamilyName) -> list[str]:
    return [kind for kind, own in KINDS.items() if own == family]


def build_model(kind: str) -> Any:
    """Weights are drawn wide, so that a change of any input or position shows in the output."""
    import transformers as t

    sizes = {"hidden_size": D, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    tokens = {"vocab_size": V, "pad_token_id": PAD, "bos_token_id": FIRST, "eos_token_id": LAST}
    bert_like = {**sizes, **tokens, "max_position_embeddings": POSITIONS, "initializer_range": 0.4}
    torch.manual_seed(7)
    match kind:
        case "bert":
            return t.BertModel(t.BertConfig(**bert_like))
        case "roberta":
            return t.RobertaModel(t.RobertaConfig(**bert_like, type_vocab_size=1))
        case "mpnet":
            return t.MPNetModel(t.MPNetConfig(**bert_like))
        case "deberta":
            relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
            return t.DebertaV2Model(t.DebertaV2Config(**bert_like, **relative))
        case "modernbert":
            special = {"cls_token_id": FIRST, "sep_token_id": LAST, "global_attn_every_n_layers": 2}
            return t.ModernBertModel(t.ModernBertConfig(**bert_like, **special, local_attention=8))
        case "t5":
            config = {"d_model": D, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
            return t.T5ForConditionalGeneration(
                t.T5Config(
                    **config,
                    vocab_size=V,
                    pad_token_id=PAD,
                    eos_token_id=LAST,
                    decoder_start_token_id=PAD,
                    relative_attention_num_buckets=8,
                )
            )
        case "bart":
            sides = ("encoder", "decoder")
            config = {f"{side}_{name}": n for side in sides for name, n in (("layers", 2), ("attention_heads", 2))}
            config |= {f"{side}_ffn_dim": 32 for side in sides}
            return t.BartForConditionalGeneration(
                t.BartConfig(
                    **config,
                    **tokens,
                    d_model=D,
                    max_position_embeddings=POSITIONS,
                    decoder_start_token_id=LAST,
                    init_std=0.4,
                    scale_embedding=True,
                )
            )
        case "llama":
            return t.LlamaForCausalLM(t.LlamaConfig(**bert_like))
        case "granite":  # scales word embeddings, residuals and logits
            scales = {"embedding_multiplier": 3.0, "residual_multiplier": 0.7, "logits_scaling": 5.0}
            return t.GraniteForCausalLM(t.GraniteConfig(**bert_like, **scales))
        case "qwen2":
            return t.Qwen2ForCausalLM(t.Qwen2Config(**bert_like, num_key_value_heads=1))
        case "gpt_neox":
            return t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**bert_like))
        case "gpt2":
            sizes = {"n_embd": D, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS}
            return t.GPT2LMHeadModel(t.GPT2Config(**sizes, **tokens, initializer_range=0.4))
        case "opt":
            sizes = {"hidden_size": D, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
            sizes |= {"max_position_embeddings": POSITIONS, "word_embed_proj_dim": D}
            return t.OPTForCausalLM(t.OPTConfig(**sizes, **tokens, init_std=0.4))
    raise ValueError(kind)


def build_tokenizer(family: FamilyName) -> Any:
    """One token per letter, with the special tokens a family's texts have."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    single = {"encoder": "[CLS] $A [SEP]", "encoder-decoder": "$A [SEP]", "decoder": "[CLS] $A"}[family]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single,
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(SPECIAL[i], i) for i in (FIRST, LAST)],
    )
    named = {"unk_token": UNK, "pad_token": PAD, "bos_token": FIRST, "eos_token": LAST}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{name: SPECIAL[i] for name, i in named.items()}, model_max_length=POSITIONS
    )


METRICS = {"regression": "pearson+spearman", "span": "answer_f1+exact_match"}
VALUE_RANGE = (-1.0, 3.0)


def toy_task(form: str = "pair", classes: int = 2) -> Task:
    fields = ("first", "second")[: 1 + (form != "single")]
    if form in METRICS:
        classes = 0
    return Task(
        name="toy",
        version=1,
        form=form,
        title="toy",
        description="letters",
        fields=fields,
        labels=tuple(f"label {i}" for i in range(classes)),
        label_words=tuple(["p", "q r", "s t u"][:classes]),
        template=" v ".join(f"{{{name}}}" for name in fields) + " w",
        metric=METRICS.get(form, "accuracy"),
        value_range=VALUE_RANGE if form == "regression" else None,
        value_step=1.0,
    )


def toy_rows(task: Task, rows: int, seed: int, longest: int = 8) -> Rows:
    draw = random.Random(seed)
    examples = []
    for i in range(rows):
        texts = tuple(" ".join(draw.choices(string.ascii_lowercase, k=draw.randint(1, longest))) for _ in task.fields)
        if task.gold == "class":
            examples.append(Example.of(texts, i % len(task.labels)))
        elif task.gold == "value":
            examples.append(Example.valued(texts, draw.uniform(*VALUE_RANGE)))
        else:
            answers = [" ".join(draw.choices(string.ascii_lowercase, k=draw.randint(1, 3))) for _ in range(i % 2 + 1)]
            examples.append(Example.answered(texts, tuple(answers)))
    return Rows.of(task, "train", examples, "toy")


def toy_data(
    backbone: Backbone, *, form: str = "pair", classes: int = 2, rows: int = 6, s: int = 24, seed: int = 0,
    longest: int = 8, test: int = 0, scoring: Scoring = "likelihood",
) -> SlotData:  # fmt: skip
    family = backbone.info.family
    task = toy_task(form, classes)
    tokenizer = build_tokenizer(family)

    def encoded(n: int, own_seed: int) -> Any:
        return encode(toy_rows(task, n, own_seed, longest), tokenizer, family, s)

    words: tuple[tuple[int, ...], ...] = ()
    if family != "encoder":
        ends = (LAST,) if family == "encoder-decoder" else ()
        words = tuple((*(WORDS.index(w) for w in word.split()), *ends) for word in task.label_words)
    return SlotData(
        train=encoded(rows, seed),
        dev=encoded(5, seed + 1000),
        test=encoded(test, seed + 2000) if test else None,
        labels=task.labels,
        metrics=tuple(task.metric.split("+")),
        segments=len(task.fields),
        words=words,
        value_range=task.value_range,
        scoring=scoring,
    )


def toy_spec(**changes: Any) -> SlotSpec:
    fields: dict[str, Any] = {
        "key": "slot", "config": 0, "task": "toy", "data": "toy", "start": "scratch", "m": 3, "r": 2, "s": 24,
        "gamma": 1.3, "alpha1": 0.05, "alpha2": 0.02, "head_lr": 0.01, "steps": 5, "batch": 4, "eval_every": 2,
        "seed": 0,
    }  # fmt: skip
    return SlotSpec(**{**fields, **changes})


def random_tensors(spec: SlotSpec, data: SlotData, family: FamilyName, seed: int = 0, d: int = D) -> dict[str, Tensor]:
    """A start with an update that is not zero."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"prompt": (spec.m, d), "A": (spec.s, spec.r), "B": (spec.r, d)}
    tensors = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    if family == "encoder":
        head = initial_head(d, data.segments, data.outputs, generator)
        tensors |= {f"head.{name}": tensor.double() for name, tensor in head.items()}
    return tensors


def toy_slot(backbone: Backbone, spec: SlotSpec, data: SlotData, dtype: torch.dtype = torch.float64) -> Slot:
    tensors = random_tensors(spec, data, backbone.info.family, spec.seed)
    return Slot(spec, data, tensors, backbone.device, dtype)


def train(
    backbone: Backbone,
    slots: Sequence[Slot],
    *,
    chunk_tokens: int | None = None,
    drop_at: Mapping[str, int] | None = None,
) -> None:
    """Train to the end; slots named in `drop_at` are dropped after so many steps."""
    pack = Pack(backbone, slots, chunk_tokens)
    pack.judge(slots)
    steps = 0
    while pack.training:
        pack.step()
        steps += 1
        for slot in pack.training:
            if (drop_at or {}).get(slot.spec.key) == steps:
                slot.status = "dropped"
