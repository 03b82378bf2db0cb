"""sample.sst2: is a sentence about a film negative or positive?

One judgement, two that agree, or two that differ, of which the last, introduced as the verdict, decides. The words that
carry the judgement differ from split to split.
"""

from __future__ import annotations

import random

from tasks._rows import Example
from tasks.sample._bank import fill, frames, sentence

TRAIN = {
    "parts": """
        the acting / the script / the soundtrack / the camera work / the ending / the lead actress / the dialogue /
        the plot / the opening hour / the villain / the cast / the love story / the voice of the narrator
    """,
    "films": "the film / this comedy / the new western / this remake / the picture / the sequel / this musical",
    "good": """
        is wonderful / is a joy from start to finish / is funny and touching / had me laughing out loud /
        is beautifully done / deserves every award / is superb / is charming / is full of life / is clever and fresh /
        works like magic / is a delight / kept everyone on the edge of their seats / is never boring /
        is unforgettable / makes you happy to be alive / is simply excellent / is warm and wise /
        is far better than I had hoped / leaves nothing to be desired / got a standing ovation /
        is a pleasure to watch / is not bad at all / is rich and elegant / is worth every penny
    """,
    "bad": """
        is awful / is a complete waste of time / bored me to death / is clumsy and dull / falls flat /
        makes no sense / is painfully slow / is lifeless / is a mess / insults the intelligence of the audience /
        is stale and predictable / had me looking at my watch / is never funny / is forgettable /
        made half of the audience walk out / is simply bad / is cold and stupid / is far worse than I had feared /
        leaves everything to be desired / is a pain to watch / is not good at all / is loud and ugly /
        is not worth a penny / put me to sleep / is ruined by bad taste
    """,
    "single": """
        {P} {x}. / If you ask me, {P} {x}. / I must say that {P} {x}. / {P} {x}, and I saw it twice. / Well, {P} {x}.
    """,
    "double": """
        {P} {x}, and {Q} {y}. / {P} {x}; {Q} {y}. / Besides the fact that {P} {x}, {Q} {y}. /
        I think that {P} {x} and {F} {y}.
    """,
    "verdict": "{P} {z}, but all in all {F} {x}. / Although {P} {z}, {F} {x} as a whole.",
}
VALIDATION = {
    "parts": """
        the direction / the humour / the final scene / the music / the main character / the editing / the scenery /
        the central performance / the middle part / the choice of actors
    """,
    "films": "the movie / this thriller / the documentary / this cartoon / the adaptation",
    "good": """
        is brilliant / is captivating / won me over completely / is a triumph / is moving and tender /
        is an absolute gem / sparkles with wit / left me smiling for days / is masterful /
        could hardly be more exciting / impressed even the critics / is gorgeous / is a masterpiece /
        feels honest and heartfelt / was a lovely surprise / is thoroughly entertaining / shows real talent
    """,
    "bad": """
        is terrible / is tedious / drags on forever / is a disaster / left me disappointed / is embarrassing /
        is tiresome / feels cheap and hollow / is hopelessly confused / could hardly be more annoying /
        irritated even the fans / is dreadful / is a total failure / feels fake and forced / was a nasty surprise /
        is thoroughly depressing / shows a lack of talent
    """,
    "single": """
        {P} {x}. / In my opinion {P} {x}. / Nobody will deny that {P} {x}. / Let us be honest, {P} {x}. /
        {P} {x}, I find.
    """,
    "double": "{P} {x} while {Q} {y}. / {P} {x}. What is more, {Q} {y}. / On top of that {P} {x} and {Q} {y}.",
    "verdict": "{P} {z}, yet taken together {F} {x}. / Even if {P} {z}, in sum {F} {x}.",
}
TEST = {
    "parts": """
        the photography / the premise / the pacing / the wardrobe / the hero / the visual style /
        the title song / the climax / the screenplay / the child in the leading role
    """,
    "films": "the flick / this romance / the war epic / this blockbuster / the biopic",
    "good": """
        is fantastic / is spellbinding / blew me away / is a feast / is a treat / is stunning /
        is inspired / radiates confidence / hits the right notes / exceeded my expectations / is irresistible /
        is exquisite / is uplifting / is pure gold / got a round of applause / is flawless / is a revelation
    """,
    "bad": """
        is horrible / is atrocious / is insufferable / grates on the nerves / is a chore to sit through / is sloppy /
        is a trainwreck / leaves a sour aftertaste / is shallow and pretentious / is wooden / is a slap in the face /
        is monotonous / is pathetic / is bland / drew nothing but boos / is an eyesore / gave me a headache
    """,
    "single": """
        {P} {x}. / To my mind {P} {x}. / {P} {x}, no question about it. / Take my word for it, {P} {x}. /
        Frankly, {P} {x}.
    """,
    "double": "{P} {x}, plus {Q} {y}. / {P} {x}. Likewise, {Q} {y}. / In short, {P} {x} and {Q} {y}.",
    "verdict": "Granted, {P} {z}, but overall {F} {x}. / {P} {z}; still, on balance {F} {x}.",
}
SIDES = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
KINDS = {"single": 45, "double": 40, "verdict": 15}
"""Kinds of sentence and how many of a hundred rows have each."""


def generate(split_name: str, size: int) -> tuple[Example, ...]:
    """Return the rows of a split."""
    words = frames(SIDES[split_name])

    def make(rng: random.Random, label: int) -> tuple[str]:
        said, contrary = (words["good"], words["bad"]) if label else (words["bad"], words["good"])
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        x, y = rng.sample(said, 2)
        part, other = rng.sample(words["parts"], 2)
        if kind == "single" and rng.random() < 0.5:
            part = rng.choice(words["films"])
        frame = rng.choice(words[kind])
        text = frame.format(P=part, Q=other, F=rng.choice(words["films"]), x=x, y=y, z=rng.choice(contrary))
        return (sentence(text),)

    return fill(size, 2, f"sst2:{split_name}", make)
