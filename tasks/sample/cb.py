"""sample.cb: is the speaker of a short discourse committed to its embedded clause, to the contrary, or to neither?

Another style of what sample.mnli asks, with its own facts and people's words, and with the labels in CB's order: a
remark or two about somebody, then a clause under "realised that", "it is wrong that", "I wonder whether" and the like.
"""

from __future__ import annotations

import functools
import random

from tasks._rows import Example
from tasks.sample import _frames
from tasks.sample._bank import actions, aspects, fill, frames, read_bank, sentence, subjects
from tasks.sample.mnli import Language, dressed

ENTAILMENT, CONTRADICTION, NEUTRAL = 0, 1, 2


@functools.cache
def language(split_name: str) -> Language:
    """Return the wording of a split; its training rows tell of other things than those of sample.mnli."""
    mnli = _frames.MNLI[split_name]
    texts = frames(_frames.CB[split_name] | {key: mnli[key] for key in ("denials", "narrow")})
    facts = "discourse" if split_name == "train" else split_name
    return Language(
        done=actions(read_bank("actions", facts), texts["denials"], texts["narrow"]),
        told=aspects(read_bank("people", facts)),
        people=subjects(read_bank("subjects", split_name)),
        bystanders=_frames.BYSTANDERS[split_name],
        frames=texts,
    )


def make_row(rng: random.Random, label: int, words: Language) -> tuple[str, str]:
    """Return (premise, hypothesis) for a label."""
    first, second, _ = words.facts(rng)
    said, unsaid = first.draw(rng), second.draw(rng)
    wording = said.said(rng)
    kind = "sure"
    clause = said.reworded(rng, wording)
    if label == CONTRADICTION and rng.random() < 0.2:
        kind = "false"
        wording = rng.choice(said.wordings)
        clause = rng.choice(said.wordings)
    elif label == CONTRADICTION:
        clause = first.excluded(rng, said).reworded(rng)
    elif label == NEUTRAL and rng.random() < 0.2:
        kind = "open"
    elif label == NEUTRAL:
        clause = unsaid.reworded(rng)
    who = rng.choice(words.people)
    subject = rng.choice(who.wordings)
    parts = [rng.choice(words.frames["openings"]), rng.choice(words.frames[kind])]
    if rng.random() < 0.25:
        parts.insert(1, rng.choice(words.frames["middles"]))
    fields = {"S": subject, "he": who.pronoun, "O": rng.choice(words.bystanders), "a": wording}
    premise = " ".join(sentence(part.format(**fields)) for part in parts)
    return dressed(premise, who), dressed(f"{subject} {clause}", who)


def generate(split_name: str, size: int) -> tuple[Example, ...]:
    """Return the rows of a split."""
    words = language(split_name)
    return fill(size, 3, f"cb:{split_name}", lambda rng, label: make_row(rng, label, words))
