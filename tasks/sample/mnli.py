"""sample.mnli: does a sentence about somebody entail, contradict or leave open another one?

A premise states one or two facts about somebody, sometimes with a circumstance, with a fact that is left open, or
with one that is denied. A hypothesis restates a fact in other words or more generally (entailment), states what
excludes it (contradiction), or states a fact or circumstance that the premise does not settle (neutral). Neither the
looks of the premise nor the choice of what a hypothesis says depend on the label, so neither of the two alone tells it.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

from tasks._rows import Example
from tasks.sample import _frames
from tasks.sample._bank import Aspect, Subject, actions, aspects, fill, frames, read_bank, sentence, split, subjects

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2
KINDS = {"one": 64, "two": 14, "detail": 10, "open": 8, "false": 4}
"""Kinds of premise and how many of a hundred rows have each."""


@dataclass(frozen=True)
class Language:
    """The wording of one split of a task."""

    done: tuple[Aspect, ...]
    told: tuple[Aspect, ...]
    people: tuple[Subject, ...]
    bystanders: tuple[str, ...]
    frames: dict[str, tuple[str, ...]]

    def facts(self, rng: random.Random) -> list[Aspect]:
        """Return three aspects of three themes, most of them actions."""
        while True:
            chosen = [rng.choice(self.told if rng.random() < 0.15 else self.done) for _ in range(3)]
            if len({aspect.theme for aspect in chosen}) == 3:
                return chosen


@functools.cache
def language(split_name: str) -> Language:
    """Return the wording of a split."""
    texts = frames(_frames.MNLI[split_name])
    return Language(
        done=actions(read_bank("actions", split_name), texts["denials"], texts["narrow"]),
        told=aspects(read_bank("people", split_name)),
        people=subjects(read_bank("subjects", split_name)),
        bystanders=_frames.BYSTANDERS[split_name],
        frames=texts,
    )


def make_row(rng: random.Random, label: int, words: Language) -> tuple[str, str]:
    """Return (premise, hypothesis) for a label."""
    first, second, third = words.facts(rng)
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    a, b, c = first.draw(rng), second.draw(rng), third.draw(rng)
    said_a, said_b = a.said(rng), rng.choice(b.wordings) if kind == "false" else b.said(rng)
    who, other = rng.choice(words.people), rng.choice(words.bystanders)
    detail, unsaid = (split(pair, "=") for pair in rng.sample(words.frames["details"], 2))
    premise = rng.choice(words.frames[kind])
    tail = ""
    if kind == "two" and rng.random() < 0.5:
        first, a, said_a, said_b, b = second, b, said_b, said_a, a
        premise = premise.replace("{a}", "{-}").replace("{b}", "{a}").replace("{-}", "{b}")

    if label == ENTAILMENT:
        claim = a.reworded(rng, said_a)
    elif label == CONTRADICTION:
        if kind == "false" and rng.random() < 0.5:
            claim = rng.choice(b.wordings)
        else:
            claim = first.excluded(rng, a).reworded(rng)
    elif kind == "open" and rng.random() < 0.5:
        claim = b.reworded(rng, said_b)
    elif kind == "detail":
        claim = a.reworded(rng, said_a)
    else:
        claim = c.reworded(rng)
    if kind == "detail":
        tail = " " + (unsaid if label == NEUTRAL else detail)[1]
    fields = {"S": rng.choice(who.wordings), "he": who.pronoun, "his": who.possessive, "O": other}
    premise = sentence(
        premise.replace("{d}", detail[0]).format(**fields, a=said_a, b=said_b, T=rng.choice(words.frames["times"]))
    )
    if rng.random() < 0.25:
        premise = f"{rng.choice(words.frames['asides'])} {premise}"
    hypothesis = f"{rng.choice((*who.wordings, *who.general))} {claim}{tail.format(**fields)}."
    return dressed(premise, who), dressed(hypothesis, who)


def dressed(text: str, who: Subject) -> str:
    """Put possessives and the capital letter into a sentence."""
    return sentence(text.replace("~", who.possessive))


def generate(split_name: str, size: int) -> tuple[Example, ...]:
    """Return the rows of a split."""
    words = language(split_name)
    return fill(size, 3, f"mnli:{split_name}", lambda rng, label: make_row(rng, label, words))
