"""sample.mnli: does a sentence about somebody entail, contradict or leave open another one?

A premise states one or two facts about somebody, sometimes with a circumstance, with a fact that is left open, or with
one that is denied. A hypothesis restates a fact in other words (entailment), states what excludes it (contradiction), or
states a fact or circumstance that the premise does not settle (neutral). Neither the looks of the premise nor the choice
of what a hypothesis says depend on the label, so neither of the two alone tells it.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

from tasks._rows import Example
from tasks.sample import _actions, _people, _subjects
from tasks.sample._bank import Aspect, Subject, actions, aspects, fill, sentence, split, subjects

ENTAILMENT, NEUTRAL, CONTRADICTION = 0, 1, 2
KINDS = {"one": 56, "two": 20, "detail": 11, "open": 8, "false": 5}
"""Kinds of premise and how many of a hundred rows have each."""

TRAIN = {
    "denials": "did not {base} / never {past} / didn't {base}",
    "narrow": "refused to {base} / failed to {base} / decided not to {base} / could not {base}",
    "one": """{S} {a}. / {T}, {S} {a}. / {O} noticed that {S} {a}. / {S} {a} {T}. / It turned out that {S} {a}. /
        Everybody knew that {S} {a}. / {T}, as {O} can confirm, {S} {a}. / In fact, {S} {a}. / Clearly {S} {a}. /
        {O} told us the whole story: {S} {a}. / Surprisingly, {S} {a}. / {S} {a}, as everyone could see.""",
    "two": """{S} {a} and {b}. / {S}, who {a}, {b}. / {T}, {S} {a} and {b}. / {S} {a}; besides, {he} {b}. /
        {S} {a}. On the same day {he} {b}. / {O} noticed that {S} {a} and {b}. / {S} {a}, and {T} {he} {b}.""",
    "detail": "{S} {a} {d}. / {T}, {S} {a} {d}. / {O} noticed that {S} {a} {d}. / It turned out that {S} {a} {d}.",
    "open": """Nobody knew whether {S} {b}, but {he} certainly {a}. / {S} {a}; {O} wondered whether {he} {b}. /
        {O} asked if {S} {b}, and was told that {he} {a}. / {S} {a}, and perhaps {he} {b}.""",
    "false": """It is not true that {S} {b}, but {he} {a}. / {O} wrongly thought that {S} {b}; {he} {a}. /
        {S} {a}, but it was a lie that {he} {b}.""",
    "times": """last week / on Monday / in the spring / one evening / that day / a month ago / yesterday /
        on a cold morning / after the holidays / in April""",
    "details": """to please {O} = in order to make {O} happy / because of a bet = on account of a wager /
        without any help = all alone / because {he} was curious = out of curiosity / in front of a crowd = while
        many people looked on / for the sake of {his} mother = out of love for {his} mother / by pure chance = entirely
        by accident / in great haste = in a terrible hurry / with tears in {his} eyes = weeping""",
}
HELD = {
    "denials": "did not {base} / never {past} / didn't {base}",
    "narrow": "was unable to {base} / declined to {base} / did not manage to {base} / chose not to {base}",
    "one": """During {T}, {S} {a}. / As it happened, {S} {a}. / {O} saw that {S} {a}. / {S} {a} during {T}. /
        There is no doubt that {S} {a}. / Certainly, {S} {a}.""",
    "two": """{S} {a}, and {he} {b} as well. / We were told that {S} {a} and {b}. / {O} saw that {S} {a}; {he} also {b}. /
        As it happened, {S} {a}, and {he} {b}. / During {T}, {S} {a}. Furthermore, {he} {b}.""",
    "detail": "We were told that {S} {a} {d}. / During {T}, {S} {a} {d}. / As it happened, {S} {a} {d}.",
    "open": """It was unclear if {S} {b}; what is sure is that {he} {a}. / {S} {a}, yet it remained unknown whether {he}
        {b}. / {S} {a}, and maybe {he} {b} too.""",
    "false": """Contrary to what {O} believed, it is false that {S} {b}; in fact {he} {a}. / The rumour that {S} {b} was
        wrong, although {he} {a}.""",
    "times": "the summer / the last winter / the festival / the weekend / the rainy season",
    "details": """to impress {O} = so that {O} would be impressed / for lack of time = since there was little time left /
        with the help of a friend = assisted by a friend / on the advice of {his} doctor = as {his} doctor had recommended
        / at the request of {O} = because {O} had asked for it / in the pouring rain = while it was raining hard /
        out of jealousy = because {he} was jealous""",
}


@dataclass(frozen=True)
class Language:
    """The wording of one side of a task: what training rows are made of, or what the others are."""

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
def language(training: bool) -> Language:
    """Return the wording of training rows, or of validation and test rows."""
    frames = {key: split(" ".join(text.split())) for key, text in (TRAIN if training else HELD).items()}
    return Language(
        done=actions(_actions.TRAIN if training else _actions.HELD, frames["denials"], frames["narrow"]),
        told=aspects(_people.TRAIN if training else _people.HELD),
        people=subjects(_subjects.TRAIN if training else _subjects.HELD),
        bystanders=split(_subjects.BYSTANDERS_TRAIN if training else _subjects.BYSTANDERS_HELD),
        frames=frames,
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
        tail = " " + (unsaid[0] if label == NEUTRAL else detail[1])
    fields = {"S": rng.choice(who.wordings), "he": who.pronoun, "his": who.possessive, "O": other}
    premise = premise.replace("{d}", detail[0]).format(
        **fields, a=said_a, b=said_b, T=rng.choice(words.frames["times"])
    )
    hypothesis = f"{rng.choice((*who.wordings, *who.general))} {claim}{tail.format(**fields)}."
    return dressed(premise, who), dressed(hypothesis, who)


def dressed(text: str, who: Subject) -> str:
    """Put possessives and the capital letter into a sentence."""
    return sentence(text.replace("~", who.possessive))


def generate(split_name: str, size: int) -> tuple[Example, ...]:
    """Return the rows of a split."""
    words = language(split_name == "train")
    return fill(size, 3, f"mnli:{split_name}", lambda rng, label: make_row(rng, label, words))
