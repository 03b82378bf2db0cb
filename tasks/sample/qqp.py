"""sample.qqp: do two questions ask the same?

Duplicates ask the same of the same thing in other words. Half of the others ask something else of the same thing, half
ask the same of another thing of its kind, so that neither the thing nor the intent alone decides.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

from tasks._rows import Example
from tasks.sample._bank import fill, read_bank, sentence, split


@dataclass(frozen=True)
class Topic:
    """Things of one kind, and what is asked of them: intents with their wordings."""

    things: tuple[str, ...]
    intents: tuple[tuple[str, ...], ...]


@functools.cache
def topics(bank: str) -> tuple[Topic, ...]:
    """Return the topics of a bank of questions."""
    found = []
    for block in bank.strip().removeprefix("#").split("\n#"):
        things, *intents = block.strip().splitlines()
        found.append(Topic(split(things), tuple(split(line) for line in intents)))
    return tuple(found)


OPENINGS = {
    "train": ("", "", "", "Serious question: ", "I am new here. ", "Quick one: "),
    "validation": ("", "", "Just wondering: ", "Hello everyone. "),
    "test": ("", "", "Sorry to bother you. ", "Here goes: "),
}


def ask(rng: random.Random, wording: str, thing: str, openings: tuple[str, ...]) -> str:
    """Return a question about a thing; ``{y}`` is the thing without its article."""
    return sentence(rng.choice(openings) + wording.format(x=thing, y=thing.removeprefix("an ").removeprefix("a ")))


def generate(split_name: str, size: int) -> tuple[Example, ...]:
    """Return the rows of a split."""
    bank = topics(read_bank("questions", split_name))
    openings = OPENINGS[split_name]

    def make(rng: random.Random, label: int) -> tuple[str, str]:
        topic = rng.choice(bank)
        thing, other_thing = rng.sample(topic.things, 2)
        intent, other_intent = rng.sample(topic.intents, 2)
        first, second = rng.sample(intent, 2)
        if label == 0 and rng.random() < 0.5:
            second = rng.choice(other_intent)
        elif label == 0:
            thing, other_thing = other_thing, thing
            return ask(rng, first, thing, openings), ask(rng, second, other_thing, openings)
        return ask(rng, first, thing, openings), ask(rng, second, thing, openings)

    return fill(size, 2, f"qqp:{split_name}", make)
