"""What a transformers architecture asks of its inputs: the one place that knows model types by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

FamilyName = Literal["encoder", "encoder-decoder", "decoder"]

POSITIONS_AFTER_PADDING = (
    *("roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "data2vec-text"),
    *("xmod", "longformer", "mpnet"),
)
"""Model types whose first token stands at position ``pad_token_id + 1``."""

WORD_EMBEDDINGS = {
    **dict.fromkeys(("bert", "roberta", "mpnet", "deberta-v2"), "embeddings.word_embeddings.weight"),
    **dict.fromkeys(("llama", "qwen2", "opt", "granite"), "embed_tokens.weight"),
    **dict.fromkeys(("t5", "bart"), "shared.weight"),
    "modernbert": "embeddings.tok_embeddings.weight",
    "gpt2": "wte.weight",
    "gpt_neox": "embed_in.weight",
}
"""How the word embeddings' name ends in the stored weights of common types: knowing it spares making the model."""


@dataclass(frozen=True)
class Architecture:
    """How a model reads a sequence.

    Attributes:
        family: Encoder, encoder-decoder or decoder.
        first_position: The position id of the first token; RoBERTa and its kin count from ``pad_token_id + 1``.
        position_limit: The longest input there are positions for, or None where positions are relative.
        counts_padding: Positions are counted over padding and cannot be given (BART's encoder): padding has to
            stand at the end.
    """

    family: FamilyName
    first_position: int
    position_limit: int | None
    counts_padding: bool


def architecture_of(config: Any) -> Architecture:
    """The architecture of a transformers configuration."""
    family = family_of(config)
    first = int(config.pad_token_id) + 1 if config.model_type in POSITIONS_AFTER_PADDING else 0
    limit = getattr(config, "max_position_embeddings", None)
    relative = family == "encoder-decoder" and hasattr(config, "relative_attention_num_buckets")
    if limit is None or relative:
        return Architecture(family, first, None, counts_padding=False)
    return Architecture(family, first, limit - first, counts_padding=family == "encoder-decoder")


def family_of(config: Any) -> FamilyName:
    """The family of a transformers configuration.

    A type that can be read both ways, such as BERT, is a decoder only where its checkpoint says so.
    """
    if config.is_encoder_decoder:
        return "encoder-decoder"
    names = config.architectures or []
    if getattr(config, "is_decoder", False) or any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        return "decoder"
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    only_causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys() - MODEL_FOR_MASKED_LM_MAPPING_NAMES.keys()
    return "decoder" if config.model_type in only_causal else "encoder"


def check_length(limit: int | None, m: int, s: int, word: int = 0, name: str = "this model") -> None:
    """Raise a ValueError if a prompt of m rows, a text of s tokens and, in the same sequence, a label do not fit.

    Args:
        limit: Positions there are; None for no limit.
        m: Prompt rows.
        s: Text tokens.
        word: Tokens of the longest label word; 0 where it is not in the same sequence.
        name: Whose limit it is.
    """
    total = m + s + word
    if limit is not None and total > limit:
        what = f"m + s = {m} + {s}" + (f", with a label word of {word} tokens" if word else "")
        raise ValueError(f"{what} = {total} is over the {limit} positions of {name}")
