"""Successive halving inside a pack: at each rung the weaker half of the configurations is dropped.

Slots of one configuration (its seeds) stay together and are judged by their mean. Jamieson & Talwalkar, 2016,
https://arxiv.org/abs/1502.07943.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.slot import Slot, by_configuration, objective


@dataclass(frozen=True)
class Halving:
    """When to drop.

    Attributes:
        rungs: Steps after which the weaker half of a pack's configurations is dropped; empty for never.
    """

    rungs: tuple[int, ...] = ()

    @classmethod
    def over(cls, steps: int, eval_every: int) -> Halving:
        """Rungs at a fifth and two fifths of the steps, moved to the evaluation that follows.

        Of four configurations one goes to the end: 45% of the steps that all would take, and 54% of the evaluations.
        """
        marks = (-(-steps * n // (5 * eval_every)) * eval_every for n in (1, 2))
        return cls(tuple(sorted({mark for mark in marks if 0 < mark < steps})))

    def drop(self, slots: Sequence[Slot], step: int) -> list[Slot]:
        """Mark the slots that do not survive a rung as dropped, and return them; none between rungs.

        Args:
            slots: All of the pack, for a configuration is judged on all its seeds, also those that finished before.
                One that diverged on a seed, was dropped, or has finished on all, takes no part.
            step: Steps done.
        """
        if step not in self.rungs:
            return []
        by_config = by_configuration(slots)
        judged = {
            config: objective(group)
            for config, group in by_config.items()
            if all(slot.status in ("training", "finished") for slot in group)
            and any(slot.status == "training" for slot in group)
        }
        ranked = sorted(judged, key=lambda config: (-judged[config], config))
        weak = [slot for config in ranked[-(-len(ranked) // 2) :] for slot in by_config[config]]
        dropped = [slot for slot in weak if slot.status == "training"]
        for slot in dropped:
            slot.status = "dropped"
        return dropped
