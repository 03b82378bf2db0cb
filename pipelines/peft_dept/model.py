"""The tuner: what PEFT calls to add, switch, disable, save and remove DePT adapters."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import AuxiliaryTrainingWrapper
from torch import nn

from pipelines.architecture import WORD_EMBEDDINGS, architecture_of, check_length
from pipelines.peft_dept.config import DeptConfig
from pipelines.peft_dept.hooks import Hooks
from pipelines.peft_dept.layer import BASE, DeptLayer
from pipelines.peft_dept.scope import during

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TENSORS = ("dept_prompt", "dept_A", "dept_B")


class DeptModel(BaseTuner):  # type: ignore[misc]
    """A backbone with DePT adapters; made by ``get_peft_model(model, DeptConfig(...))``.

    Beyond what PEFT's tuners do:

    - ``adapter_names=[...]`` in a call or in ``generate`` names the adapter of each row, ``__base__`` for none.
    - ``text_mask``, bool, ``(N, L)``, says which tokens are text and get the update. Without it a decoder's labels say
      so (text ends before the first label that counts), then ``generate`` (what was given is text, what is generated is
      not), and else every token of a call without cache is text.
    - Outputs have the shapes they have without DePT; see `pipelines.peft_dept.hooks`.

    Args:
        model: A transformers model.
        peft_config: A `DeptConfig`, or several by adapter name.
        adapter_name: Of the first adapter.
    """

    prefix = "dept_"
    tuner_layer_cls = DeptLayer

    def _post_injection_hook(self, model: nn.Module, config: DeptConfig, adapter_name: str) -> None:
        if self.layer.hooks is None:  # a backbone that has adapters already has them
            self.layer.hooks = Hooks(self.model, self.layer)
        self.hooks = self.layer.hooks

    @property
    def layer(self) -> DeptLayer:
        """The layer that holds every adapter's factors."""
        layer = self.model.get_input_embeddings()
        assert isinstance(layer, DeptLayer)
        return layer

    # Making adapters

    def inject_adapter(
        self,
        model: PreTrainedModel,
        adapter_name: str,
        autocast_adapter_dtype: bool = True,
        low_cpu_mem_usage: bool = False,
        state_dict: dict[str, torch.Tensor] | None = None,
    ) -> None:
        """See the base class. The word embedding is its only target, whatever it is called."""
        # a copy, because what is found for this backbone is written into it
        config = self.peft_config[adapter_name] = copy.copy(self.peft_config[adapter_name])
        if model.config.model_type not in WORD_EMBEDDINGS:
            warnings.warn(
                f"DePT is not tested on models of type {model.config.model_type!r}: see that an adapter with m=0 "
                "changes no output before it is trained",
                stacklevel=3,
            )
        embedding = model.get_input_embeddings()
        config.target_modules = [name for name, module in model.named_modules() if module is embedding]
        try:
            super().inject_adapter(model, adapter_name, autocast_adapter_dtype, low_cpu_mem_usage)
        finally:
            config.target_modules = None  # else PEFT would store the whole embedding with the adapter

    def _check_new_adapter_config(self, config: DeptConfig) -> None:
        super()._check_new_adapter_config(config)
        architecture = architecture_of(self.model.config)
        s = config.s if config.r != 0 else 0  # a prompt alone asks for no place of the text
        check_length(architecture.position_limit, config.m, s, name=type(self.model).__name__)

    def _check_tied_modules(self, model: nn.Module, peft_config: DeptConfig) -> None:
        """Nothing to check: the embedding's weight, tied or not, is only read."""

    def _get_tied_target_modules(self, model: nn.Module) -> list[str]:
        return []

    def _create_and_replace(
        self,
        peft_config: DeptConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        layer = target if isinstance(target, DeptLayer) else DeptLayer(target)
        layer.add_adapter(adapter_name, peft_config, self._prompt_ids(peft_config))
        peft_config.r = layer.factors(adapter_name).r
        if layer is not target:
            self._replace_module(parent, target_name, layer, target)

    def _prompt_ids(self, config: DeptConfig) -> list[int] | None:
        if config.prompt_init == "text" and config.prompt_init_ids is None:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(
                config.tokenizer_name_or_path or config.base_model_name_or_path or self.model.config.name_or_path
            )
            config.prompt_init_ids = tokenizer(config.prompt_init_text, add_special_tokens=False).input_ids
        return config.prompt_init_ids

    # Using them

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """PEFT wraps calls and generation in this; it takes ``adapter_names`` out of them afterwards."""
        with self._rows(kwargs.get("adapter_names")):
            yield

    @contextmanager
    def _rows(self, names: Sequence[str] | None) -> Iterator[None]:
        if names is None:
            yield
            return
        if isinstance(names, str) or not names:
            raise ValueError(f"adapter_names must name the adapter of each row, got {names!r}")
        if unknown := {*names} - {BASE, *self.layer.gamma}:
            there = ", ".join(self.layer.gamma)
            raise ValueError(f"unknown adapters {', '.join(sorted(unknown))}: there are {there}, and {BASE}")
        heads = [module for module in self.model.modules() if isinstance(module, AuxiliaryTrainingWrapper)]
        with ExitStack() as stack:
            stack.enter_context(during(self.hooks, rows=names))
            for head in heads:  # a classifier of each adapter's own
                handle = head.register_forward_pre_hook(
                    lambda module, args, kwargs: (args, kwargs | {"adapter_names": names}), with_kwargs=True
                )
                stack.callback(handle.remove)
            yield

    def forward(self, *args: Any, adapter_names: Sequence[str] | None = None, **kwargs: Any) -> Any:
        """Call the model."""
        with self._rows(adapter_names), during(self.hooks):
            return self.model(*args, **kwargs)

    def generate(self, *args: Any, adapter_names: Sequence[str] | None = None, **kwargs: Any) -> Any:
        """Generate; what is given is text and gets the update, what is generated does not."""
        given = (
            args[0]
            if args
            else next(
                (kwargs[name] for name in ("inputs", "input_ids", "inputs_embeds") if kwargs.get(name) is not None),
                None,
            )
        )
        columns = 1 if given is None else given.shape[1]  # without input, generation starts from one token
        with self._rows(adapter_names), during(self.hooks, given_columns=columns):
            return self.model.generate(*args, **kwargs)

    def set_adapter(self, adapter_name: str | list[str], inference_mode: bool = False) -> None:
        """Make an adapter the active one.

        Raises:
            ValueError: If several are named: a text has one prompt.
        """
        if not isinstance(adapter_name, str) and len(adapter_name) > 1:
            raise ValueError(
                f"only one DePT adapter can be active, got {adapter_name}: name one, or give each row of a batch its "
                "own by adapter_names"
            )
        super().set_adapter(adapter_name, inference_mode)

    # Removing and storing them

    def _unload_and_optionally_merge(
        self,
        merge: bool = True,
        progressbar: bool = False,
        safe_merge: bool = False,
        adapter_names: list[str] | None = None,
    ) -> nn.Module:
        if merge:
            raise ValueError("DePT changes the inputs, not the weights: it cannot be merged; unload() removes it")
        self.hooks.remove()
        model = super()._unload_and_optionally_merge(merge=False, progressbar=progressbar)
        assert isinstance(model, nn.Module)
        return model

    def _check_merge_allowed(self) -> None:
        raise ValueError("DePT changes the inputs, not the weights: it cannot be merged")

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: DeptConfig,
        adapter_name: str,
        state_dict: dict[str, torch.Tensor],
        unwanted_adapter_names: list[str],
    ) -> dict[str, torch.Tensor]:
        """Our tensors alone, whatever other tuners' lie in the same backbone."""
        return {key: tensor for key, tensor in state_dict.items() if key.split(".")[-2:] in _places(adapter_name)}

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        """``dept_prompt``, ``dept_A`` and ``dept_B`` in a file, whatever the backbone calls its word embedding."""
        path = key.split(".")
        if path[-2:] in _places(adapter_name):
            return path[-2]
        shorter = super()._remove_adapter_name_from_key(key, adapter_name)
        assert isinstance(shorter, str)
        return shorter


def _places(adapter_name: str) -> list[list[str]]:
    """How the names of an adapter's tensors end."""
    return [[tensor, adapter_name] for tensor in TENSORS]
