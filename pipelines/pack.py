"""A pack: slots trained together in one forward and backward pass of one backbone.

A step draws each slot's batch, puts all rows together, sorts them by length and cuts them into chunks of a bounded
number of tokens; a chunk holds rows of any slots. The losses are means over each slot's rows, summed over slots, so
every slot gets the gradient it would get alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from pipelines.backbone import Backbone
from pipelines.dropout import row_keys, with_dropout
from pipelines.encode import Batch, Encoded, chunks, collate
from pipelines.errors import PipelineError
from pipelines.families import FAMILIES, Embed, SlotView
from pipelines.judging import Judgement, Said, judge
from pipelines.memory import FEWEST_TOKENS, is_out_of_memory, release
from pipelines.methods.dept import Inputs, input_embeddings
from pipelines.parallel import ALONE, Share
from pipelines.slot import Slot

CHUNK_TOKENS = {"cpu": 1024, "cuda": 65536}
"""Tokens in a pass where nothing was measured; see `pipelines.fitting`."""

_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


def _shrinking(work: Callable[Concatenate[Pack, P], T]) -> Callable[Concatenate[Pack, P], T]:
    """A method of a pack that, when memory runs out, begins again with half as many tokens in a pass.

    Half-made gradients are thrown away, so the numbers are those of a pack that had so few tokens from the start.

    Raises:
        PipelineError: If a single row does not fit; whoever runs the pack may split it.
    """

    @wraps(work)
    def redone(pack: Pack, /, *args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            try:
                return work(pack, *args, **kwargs)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error) or type(error).__name__
            # outside the handler, for the error's frames hold the tensors of the pass
            for slot in pack.slots:
                slot.discard_gradients()
            release(pack.backbone.device)
            if pack.chunk_tokens <= FEWEST_TOKENS:
                raise PipelineError(
                    f"out of memory with {len(pack.slots)} slots and one row in a pass ({reason.splitlines()[0]}): "
                    "lower --max-length, --m or --pack, or take a smaller backbone"
                )
            pack.chunk_tokens //= 2
            _log.warning("out of memory: going on with %d tokens in a pass", pack.chunk_tokens)

    return redone


class Pack:
    """Trains slots together.

    Args:
        backbone: Frozen.
        slots: To be trained; they need not have anything in common but the backbone.
        chunk_tokens: Tokens in one forward pass at most; by default what suits the device. Halved, and what was under
            way done again, whenever memory runs out.
        share: This process's part, if several train the pack together.
    """

    def __init__(
        self, backbone: Backbone, slots: Sequence[Slot], chunk_tokens: int | None = None, share: Share = ALONE
    ) -> None:
        for slot in slots:
            # a decoder's answer stands in the same sequence
            word = slot.data.answer_limit if backbone.info.family == "decoder" else 0
            backbone.info.check_length(slot.spec.m, slot.spec.s, word)
        self.backbone = backbone
        self.slots = list(slots)
        self.family = FAMILIES[backbone.info.family]
        self.chunk_tokens = chunk_tokens or CHUNK_TOKENS[backbone.device.type]
        self.share = share

    @property
    def training(self) -> list[Slot]:
        """The slots that still train."""
        return [slot for slot in self.slots if slot.status == "training"]

    def step(self) -> list[Slot]:
        """One optimiser step of every slot that still trains.

        Returns:
            The slots that were then evaluated on dev, because an evaluation of theirs or their last step was due.
        """
        slots = self.training
        self._update(slots)
        due = [slot for slot in slots if slot.due]
        self.judge(due)
        return due

    def judge(self, slots: Sequence[Slot]) -> None:
        """Evaluate slots on dev and let each decide whether to go on; one without dev rows goes on."""
        sets = {slot: slot.data.dev for slot in slots}
        with_dev = {slot: rows for slot, rows in sets.items() if rows is not None}
        for slot, found in zip(with_dev, self.evaluate([*with_dev], [*with_dev.values()]), strict=True):
            slot.judge(found.quality)
        for slot in slots:
            if slot not in with_dev:
                slot.go_on()

    def evaluate(self, slots: Sequence[Slot], sets: Sequence[Encoded], *, final: bool = False) -> list[Judgement]:
        """How good each slot is on its set.

        Args:
            slots: To be evaluated.
            sets: For each slot its rows.
            final: Whether to generate as well where slots are chosen by likelihood: for the metric of answers in words,
                and for the agreement of both ways of scoring classes.
        """
        said = [Said() for _ in slots]
        written = self.backbone.info.family != "encoder"
        for k, scores in self._some(slots, sets, lambda s: not written or s.data.classes > 0, self.scores):
            said[k] = replace(said[k], scores=scores)
        for k, values in self._some(slots, sets, lambda s: written and not s.data.classes, self.likelihoods):
            said[k] = replace(said[k], likelihood=values)
        for k, ids in self._some(
            slots, sets, lambda s: written and (final or s.data.scoring == "generation"), self.generate
        ):
            said[k] = replace(said[k], generated=ids)
        judged = [
            judge(slot.data, rows.gold, own, self._read) for slot, rows, own in zip(slots, sets, said, strict=True)
        ]
        return self.share.agree(judged, self.backbone.device)

    def _read(self, generated: Sequence[Sequence[int]]) -> list[str]:
        tokenizer = self.backbone.tokenizer
        return [tokenizer.decode(list(ids), skip_special_tokens=True) for ids in generated]

    def chosen_without_metric(self, slot: Slot) -> bool:
        """Whether a slot's answers in words are scored by their likelihood alone while it is chosen."""
        written = self.backbone.info.family != "encoder"
        return written and not slot.data.classes and slot.data.scoring == "likelihood"

    def _update(self, slots: Sequence[Slot]) -> None:
        rows = [(k, slot.data.train, i) for k, slot in enumerate(slots) for i in slot.next_rows()]
        losses = self.backward(slots, rows)
        if self.share.size > 1:
            losses = self._add_up(slots, losses)
        for slot, loss in zip(slots, losses, strict=True):
            slot.update(loss)

    def _add_up(self, slots: Sequence[Slot], losses: Sequence[float]) -> list[float]:
        """Gradients and losses of all processes' rows, in one message."""
        sums = torch.tensor(losses, dtype=slots[0].dtype)
        parameters = [parameter for slot in slots for parameter in slot.params.values()]
        for parameter in parameters:  # none of a slot's rows need be among this process's
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        self.share.add_up([*(p.grad for p in parameters if p.grad is not None), sums], self.backbone.device)
        values: list[float] = sums.tolist()
        return values

    @_shrinking
    def backward(self, slots: Sequence[Slot], rows: Sequence[tuple[int, Encoded, int]]) -> list[float]:
        """Gradients of a step's rows, left in the slots' tensors; returns each slot's loss."""
        sizes = torch.tensor([k for k, _, _ in rows]).bincount(minlength=len(slots))
        rows = [rows[i] for i in self.share.mine(self._lengths(slots, rows))]
        losses = torch.zeros(len(slots), dtype=torch.float64)
        for chosen in chunks(self._lengths(slots, rows), self.chunk_tokens):
            present, batch_rows = _renumber([rows[i] for i in chosen])
            batch = collate(batch_rows, self.backbone.device)
            here = [slots[k] for k in present]
            embed = self._embed(here)
            if any(slot.spec.dropout for slot in here):
                of_row = [(here[n].spec, here[n].step, i) for n, _, i in batch_rows]
                keys = row_keys(*zip(*((spec.seed, step, i) for spec, step, i in of_row), strict=True))
                rates = torch.tensor([spec.dropout for spec, _, _ in of_row], dtype=here[0].dtype)
                embed = with_dropout(embed, rates.to(self.backbone.device), keys.to(self.backbone.device))
            row_losses = self.family.losses(self.backbone, batch, embed, self._views(here))
            weights = (1 / sizes[present].to(row_losses))[batch.slot]
            weighted = row_losses * weights
            torch.autograd.backward(weighted.sum())
            owner = torch.tensor(present)[batch.slot.cpu()]
            losses.index_add_(0, owner, weighted.detach().cpu().double())
        values: list[float] = losses.tolist()
        return values

    @_shrinking
    def scores(self, slots: Sequence[Slot], sets: Sequence[Encoded]) -> list[Tensor]:
        """Scores of each slot for each row of its set, see `Family.scores`: ``(rows, outputs)``, on the CPU."""
        found = self._over(
            slots,
            sets,
            lambda here, batch, embed, views: list(self.family.scores(self.backbone, batch, embed, views).cpu()),
        )
        return [
            torch.stack([row[: slot.data.outputs] for row in rows]).to(slot.dtype)
            for slot, rows in zip(slots, found, strict=True)
        ]

    @_shrinking
    def likelihoods(self, slots: Sequence[Slot], sets: Sequence[Encoded]) -> list[Tensor]:
        """Mean log-likelihood per token of each row's target: ``(rows,)`` tensors on the CPU."""
        found = self._over(
            slots,
            sets,
            lambda here, batch, embed, views: list(-self.family.losses(self.backbone, batch, embed, views).cpu()),
        )
        return [torch.stack(rows) for rows in found]

    @_shrinking
    def generate(self, slots: Sequence[Slot], sets: Sequence[Encoded]) -> list[list[list[int]]]:
        """What each slot answers to each row of its set: token ids, at most its `SlotData.answer_limit`."""

        def say(here: Sequence[Slot], batch: Batch, embed: Embed, views: Sequence[SlotView]) -> list[list[int]]:
            limits = [here[k].data.answer_limit for k in batch.slot.tolist()]
            said = self.family.generate(self.backbone, batch, embed, views, max(limits))
            return [ids[:limit] for ids, limit in zip(said, limits, strict=True)]  # as the slot would alone

        return self._over(slots, sets, say, generated=True)

    @torch.no_grad()
    def _over(
        self,
        slots: Sequence[Slot],
        sets: Sequence[Encoded],
        say: Callable[[Sequence[Slot], Batch, Embed, Sequence[SlotView]], Sequence[T]],
        *,
        generated: bool = False,
    ) -> list[list[T]]:
        """Something for each row of each slot's set, in the rows' order; rows of several slots are read together."""
        rows = [(k, encoded, i) for k, encoded in enumerate(sets) for i in range(len(encoded))]
        rows = [rows[i] for i in self.share.mine(self._lengths(slots, rows, generated=generated))]
        out: list[dict[int, T]] = [{} for _ in sets]
        for chosen in chunks(self._lengths(slots, rows, generated=generated), 2 * self.chunk_tokens):
            present, batch_rows = _renumber([rows[i] for i in chosen])
            here = [slots[k] for k in present]
            batch = collate(batch_rows, self.backbone.device)
            values = say(here, batch, self._embed(here), self._views(here))
            for (k, _, i), value in zip((rows[j] for j in chosen), values, strict=True):
                out[k][i] = _alone(value)
        for others in self.share.gather(out):
            for found, other in zip(out, others, strict=True):
                found |= other
        return [[found[i] for i in range(len(found))] for found in out]

    @staticmethod
    def _some(
        slots: Sequence[Slot],
        sets: Sequence[Encoded],
        wanted: Callable[[Slot], bool],
        pass_over: Callable[[Sequence[Slot], Sequence[Encoded]], list[T]],
    ) -> list[tuple[int, T]]:
        """One pass over the slots that want it, with their places."""
        places = [k for k, slot in enumerate(slots) if wanted(slot)]
        found = pass_over([slots[k] for k in places], [sets[k] for k in places]) if places else []
        return list(zip(places, found, strict=True))

    @staticmethod
    def _lengths(
        slots: Sequence[Slot], rows: Sequence[tuple[int, Encoded, int]], *, generated: bool = False
    ) -> list[int]:
        """Tokens of each row with its prompt and its answer: the row's own, or as many as may be generated."""
        around = [slot.spec.m + (slot.data.answer_limit if generated or slot.data.words else 0) for slot in slots]
        return [
            around[k] + int(e.offsets[i + 1] - e.offsets[i]) + (0 if generated else len(e.gold.target(i)))
            for k, e, i in rows
        ]

    def _embed(self, slots: Sequence[Slot]) -> Embed:
        factors = [slot.factors for slot in slots]

        def embed(tokens: Tensor, mask: Tensor, slot_of_row: Tensor, text: Tensor | None = None) -> Inputs:
            return input_embeddings(tokens.to(factors[0].prompt.dtype), mask, factors, slot_of_row, text)

        return embed

    @staticmethod
    def _views(slots: Sequence[Slot]) -> list[SlotView]:
        return [
            SlotView(
                s.data.classes,
                s.head,
                [torch.tensor(word, dtype=torch.long) for word in s.data.words],
                s.data.value_range or (0.0, 1.0),
            )
            for s in slots
        ]


def _alone(value: T) -> T:
    """A view of a tensor would travel to other processes as the whole tensor."""
    return value.clone() if isinstance(value, Tensor) else value  # type: ignore[return-value]


def _renumber(rows: Sequence[tuple[int, Encoded, int]]) -> tuple[list[int], list[tuple[int, Encoded, int]]]:
    """The slots that occur, and the rows with slots counted among those alone."""
    present = sorted({k for k, _, _ in rows})
    place = {k: n for n, k in enumerate(present)}
    return present, [(place[k], encoded, i) for k, encoded, i in rows]
