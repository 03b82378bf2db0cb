"""The tuner layer: it wraps the backbone's word embedding, passes it through, and holds every adapter's factors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from pipelines.methods.dept import Factors, Stacked, initial_A, stack, update_of, vocabulary_rows
from pipelines.peft_dept.config import DeptConfig

if TYPE_CHECKING:
    from pipelines.peft_dept.hooks import Hooks

BASE = "__base__"
"""Name, in a list of adapters by row, of rows that are to be read by the backbone as it is; PEFT's own word for it."""


@dataclass(frozen=True)
class _Computed:
    """γ·A·B of an adapter, and the parameters it was computed from: held, so that no others can take their places."""

    parameters: tuple[Tensor, ...]
    state: tuple[object, ...]
    update: Tensor


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
        self.hooks: Hooks | None = None
        self._computed: dict[str, _Computed] = {}

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
        factors = fresh_factors(config, self, prompt_ids)
        weight = self.vocabulary
        dtype = torch.promote_types(torch.float32, weight.dtype)
        for parameters, tensor in (
            (self.dept_prompt, factors.prompt),
            (self.dept_A, factors.A),
            (self.dept_B, factors.B),
        ):
            parameters[name] = nn.Parameter(tensor.to(weight.device, dtype, copy=True))
        self.gamma[name] = factors.gamma

    def delete_adapter(self, adapter_name: str) -> None:
        """Forget an adapter and what was computed for it."""
        self._computed.pop(adapter_name, None)
        BaseTunerLayer.delete_adapter(self, adapter_name)

    def factors(self, name: str) -> Factors:
        """The tensors of an adapter; of ``__base__``, tensors of no rows."""
        if name == BASE:
            weight = self.vocabulary
            empty = weight.new_zeros(0, weight.shape[1], dtype=torch.promote_types(torch.float32, weight.dtype))
            return Factors(empty, empty.new_zeros(0, 0), empty, 1.0)
        return Factors(self.dept_prompt[name], self.dept_A[name], self.dept_B[name], self.gamma[name])

    def stacked(self, names: Sequence[str]) -> tuple[Stacked, list[int]]:
        """Prompts and updates for a batch, and the slot of each of ``names`` in them.

        A·B of an adapter that is not being trained is computed once, and again when its parameters change; kept, it
        takes s·d numbers.
        """
        present = list(dict.fromkeys(names))
        factors = [self.factors(name) for name in present]
        updates = [self._update(name, own) for name, own in zip(present, factors, strict=True)]
        return stack([own.prompt for own in factors], updates), [present.index(name) for name in names]

    def _update(self, name: str, factors: Factors) -> Tensor:
        if name == BASE:
            return factors.B
        parameters = (factors.A, factors.B)
        if torch.is_grad_enabled() and any(p.requires_grad for p in parameters):
            self._computed.pop(name, None)  # an optimiser may write where no version is counted
            return update_of(factors)
        state = (factors.gamma, *(_state(p) for p in parameters))
        known = self._computed.get(name)
        if known is None or known.state != state or any(map(operator.is_not, known.parameters, parameters)):
            known = self._computed[name] = _Computed(parameters, state, update_of(factors))
        return known.update


def _state(p: Tensor) -> tuple[object, ...]:
    """What changes when a tensor is written to or moved; one made in inference mode has no version."""
    return p.data_ptr(), None if p.is_inference() else p._version, p.dtype, p.device


@torch.no_grad()
def fresh_factors(config: DeptConfig, layer: DeptLayer, prompt_ids: Sequence[int] | None) -> Factors:
    """Factors as the configuration starts them, on the CPU, drawn from torch's own generator.

    Args:
        config: Sizes and initialisation.
        layer: Looks word embeddings up as the backbone does, scaled where it scales them.
        prompt_ids: Token ids of the text to start from.
    """
    V, d = layer.vocabulary.shape
    if isinstance(config.given, Factors):
        if config.given.prompt.shape[1] != d:
            raise ValueError(f"the given factors have d={config.given.prompt.shape[1]}, the backbone has d={d}")
        return config.given
    m, r = config.m, config.rank(d)
    generator = torch.default_generator
    device = layer.vocabulary.device
    match config.prompt_init:
        case "vocabulary":
            ids = vocabulary_rows(m, torch.arange(V, device=device)[:, None], generator)[:, 0]
            prompt = layer(ids)
        case "text":
            assert prompt_ids
            prompt = layer(torch.tensor([prompt_ids[i % len(prompt_ids)] for i in range(m)], device=device))
        case "normal":
            rms = layer(torch.arange(V, device=device)).float().pow(2).mean().sqrt()
            prompt = torch.empty(m, d).normal_(generator=generator).to(device) * rms
        case "given":
            assert config.given is not None
            prompt = config.given
            if prompt.shape != (m, d):
                raise ValueError(f"the given prompt has shape {tuple(prompt.shape)}, not (m, d) = {(m, d)}")
        case "stored":
            prompt = torch.zeros(m, d)
    A = initial_A(config.s, r, generator=generator, gaussian=config.a_init == "gaussian")
    return Factors(prompt.detach().float().cpu(), A, torch.zeros(r, d), config.scale(r))
