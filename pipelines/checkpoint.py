"""A checkpoint of a pack under way: everything its slots need to go on to the same numbers as if never stopped.

One safetensors file holds the tensors; the plain values stand in its header as JSON. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from pipelines.errors import PipelineError
from pipelines.spec import SlotSpec

FORMAT = "orchestrator-checkpoint-1"
HEADER = "orchestrator"


@dataclass(frozen=True)
class SlotState:
    """A slot between two steps.

    Attributes:
        values: Plain values, which JSON keeps exactly.
        tensors: On the CPU, independent of the slot's own.
    """

    values: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class PackState:
    """A pack between two evaluations or steps.

    Attributes:
        slots: State by slot key.
        reported: Keys of the slots that have been reported for the last time.
    """

    slots: Mapping[str, SlotState]
    reported: frozenset[str]

    def untold(self) -> PackState:
        """The same for whoever was told nothing yet: slots that have ended are reported once more."""
        return PackState(self.slots, frozenset())

    def as_others(self, specs: Mapping[str, SlotSpec]) -> PackState:
        """Slots of these keys as those of other specs, for whoever was told nothing yet; the rest is left out.

        Args:
            specs: By key here. They differ from what the slots had in nothing but their key and configuration.
        """
        slots = {
            spec.key: replace(self.slots[key], values={**self.slots[key].values, "spec": spec.to_dict()})
            for key, spec in specs.items()
        }
        return PackState(slots, frozenset())

    def dump(self) -> bytes:
        """As the bytes of a file; equal states give equal bytes."""
        tensors = {
            f"{number}/{name}": tensor
            for number, state in enumerate(self.slots.values())
            for name, tensor in state.tensors.items()
        }
        values = {
            "format": FORMAT,
            "slots": [{"key": key, "values": dict(state.values)} for key, state in self.slots.items()],
            "reported": sorted(self.reported),
        }
        # one entry in the header: more would come in any order
        data: bytes = dump_tensors(tensors, {HEADER: json.dumps(values)})
        return data

    @classmethod
    def parse(cls, data: bytes) -> PackState:
        """From the bytes of a file.

        Raises:
            PipelineError: They are not a checkpoint of this version of the format.
        """
        values = read_header(data)
        tensors: list[dict[str, Tensor]] = [{} for _ in values["slots"]]
        try:
            for name, tensor in load_tensors(data).items():
                number, _, own = name.partition("/")
                tensors[int(number)][own] = tensor
        except (SafetensorError, ValueError, KeyError, IndexError) as error:
            raise PipelineError(f"the checkpoint's tensors cannot be read: {error}") from error
        slots = {
            slot["key"]: SlotState(slot["values"], own) for slot, own in zip(values["slots"], tensors, strict=True)
        }
        return cls(slots, frozenset(values["reported"]))


def read_header(data: bytes) -> dict[str, Any]:
    """The plain values of a checkpoint: ``slots``, each with its ``key`` and ``values``, and ``reported``.

    Raises:
        PipelineError: It is not a checkpoint of this version of the format.
    """
    size = int.from_bytes(data[:8], "little")
    try:
        values: dict[str, Any] = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][HEADER])
        found = values["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"these {len(data)} bytes are no checkpoint: {type(error).__name__}: {error}") from error
    if found != FORMAT:
        raise PipelineError(f"the checkpoint is of the format {found!r}, this version reads {FORMAT!r}: start afresh")
    return values
