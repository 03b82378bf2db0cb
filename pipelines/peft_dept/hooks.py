"""Where the adapters meet the backbone: hooks around the modules that read a sequence.

From outside, a model with DePT has the shapes it has without: an encoder's or a decoder's prompt rows are cut off again
behind the last layer, so that logits stand at the text's own places and labels need no padding. Only an encoder-decoder
keeps them, inside: its decoder looks at them.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pipelines.architecture import Architecture, architecture_of, check_length
from pipelines.methods.dept import Stacked, add_updates, count_positions, prepend_prompts, prompt_mask, text_order
from pipelines.peft_dept.scope import Scope, scope_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipelines.peft_dept.layer import DeptLayer

Change = Callable[["Hooks", nn.Module, dict[str, Any]], None]

IGNORED = -100
"""The label of tokens that no loss is taken at."""

NO_TEXT = "every token has a label, so none is text and A·B is not trained: label the answer alone, or give text_mask"
ALL_TEXT = (
    "a decoder in training sees neither labels nor text_mask, so every token gets the update, answers too, which they "
    "will not get in generation: pass labels, or text_mask (with remove_unused_columns=False in a Trainer)"
)


def _exactly(change: Change) -> Change:
    """Out of reach of autocast, which would round the frozen embeddings along with the factors."""

    @wraps(change)
    def wrapped(self: Hooks, module: nn.Module, call: dict[str, Any]) -> None:
        with torch.autocast(self.layer.vocabulary.device.type, enabled=False):
            change(self, module, call)

    return wrapped


@dataclass(eq=False)
class Hooks:
    """The hooks on one backbone.

    Args:
        model: The transformers model.
        layer: Holds the factors.
    """

    model: PreTrainedModel
    layer: DeptLayer
    architecture: Architecture = field(init=False)
    _takes_positions: bool = field(init=False, default=False)
    _handles: list[RemovableHandle] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.architecture = architecture_of(self.model.config)
        self._before(self.model, self._note_text)
        self._handles.append(self.model.register_forward_hook(self._forget_text, always_call=True))
        if self.architecture.family == "encoder-decoder":
            self._before(self.model.get_encoder(), self._into_encoder)
            if (decoder := getattr(self.model, "get_decoder", lambda: None)()) is not None:
                self._before(decoder, self._into_cross_attention)
        else:
            trunk = getattr(self.model, self.model.base_model_prefix, self.model)
            if self.architecture.family == "decoder":
                trunk = self.model.get_decoder()  # OPT calls it past its own base model
            self._takes_positions = "position_ids" in inspect.signature(trunk.forward).parameters
            self._before(trunk, self._into_trunk)
            self._handles.append(trunk.register_forward_hook(self._out_of_trunk))

    @property
    def scope(self) -> Scope:
        """What is known of the call under way in this thread."""
        return scope_of(self)

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _before(self, module: Any, change: Callable[[Any, dict[str, Any]], None]) -> None:
        """Let ``change`` edit a module's arguments, by name, before it is called."""
        names = tuple(inspect.signature(module.forward).parameters)
        hook = partial(_edit, change, names)  # not a closure: it has to follow the model into a deep copy
        self._handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    # The whole model: which tokens are text

    def _note_text(self, model: PreTrainedModel, call: dict[str, Any]) -> None:
        """A caller may name the text by ``text_mask``; in a language model, text ends where labels begin."""
        text, labels = call.pop("text_mask", None), call.get("labels")
        if text is None and self.architecture.family == "decoder" and model.get_output_embeddings() is not None:
            if labels is not None:
                text = (labels != IGNORED).cumsum(1) == 0
            if model.training and self._active is not None and (text is None or not bool(text.any())):
                warnings.warn(NO_TEXT if labels is not None else ALL_TEXT, stacklevel=2)
        self.scope.text = None if text is None else text.bool()

    def _forget_text(self, model: nn.Module, args: object, output: object) -> None:
        self.scope.text = None

    # Encoders and decoders: in and out

    @_exactly
    def _into_trunk(self, trunk: nn.Module, call: dict[str, Any]) -> None:
        self.scope.added = 0
        if self._active is None:
            return
        past = _cached(call.get("past_key_values"))
        tokens, stacked, slot = self._tokens(call)
        N, L = tokens.shape[:2]
        before = max(0, past - stacked.prompts.shape[1])  # text columns the cache holds
        mask = _mask(call, N, before + L, tokens.device)
        if before and not bool(mask[:, :before].any(1).all()):
            raise ValueError("a row's text begins behind the cache: read its first tokens in the first call")
        order = text_order(mask, self._text(mask, before))[:, before:]
        embedded = add_updates(tokens.to(stacked.updates.dtype), order, stacked, slot)
        full = torch.cat([prompt_mask(stacked, slot), mask], 1)
        self._check_limit(full, stacked, slot)
        positions = count_positions(full) + self.architecture.first_position
        if (given := call.get("position_ids")) is not None:  # those of the text; the prompt's come before
            own = given.expand(N, -1) + stacked.m[slot][:, None]
            positions = torch.cat([positions[:, :-L], own], 1)
        places = self._arrangement(full, mask)
        if past:
            positions = positions[:, -L:]
        else:
            embedded = _arranged(prepend_prompts(embedded, mask, stacked, slot).embeddings, places)
            positions = _arranged(positions, places)
            self.scope.added = stacked.prompts.shape[1]
        call |= {"inputs_embeds": embedded.to(tokens.dtype), "attention_mask": _arranged(full, places).long()}
        if self._takes_positions:
            call["position_ids"] = positions
        if (types := call.get("token_type_ids")) is not None:
            longer = torch.cat([types.new_zeros(N, embedded.shape[1] - L), types], 1)
            call["token_type_ids"] = longer if past else _arranged(longer, places)

    def _out_of_trunk(self, trunk: Any, args: object, output: Any) -> Any:
        """Cut the prompt's places off everything of shape ``(N, M + L, ...)``; attention maps stay as they are."""
        M, self.scope.added = self.scope.added, 0
        if not M:
            return output
        if isinstance(output, tuple):
            values = [_cut(value, M) for value in output]
            if len(values) > 1 and _pooler(trunk) and isinstance(values[1], Tensor):
                values[1] = trunk.pooler(values[0])
            return type(output)(values)
        assert isinstance(output, dict)
        for name in list(output):
            if name != "past_key_values":
                output[name] = _cut(output[name], M)
        if output.get("pooler_output") is not None and _pooler(trunk):
            output["pooler_output"] = trunk.pooler(output["last_hidden_state"])
        return output

    # Encoder-decoders: in, and what the decoder may look at

    @_exactly
    def _into_encoder(self, encoder: nn.Module, call: dict[str, Any]) -> None:
        if self._active is None:
            return
        tokens, stacked, slot = self._tokens(call)
        mask = _mask(call, tokens.shape[0], tokens.shape[1], tokens.device)
        order = text_order(mask, self._text(mask, 0))
        embedded = add_updates(tokens.to(stacked.updates.dtype), order, stacked, slot)
        inputs = prepend_prompts(embedded, mask, stacked, slot)
        self._check_limit(inputs.mask, stacked, slot)
        places = self._arrangement(inputs.mask, mask)
        embeddings = _arranged(inputs.embeddings, places)
        call |= {"inputs_embeds": embeddings.to(tokens.dtype), "attention_mask": _arranged(inputs.mask, places).long()}

    @_exactly
    def _into_cross_attention(self, decoder: nn.Module, call: dict[str, Any]) -> None:
        encoded = call.get("encoder_hidden_states")
        if self._active is None or encoded is None:
            return
        stacked, slot = self._stacked(encoded.shape[0], encoded.device)
        M = stacked.prompts.shape[1]
        mask = call.get("encoder_attention_mask")
        if mask is None:
            mask = encoded.new_ones(encoded.shape[0], encoded.shape[1] - M, dtype=torch.bool)
        if M == 0 or mask.shape[1] + M != encoded.shape[1]:
            return  # what was encoded without a prompt has none
        full = torch.cat([prompt_mask(stacked, slot), mask.bool()], 1)
        call["encoder_attention_mask"] = _arranged(full, self._arrangement(full, mask.bool())).long()

    # What they share

    def _arrangement(self, full: Tensor, mask: Tensor) -> Tensor | None:
        """Where each place of ``[prompt ; text]`` is to be taken from, ``(N, M + L)``; None to leave all as they are.

        Padding in front of a text would stand between it and its prompt, and distances would differ from those of a
        row without padding: it goes before the prompt. Where positions are counted over padding, all of it goes last.
        """
        if self.architecture.counts_padding:
            rank = ~full
        else:
            M = full.shape[1] - mask.shape[1]
            rank = torch.cat([full[:, :M], mask.cumsum(1) > 0], 1)
        in_place = bool((rank[:, 1:] >= rank[:, :-1]).all())
        return None if in_place else rank.long().argsort(dim=1, stable=True)

    @property
    def _active(self) -> str | None:
        """The adapter in use; None where they are disabled or there is none."""
        names = [name for name in self.layer.active if name in self.layer.gamma]
        return None if self.layer.disable_adapters or not names else names[0]

    def _tokens(self, call: dict[str, Any]) -> tuple[Tensor, Stacked, Tensor]:
        """Word embeddings ``(N, L, d)``, out of the call's ids if it has no embeddings, and its rows' factors."""
        ids, tokens = call.pop("input_ids", None), call.get("inputs_embeds")
        if tokens is None:
            tokens = self.layer(ids)
        return tokens, *self._stacked(tokens.shape[0], tokens.device)

    def _stacked(self, N: int, device: torch.device) -> tuple[Stacked, Tensor]:
        active = self._active
        assert active is not None
        names = [active] if self.scope.rows is None else self.scope.rows
        repeats = self.scope.rows is None or self.scope.given_columns is not None  # generation: each row for its beams
        if len(names) != N and not (repeats and N % len(names) == 0):
            raise ValueError(f"adapter_names names {len(names)} rows, the batch has {N}: give one name for each row")
        stacked, slots = self.layer.stacked(names)
        return stacked, torch.tensor(slots, device=device).repeat_interleave(N // len(names))

    def _text(self, mask: Tensor, before: int) -> Tensor | None:
        """Which of all columns are text: as the caller says, the given part when generating, or the first call's."""
        columns = torch.arange(mask.shape[1], device=mask.device)
        text = self.scope.text
        if text is not None:
            if text.shape != mask.shape:
                raise ValueError(f"text_mask has shape {tuple(text.shape)}, text and cache have {tuple(mask.shape)}")
            return text
        if self.scope.given_columns is not None and self.architecture.family == "decoder":
            return (columns < self.scope.given_columns).expand_as(mask)
        return (columns < 0).expand_as(mask) if before else None

    def _check_limit(self, full: Tensor, stacked: Stacked, slot: Tensor) -> None:
        limit = self.architecture.position_limit
        if limit is not None and full.shape[1] > limit:
            longest = int(full.sum(1).argmax())
            m = int(stacked.m[slot[longest]])
            check_length(limit, m, int(full[longest].sum()) - m, name=type(self.model).__name__)


def _edit(
    change: Callable[[Any, dict[str, Any]], None],
    names: Sequence[str],
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[tuple[()], dict[str, Any]]:
    """A forward pre-hook: all arguments by name, as ``change`` leaves them."""
    call = dict(zip(names, args, strict=False)) | kwargs
    change(module, call)
    return (), call


def _mask(call: Mapping[str, Any], N: int, columns: int, device: torch.device) -> Tensor:
    """The attention mask over the text's columns, bool, ``(N, columns)``."""
    mask = call.get("attention_mask")
    if mask is None:
        return torch.ones(N, columns, dtype=torch.bool, device=device)
    if not isinstance(mask, Tensor) or mask.ndim != 2:
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"DePT needs an attention_mask of shape (rows, tokens), got {shape}")
    if mask.shape != (N, columns):
        raise ValueError(f"attention_mask has shape {tuple(mask.shape)}, the text {(N, columns)}")
    return mask.bool()


def _cached(cache: Any) -> int:
    """Tokens a key-value cache holds, the prompt's among them."""
    if cache is None:
        return 0
    if getattr(cache, "is_compileable", False):
        raise ValueError("DePT lengthens the sequence, which a static cache cannot hold: use a dynamic one")
    return int(cache.get_seq_length())


def _arranged(values: Tensor, places: Tensor | None) -> Tensor:
    """Values ``(N, T)`` or ``(N, T, d)`` with each place taken from where ``places`` says."""
    if places is None:
        return values
    return values.gather(1, places if values.ndim == 2 else places[..., None].expand_as(values))


def _cut(value: Any, M: int) -> Any:
    if isinstance(value, Tensor):
        return value[:, M:] if value.ndim == 3 else value
    return tuple(_cut(item, M) for item in value) if isinstance(value, tuple) else value


def _pooler(trunk: nn.Module) -> bool:
    """Whether the model pools the first place by a module of its own, which can be asked again."""
    return type(getattr(trunk, "pooler", None)).__name__.endswith("Pooler")
