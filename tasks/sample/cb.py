"""sample.cb: is the speaker of a short discourse committed to its embedded clause, to the contrary, or to neither?

Another style of what sample.mnli asks, with its own facts and people's words, and with the labels in CB's order: a
remark or two about somebody, then a clause under "realised that", "it is wrong that", "I wonder whether" and the like.
"""

from __future__ import annotations

import functools
import random

from tasks._rows import Example
from tasks.sample import _actions, _people, _subjects
from tasks.sample._bank import actions, aspects, fill, sentence, split, subjects
from tasks.sample.mnli import HELD as MNLI_HELD
from tasks.sample.mnli import TRAIN as MNLI_TRAIN
from tasks.sample.mnli import Language, dressed

ENTAILMENT, CONTRADICTION, NEUTRAL = 0, 1, 2

TRAIN = {
    "openings": """Have you heard from {S} lately? / So you met {S} at last. / I wanted to ask you about {S}. /
        A: Tell me about {S}. B: Where should I begin? / We spoke about {S} until late at night. / Remember {S}? /
        A: How is {S}? B: You know how things are.""",
    "middles": """It was a strange time. / Nobody expected anything. / The rain would not stop. / Well, life goes on. /
        There was not much news. / I had almost forgotten it. / We sat in the kitchen and drank tea.""",
    "sure": """I was not surprised to hear that {he} {a}. / Everybody in the room realised that {he} {a}. /
        What matters is that {he} {a}. / {O} had found out that {he} {a}. / I can tell you that {he} {a}.""",
    "open": """I cannot say whether {he} {a}. / Do you think that {he} {a}? / If {he} {a}, nobody told me. /
        {O} may have dreamed that {he} {a}.""",
    "false": """I do not believe for a moment that {he} {a}. / It is simply wrong that {he} {a}. /
        {O} made everybody believe that {he} {a}, which was a lie.""",
}
HELD = {
    "openings": """A: Did {O} mention {S}? B: Only in passing. / You should have seen {S}! / This morning I ran into {S}. /
        There was a lot of talk about {S}. / A: What do you make of {S}? B: Hard to say. / My thoughts went to {S}.""",
    "middles": """The streets were quiet. / It had been a long day. / Time was running out. / People will always gossip. /
        The others were waiting outside. / I poured myself some more wine.""",
    "sure": """They were all aware that {he} {a}. / {O} was there when it became plain that {he} {a}. /
        I learned only later that {he} {a}. / The truth is that {he} {a}. / You could tell that {he} {a}.""",
    "open": """Who knows if {he} {a}? / I keep asking myself whether {he} {a}. / Let us suppose that {he} {a}. /
        {O} could not decide whether {he} {a}.""",
    "false": """No one could seriously claim that {he} {a}. / It is a myth that {he} {a}. /
        {O} was quite mistaken in thinking that {he} {a}.""",
}


@functools.cache
def language(training: bool) -> Language:
    """Return the wording of training rows, or of validation and test rows."""
    mnli = MNLI_TRAIN if training else MNLI_HELD
    texts = (TRAIN if training else HELD) | {key: mnli[key] for key in ("denials", "narrow")}
    frames = {key: split(" ".join(text.split())) for key, text in texts.items()}
    return Language(
        done=actions(_actions.DISCOURSE if training else _actions.HELD, frames["denials"], frames["narrow"]),
        told=aspects(_people.DISCOURSE if training else _people.HELD),
        people=subjects(_subjects.TRAIN if training else _subjects.HELD),
        bystanders=split(_subjects.BYSTANDERS_TRAIN if training else _subjects.BYSTANDERS_HELD),
        frames=frames,
    )


def make_row(rng: random.Random, label: int, words: Language) -> tuple[str, str]:
    """Return (premise, hypothesis) for a label."""
    first, second, _ = words.facts(rng)
    said, unsaid = first.draw(rng), second.draw(rng)
    wording = said.said(rng)
    kind = "sure"
    clause = said.reworded(rng, wording)
    if label == CONTRADICTION and rng.random() < 0.25:
        kind = "false"
        wording = rng.choice(said.wordings)
        clause = rng.choice(said.wordings)
    elif label == CONTRADICTION:
        clause = first.excluded(rng, said).reworded(rng)
    elif label == NEUTRAL and rng.random() < 0.25:
        kind = "open"
    elif label == NEUTRAL:
        clause = unsaid.reworded(rng)
    who = rng.choice(words.people)
    subject = rng.choice(who.wordings)
    parts = [rng.choice(words.frames["openings"]), rng.choice(words.frames[kind])]
    if rng.random() < 0.5:
        parts.insert(1, rng.choice(words.frames["middles"]))
    fields = {"S": subject, "he": who.pronoun, "O": rng.choice(words.bystanders), "a": wording}
    premise = " ".join(sentence(part.format(**fields)) for part in parts)
    return dressed(premise, who), dressed(f"{subject} {clause}", who)


def generate(split_name: str, size: int) -> tuple[Example, ...]:
    """Return the rows of a split."""
    words = language(split_name == "train")
    return fill(size, 3, f"cb:{split_name}", lambda rng, label: make_row(rng, label, words))
