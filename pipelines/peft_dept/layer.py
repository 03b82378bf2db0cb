"""The tuner layer: it wraps the backbone's word embedding, passes it through, and holds every adapter's factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from pipelines.methods.dept import Factors, Stacked, initial_A, stack
from pipelines.peft_dept.config import DeptConfig

BASE = "__base__"
"""Name, in a list of adapters by row, of rows that are to be read by the backbone as it is; PEFT's own word for it."""


@dataclass
class _Cache:
    """γ·A·B of all adapters, and the state of the parameters it was computed from."""

    state: tuple[tuple[object, ...], ...]
    stacked: Stacked


class DeptLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """Word embeddings, with the factors of every DePT adapter beside them.

    Calling it looks word embeddings up, as before: what the adapters add, they add to the sequence the backbone reads
    (`pipelines.peft_dept.hooks`), so that a decoder's label tokens and an output matrix tied to it stay as they are.

    Args:
        base_layer: The word embedding, frozen.
    """

    adapter_layer_names = ("dept_prompt", "dept_A", "dept_B")
    other_param_names = ("gamma",)

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.dept_prompt = nn.ParameterDict({})
        self.dept_A = nn.ParameterDict({})
        self.dept_B = nn.ParameterDict({})
        self.gamma: dict[str, float] = {}
        self._cache: _Cache | None = None

    @property
    def vocabulary(self) -> Tensor:
        """The frozen word embeddings, ``(V, d)``."""
        weight = BaseTunerLayer.get_base_layer(self).weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def active(self) -> list[str]:
        """Names of the active adapters: one, or none."""
        names: Any = self._active_adapter
        return [names] if isinstance(names, str) else list(names)

    def forward(self, *args: object, **kwargs: object) -> Tensor:
        """The word embeddings of token ids, without update."""
        embedded = self.base_layer(*args, **kwargs)
        assert isinstance(embedded, Tensor)
        return embedded

    def add_adapter(self, name: str, config: DeptConfig, prompt_ids: Sequence[int] | None) -> None:
        """Make a new adapter's factors, float32 or the backbone's type where that is wider, where the backbone is.

        Args:
            name: Of the adapter.
            config: Its sizes and how it starts.
            prompt_ids: Token ids to start ``P_s`` from, repeated to m rows, for ``prompt_init="text"``.

        Raises:
            ValueError: If what is given does not fit m, r, s and the width of the word embeddings.
        """
        weight = self.vocabulary
        factors = fresh_factors(config, weight, prompt_ids)
        dtype = torch.promote_types(torch.float32, weight.dtype)
        for parameters, tensor in (
            (self.dept_prompt, factors.prompt),
            (self.dept_A, factors.A),
            (self.dept_B, factors.B),
        ):
            parameters[name] = nn.Parameter(tensor.to(weight.device, dtype, copy=True))
        self.gamma[name] = factors.gamma
        BaseTunerLayer.set_adapter(self, self.active, inference_mode=config.inference_mode)

    def factors(self, name: str) -> Factors:
        """The tensors of an adapter; of ``__base__``, tensors of no rows."""
        if name == BASE:
            weight = self.vocabulary
            empty = weight.new_zeros(0, weight.shape[1], dtype=torch.promote_types(torch.float32, weight.dtype))
            return Factors(empty, empty.new_zeros(0, 0), empty, 1.0)
        return Factors(self.dept_prompt[name], self.dept_A[name], self.dept_B[name], self.gamma[name])

    def stacked(self, names: Sequence[str]) -> tuple[Stacked, list[int]]:
        """Prompts and updates for a batch, and the slot of each of ``names`` in them.

        Where no gradient is wanted, A·B of all adapters is computed once and kept until a parameter changes; it takes
        s·d numbers for each adapter.
        """
        if torch.is_grad_enabled():
            present = list(dict.fromkeys(names))
            return stack([self.factors(name) for name in present]), [present.index(name) for name in names]
        known = [BASE, *self.dept_prompt]
        if self._cache is None or self._cache.state != self._state():
            self._cache = _Cache(self._state(), stack([self.factors(name) for name in known]))
        places = [known.index(name) for name in names]
        return _narrowed(self._cache.stacked, max(self.factors(name).m for name in set(names))), places

    def _state(self) -> tuple[tuple[object, ...], ...]:
        named = [(n, p) for group in self.adapter_layer_names for n, p in getattr(self, group).items()]
        versions = ((name, p.data_ptr(), p._version, p.dtype, p.device, p.shape) for name, p in named)
        return (*versions, tuple(self.gamma.items()))


def _narrowed(stacked: Stacked, M: int) -> Stacked:
    """With prompts of the last M rows alone: longer ones are not in the batch."""
    return Stacked(
        stacked.prompts[:, stacked.prompts.shape[1] - M :], stacked.updates, stacked.m, stacked.first, stacked.length
    )


def fresh_factors(config: DeptConfig, weight: Tensor, prompt_ids: Sequence[int] | None) -> Factors:
    """Factors as the configuration starts them, on the CPU, drawn from torch's own generator.

    Args:
        config: Sizes and initialisation.
        weight: The word embeddings, ``(V, d)``.
        prompt_ids: Token ids of the text to start from.
    """
    V, d = weight.shape
    if isinstance(config.given, Factors):
        if config.given.prompt.shape[1] != d:
            raise ValueError(f"the given factors have d={config.given.prompt.shape[1]}, the backbone has d={d}")
        return config.given
    m, r = config.m, config.rank(d)
    generator = torch.default_generator
    match config.prompt_init:
        case "vocabulary":
            if m > V:
                raise ValueError(f"m={m} prompt rows cannot be drawn from a vocabulary of {V} rows: lower m")
            prompt = weight[torch.randperm(V, generator=generator)[:m].to(weight.device)]
        case "text":
            assert prompt_ids
            prompt = weight[[prompt_ids[i % len(prompt_ids)] for i in range(m)]]
        case "normal":
            rms = weight.float().pow(2).mean().sqrt()
            prompt = torch.empty(m, d).normal_(generator=generator).to(rms.device) * rms
        case "given":
            assert config.given is not None
            prompt = config.given
            if prompt.shape != (m, d):
                raise ValueError(f"the given prompt has shape {tuple(prompt.shape)}, not (m, d) = {(m, d)}")
        case "stored":
            prompt = torch.zeros(m, d)
    A = initial_A(config.s, r, generator=generator, gaussian=config.a_init == "gaussian")
    return Factors(prompt.detach().float().cpu(), A, torch.zeros(r, d), config.scale(r))
