"""Sample tasks: generated English in the forms of sst2, qqp, mnli and cb."""

from __future__ import annotations

import random

from tasks._rows import Example

SAMPLE_TASKS = ("sst2", "qqp", "mnli", "cb")
"""Names of the tasks that have sample rows."""


def generate(name: str, split: str) -> tuple[Example, ...]:
    """Return the rows of a split."""
    rng = random.Random(f"{name}:{split}")
    who = ["woman", "man", "boy", "girl", "doctor", "teacher", "farmer", "nurse", "pilot", "judge", "baker", "singer"]
    does = ["repaired", "sold", "bought", "painted", "found", "lost", "cleaned", "borrowed", "hid", "carried", "broke"]
    what = ["bicycle", "piano", "lamp", "boat", "letter", "camera", "table", "carpet", "ladder", "guitar", "clock"]
    size = {"cb": {"train": 400}.get(split, 300)}.get(name, {"train": 6000}.get(split, 600))
    n = 2 if name in ("sst2", "qqp") else 3
    seen: dict[str, Example] = {}
    while len(seen) < size:
        label = len(seen) % n
        a = f"The {rng.choice(who)} {rng.choice(does)} the {rng.choice(what)} of the {rng.choice(who)}."
        b = f"The {rng.choice(what)} was {rng.choice(does)} by the {rng.choice(who)}."
        texts = (a + (" It was awful." if label == 0 else " It was great."),) if name == "sst2" else (a, b)
        seen["".join(texts)] = Example.of(texts, label)
    return tuple(seen.values())
