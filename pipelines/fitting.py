"""What suits a backbone on this machine: number type, attention and tokens in a pass, as found and kept on disk.

It is kept under a hash of all it depends on, so that a command gives the same numbers again. How it is found:
`pipelines.measurement`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from pipelines.backbone import default_attention, default_dtype
from pipelines.pack import CHUNK_TOKENS
from prompts_store.cache import Cache

VERSION = 2
"""Raised when what is measured, or how it is judged, changes: older findings are then measured again."""

SECONDS = 10.0
"""Time a measurement may take before it makes do with what it knows; a pass or loading under way is not cut off."""

SLOT_TOKENS = 16 * 50
"""Tokens of one few-shot slot's step: 16 rows of usual length with their prompt."""


@dataclass(frozen=True)
class Request:
    """What a measurement is asked for.

    Attributes:
        backbone: Name or folder.
        fingerprint: The backbone's.
        threads: CPU threads to compute with.
        dtype: Number type; None to choose.
        attention: ``eager`` or ``sdpa``; None to choose.
    """

    backbone: str
    fingerprint: str
    threads: int
    dtype: str | None = None
    attention: str | None = None


@dataclass(frozen=True)
class Fitting:
    """What was found.

    Attributes:
        dtype: What the backbone computes in.
        attention: Implementation of attention.
        chunk_tokens: Tokens in a pass at most.
        token_bytes: What a token of a pass holds until the backward pass; None if it was not measured.
        device: Name of the device.
        threads: CPU threads.
        torch: Version of torch.
        measured: When, in UTC; empty for what was not measured.
        seconds: Of one pass over the same rows, by ``dtype, attention``.
        agreement: Cosine of the gradients with float32's, by ``dtype, attention``.
        rate: Tokens a second, by tokens in a pass.
    """

    dtype: str
    attention: str
    chunk_tokens: int
    token_bytes: int | None
    device: str
    threads: int
    torch: str
    measured: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)
    rate: dict[str, float] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        """Few-shot slots that fill a pass."""
        return -(-self.chunk_tokens // SLOT_TOKENS)

    def __str__(self) -> str:
        how = f"measured {self.measured[:10]}" if self.seconds else "not measured"
        if self.measured and not self.seconds:
            how = f"as usual: {SECONDS:.0f} s were too short to measure, {self.measured[:10]}"
        return f"{self.dtype}, {self.attention} attention, {self.chunk_tokens} tokens in a pass ({how})"

    def to_json(self) -> str:
        """As text, for the cache and a run's tag."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Fitting:
        """The reverse of `to_json`."""
        return cls(**json.loads(text))


def device_here() -> torch.device:
    """A GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """What a device calls itself."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    features = "avx512_bf16" if torch.cpu.get_capabilities().get("avx512_bf16") else ""
    return " ".join([*(models[:1] or ["CPU"]), features]).strip()


def unmeasured(request: Request, device: torch.device) -> Fitting:
    """What usually suits a device, where nothing can be or need be measured."""
    dtype = request.dtype or _name(default_dtype(device))
    attention = request.attention or default_attention(device, getattr(torch, dtype))
    return Fitting(
        dtype, attention, CHUNK_TOKENS[device.type], None, device_name(device), request.threads, torch.__version__
    )


def kept(request: Request, device: torch.device) -> Fitting | None:
    """What was found before, on this device with these versions."""
    data = Cache("fittings").read(_key(request, device))
    return None if data is None else Fitting.from_json(data)


def keep(request: Request, device: torch.device, found: Fitting) -> None:
    """Keep what was found, for `kept`."""
    Cache("fittings").write(_key(request, device), found.to_json().encode())


def _key(request: Request, device: torch.device) -> str:
    import transformers

    given = (request.fingerprint, request.threads, request.dtype, request.attention)
    on = (device.type, device_name(device), torch.__version__, transformers.__version__, VERSION)
    return hashlib.sha256(json.dumps([*given, *on]).encode()).hexdigest()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
