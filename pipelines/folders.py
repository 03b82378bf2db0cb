"""Prompts in other people's folders: the DePT release's, and PEFT's own."""

from __future__ import annotations

import json
import math
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipelines.errors import PipelineError
from pipelines.methods.dept import Factors, Scaling, scale

if TYPE_CHECKING:
    from prompts_store import Artifact

CONFIG, WEIGHTS, RELEASED_WEIGHTS = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
RELEASED, OURS, PROMPT_TUNING = "PROMPT_TUNING_LORA", "DEPT", "PROMPT_TUNING"
LARGEST = 2**20
PROMPT, A, B = "prompt_embeddings", "prompt_encoder.lora_embedding_A", "prompt_encoder.lora_embedding_B"


@dataclass(frozen=True)
class Adapter:
    """What a folder of PEFT's layout holds.

    Attributes:
        factors: ``P_s``, A and B, float32.
        method: ``dept``, or ``prompt_tuning`` where there is a prompt alone.
        backbone: The name of the backbone it was trained on, as the folder has it; may be empty.
    """

    factors: Factors
    method: str
    backbone: str


def read_adapter(folder: str | Path, *, prompt_only: bool = False) -> Adapter:
    """Read a prompt that the DePT release, this project or PEFT's prompt tuning stored.

    Of the release's files only tensors are unpickled (``weights_only``).

    Args:
        folder: With ``adapter_config.json`` and ``adapter_model.safetensors`` or, from the release,
            ``adapter_model.bin``.
        prompt_only: Take a prompt that A and B are missing to, as plain prompt tuning.

    Raises:
        PipelineError: If a file is missing, not what it should be, or holds a prompt alone without ``prompt_only``.
    """
    folder = Path(folder)
    config = _config(folder)
    kind = config.get("peft_type")
    if kind not in (RELEASED, OURS, PROMPT_TUNING):
        raise PipelineError(
            f"{folder / CONFIG} has peft_type {kind!r}: only {RELEASED}, {OURS} and {PROMPT_TUNING} fit"
        )
    tensors = _tensors(folder)
    names = ("dept_prompt", "dept_A", "dept_B") if kind == OURS else (PROMPT, A, B)
    if unknown := sorted(tensors.keys() - set(names)):
        raise PipelineError(f"{folder} holds tensors besides {', '.join(names)}: {', '.join(unknown)}")
    tensors = {name: _matrix(folder, name, tensor) for name, tensor in tensors.items()}
    if names[0] not in tensors:
        raise PipelineError(f"{folder} holds no prompt: {names[0]} is missing")
    prompt = tensors[names[0]]
    if kind == PROMPT_TUNING and len(prompt) > (rows := _size(folder, config, "num_virtual_tokens", len(prompt))):
        prompt = prompt[:rows]  # for an encoder-decoder PEFT stores twice as many as it reads
    backbone = str(config.get("base_model_name_or_path") or "")
    if names[1] in tensors and names[2] in tensors:
        factors = _factors(folder, config, prompt, tensors[names[1]], tensors[names[2]])
        return Adapter(factors, "dept" if factors.r else "prompt_tuning", backbone)
    if not prompt_only and kind != PROMPT_TUNING:
        missing = " and ".join(name for name in names[1:] if name not in tensors)
        raise PipelineError(
            f"{folder} holds the prompt alone: it lacks {missing}, so what was learned is not whole; "
            "--prompt-only imports it as plain prompt tuning"
        )
    s, d = _size(folder, config, "max_length", _size(folder, config, "s", 256)), prompt.shape[1]
    return Adapter(Factors(prompt, prompt.new_zeros(s, 0), prompt.new_zeros(0, d), 1.0), "prompt_tuning", backbone)


def write_adapter(artifact: Artifact, folder: str | Path) -> None:
    """Write a stored prompt as a PEFT folder, which ``PeftModel.from_pretrained`` loads once `pipelines.peft_dept` is
    imported. What PEFT has no place for, the card and an encoder's head, lies beside it.

    Raises:
        PipelineError: If the folder is there and not empty.
    """
    from pipelines.peft_dept import DeptConfig

    folder, card = Path(folder), artifact.card
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PipelineError(f"cannot export to {folder}: it exists and is not an empty folder; name another")
    prompt, left, right = (artifact.tensors[name] for name in ("prompt", "A", "B"))
    task_type = {"encoder": "FEATURE_EXTRACTION", "encoder-decoder": "SEQ_2_SEQ_LM", "decoder": "CAUSAL_LM"}
    config = DeptConfig(
        prompt_init="given",
        given=Factors(prompt, left, right, card.gamma),
        task_type=task_type[card.family],
        base_model_name_or_path=card.backbone,
        inference_mode=True,
    )
    config.save_pretrained(str(folder))
    save_file({"dept_prompt": prompt, "dept_A": left, "dept_B": right}, folder / WEIGHTS, {"format": "pt"})
    (folder / "card.json").write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if artifact.head:
        save_file(artifact.head, folder / "head.safetensors", {"format": "pt"})


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PipelineError(f"cannot read {path}: {error.strerror or error}; give a folder with an adapter") from error
    except (ValueError, RecursionError) as error:
        raise PipelineError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise PipelineError(f"{path} must hold an object, got {type(config).__name__}")
    return config


def _tensors(folder: Path) -> dict[str, Any]:
    path = folder / WEIGHTS
    try:
        if path.is_file():
            tensors: Mapping[str, Any] = load_file(path)
        else:
            path = folder / RELEASED_WEIGHTS
            _check_archive(path)
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise PipelineError(f"{folder} holds neither {WEIGHTS} nor {RELEASED_WEIGHTS}") from error
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise PipelineError(f"{path} cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    except pickle.UnpicklingError as error:
        raise PipelineError(f"{path} holds more than tensors, which is never unpickled") from error
    except Exception as error:  # a damaged file can make torch's reader of pickles raise anything
        raise PipelineError(f"{path} cannot be read: {type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(tensors, Mapping) or not all(isinstance(name, str) for name in tensors):
        raise PipelineError(f"{path} must hold tensors by name, got {type(tensors).__name__}")
    return dict(tensors)


def _check_archive(path: Path) -> None:
    """Compare the checksums of what `torch.save` wrote, at which `torch.load` does not look.

    Raises:
        ValueError, zipfile.BadZipFile: If the file is damaged.
    """
    if not zipfile.is_zipfile(path):  # what older versions of torch wrote, or what is refused later
        return
    with zipfile.ZipFile(path) as archive:
        if packed := [part.filename for part in archive.infolist() if part.compress_type != zipfile.ZIP_STORED]:
            raise ValueError(f"torch.save did not write it, as its part {packed[0]} is compressed")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"it is damaged, as the checksum of its part {damaged} is another; fetch it again")


def _matrix(folder: Path, name: str, tensor: Any) -> Tensor:
    if not isinstance(tensor, Tensor) or tensor.ndim != 2 or not bool(tensor.isfinite().all()):
        raise PipelineError(f"{folder}: {name} must be a matrix of finite numbers")
    return tensor.float().contiguous()


def _factors(folder: Path, config: Mapping[str, Any], prompt: Tensor, left: Tensor, right: Tensor) -> Factors:
    r = left.shape[1]
    if config["peft_type"] == OURS:
        scaling = config.get("scaling", "released")
        if scaling not in get_args(Scaling):
            raise PipelineError(f"{folder / CONFIG}: scaling must be one of {get_args(Scaling)}, got {scaling!r}")
        gamma = _number(folder, config, "gamma", scale(r, scaling))
    else:
        gamma = _number(folder, config, "lora_alpha", 8) / math.sqrt(r) if r else 1.0  # as the release scales A·B
    try:
        return Factors(prompt, left, right, gamma)
    except ValueError as error:
        raise PipelineError(f"{folder}: {error}") from error


def _number(folder: Path, config: Mapping[str, Any], name: str, default: float) -> float:
    """A number of the configuration, not beyond all use."""
    value = config.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise PipelineError(f"{folder / CONFIG}: {name} must be a number, got {value!r:.80}; at most {LARGEST}")
    return value


def _size(folder: Path, config: Mapping[str, Any], name: str, default: int) -> int:
    """A number of rows in the configuration."""
    value = _number(folder, config, name, default)
    if value < 0:
        raise PipelineError(f"{folder / CONFIG}: {name} must be at least 0, got {value}")
    return int(value)
