"""The sentence frames of sample.mnli and sample.cb, split by split.

``{S}`` is a person and ``{he}``, ``{his}`` the pronouns, ``{O}`` a bystander, ``{T}`` a time, ``{a}`` and ``{b}``
facts, ``{d}`` a detail; ``/`` parts frames, ``=`` two wordings of a detail.
"""

MNLI_TRAIN = {
    "denials": "did not {base} / never {past} / didn't {base}",
    "narrow": "refused to {base} / failed to {base} / decided not to {base} / could not {base}",
    "one": """
        {S} {a}. / {T}, {S} {a}. / {O} noticed that {S} {a}. / {S} {a} {T}. / It turned out that {S} {a}. /
        Everybody knew that {S} {a}. / {T}, as {O} can confirm, {S} {a}. / In fact, {S} {a}. / Clearly {S} {a}. /
        {O} told us the whole story: {S} {a}. / Surprisingly, {S} {a}. / {S} {a}, as everyone could see.
    """,
    "two": """
        {S} {a} and {b}. / {S}, who {a}, {b}. / {T}, {S} {a} and {b}. / {S} {a}; besides, {he} {b}. /
        {S} {a}. On the same day {he} {b}. / {O} noticed that {S} {a} and {b}. / {S} {a}, and {T} {he} {b}.
    """,
    "detail": "{S} {a} {d}. / {T}, {S} {a} {d}. / {O} noticed that {S} {a} {d}. / It turned out that {S} {a} {d}.",
    "open": """
        Nobody knew whether {S} {b}, but {he} certainly {a}. / {S} {a}; {O} wondered whether {he} {b}. /
        {O} asked if {S} {b}, and was told that {he} {a}. / {S} {a}, and perhaps {he} {b}.
    """,
    "false": """
        It is not true that {S} {b}, but {he} {a}. / {O} wrongly thought that {S} {b}; {he} {a}. /
        {S} {a}, but it was a lie that {he} {b}.
    """,
    "asides": """
        Let me tell you a story. / It had snowed all night. / A: What is new? B: Listen to this. / You will laugh. /
        We talked about the old days. / A: Is that all? B: No, there is more. / I was in town. / What a week! /
        There is one thing I have to add. / Do you want to hear the latest? / It all happened so fast. /
        The house was full of guests.
    """,
    "times": """
        last week / on Monday / in the spring / one evening / that day / a month ago / yesterday / on a cold morning /
        after the holidays / in April
    """,
    "details": """
        to please {O} = in order to make {O} happy / because of a bet = on account of a wager /
        without any help = all alone / because {he} was curious = out of curiosity /
        in front of a crowd = while many people looked on /
        for the sake of {his} mother = out of love for {his} mother / by pure chance = entirely by accident /
        in great haste = in a terrible hurry / with tears in {his} eyes = weeping
    """,
}

MNLI_VALIDATION = {
    "denials": "did not {base} / never {past} / didn't {base}",
    "narrow": "was unable to {base} / was unwilling to {base} / did not manage to {base} / chose not to {base}",
    "one": """
        During {T}, {S} {a}. / As luck would have it, {S} {a}. / {O} saw that {S} {a}. / {S} {a} during {T}. /
        Nobody disputes that {S} {a}. / Undeniably, {S} {a}.
    """,
    "two": """
        {S} {a}, and {he} {b} as well. / We were informed that {S} {a} and {b}. / {O} saw that {S} {a}; {he} also {b}. /
        As luck would have it, {S} {a}, and {he} {b}. / During {T}, {S} {a}. Furthermore, {he} {b}.
    """,
    "detail": "We were informed that {S} {a} {d}. / During {T}, {S} {a} {d}. / As luck would have it, {S} {a} {d}.",
    "open": """
        It was unclear if {S} {b}; what is sure is that {he} {a}. /
        {S} {a}, yet it remained unknown whether {he} {b}. / {S} {a}, and maybe {he} {b} too.
    """,
    "false": """
        Contrary to what {O} supposed, it is false that {S} {b}; actually {he} {a}. /
        The rumour that {S} {b} was unfounded, although {he} {a}.
    """,
    "asides": """
        The sun had just set. / Here is what I know. / A: Any updates? B: A little. / Nothing else was going on. /
        It takes a while to explain.
    """,
    "times": "the summer / the last winter / the festival / the weekend / the rainy season",
    "details": """
        to impress {O} = so that {O} would be impressed / for lack of time = since there was little time left /
        thanks to a trick = by means of a trick / on the advice of {his} doctor = as {his} doctor had advised /
        at the request of {O} = because {O} had begged for it / in thick fog = while the fog was thick /
        out of jealousy = because {he} was jealous
    """,
}

MNLI_TEST = {
    "denials": "did not {base} / never {past} / didn't {base}",
    "narrow": "omitted to {base} / had no opportunity to {base} / resolved not to {base} / struggled in vain to {base}",
    "one": """
        Reportedly, {S} {a}. / {O} overheard that {S} {a}. / Over {T}, {S} {a}. / {S} {a} over {T}. /
        According to {O}, {S} {a}. / Oddly enough, {S} {a}. / For the record, {S} {a}.
    """,
    "two": """
        According to {O}, {S} {a} and then {b}. / Over {T}, {S} {a}. Moreover, {he} {b}. /
        {O} overheard that {S} {a} and {b}. / {S} {a}, after which {he} {b}. /
        Oddly enough, {S} {a}, while {he} {b} too.
    """,
    "detail": "According to {O}, {S} {a} {d}. / Over {T}, {S} {a} {d}. / Oddly enough, {S} {a} {d}.",
    "open": """
        It is anyone's guess whether {S} {b}; at any rate {he} {a}. /
        {S} {a}, though it was a mystery whether {he} {b}. / {S} {a}; possibly {he} {b} as well.
    """,
    "false": """
        The claim that {S} {b} was invented; {he} {a}, though. / {S} {a}; that {he} {b} is sheer fiction.
    """,
    "asides": """
        The clock struck twelve. / The kettle was boiling. / A: Go ahead. B: Here goes. / Somebody sneezed. /
        This will amuse you. / The lamp flickered.
    """,
    "times": "the autumn / the past fortnight / Easter / the semester / the harvest",
    "details": """
        to annoy {O} = so as to irritate {O} / in sheer boredom = quite listless /
        in a foul mood = feeling grumpy / against the wishes of {his} family = despite the objections of {his} family /
        under an alias = using a pseudonym / as a favour to {O} = to do {O} a favour /
        at midnight = when the clock struck twelve
    """,
}

CB_TRAIN = {
    "openings": """
        Have you heard from {S} lately? / So you met {S} at last. / I wanted to ask you about {S}. /
        A: Tell me about {S}. B: Where should I begin? / We spoke about {S} until late at night. / Remember {S}? /
        A: How is {S}? B: You know how things are. / You asked about {S}. / And then there is {S}.
    """,
    "middles": """
        It was a strange time. / Nobody expected anything. / The rain would not stop. / Well, life goes on. /
        There was not much news. / I had almost forgotten it. / We sat in the kitchen and drank tea.
    """,
    "sure": """
        I was not surprised to hear that {he} {a}. / Everybody in the room realised that {he} {a}. /
        What matters is that {he} {a}. / {O} had found out that {he} {a}. / I can tell you that {he} {a}.
    """,
    "open": """
        I cannot say whether {he} {a}. / Do you think that {he} {a}? / If {he} {a}, nobody told me. /
        {O} may have dreamed that {he} {a}.
    """,
    "false": """
        I do not believe for a moment that {he} {a}. / It is simply wrong that {he} {a}. /
        {O} made everybody believe that {he} {a}, which was a lie.
    """,
}

CB_VALIDATION = {
    "openings": """
        A: Did {O} mention {S}? B: Only in passing. / You should have seen {S}! / This morning I ran into {S}. /
        There was talk about {S}. / A: What about {S}? B: Well. / My thoughts went to {S}.
    """,
    "middles": """
        The corridors were quiet. / It had been a long day. / Time was running out. / People will always gossip. /
        The others were waiting outside. / I poured myself some more wine.
    """,
    "sure": """
        They were all aware that {he} {a}. / {O} was there when it became plain that {he} {a}. /
        I learned only later that {he} {a}. / The truth is that {he} {a}. / You could see that {he} {a}.
    """,
    "open": """
        Who knows if {he} {a}? / I keep wondering whether {he} {a}. / Let us suppose that {he} {a}. /
        {O} was in two minds about whether {he} {a}.
    """,
    "false": """
        No one could seriously claim that {he} {a}. / It is a myth that {he} {a}. /
        {O} was quite mistaken in thinking that {he} {a}.
    """,
}

CB_TEST = {
    "openings": """
        A: Any word on {S}? B: Indeed. / I bumped into {S} at the market. / Our conversation turned to {S}. /
        A: You know {S}, right? B: Of course. / Just imagine {S}! / {S} came up over breakfast.
    """,
    "middles": """
        Somewhere a dog barked. / Bells were ringing. / Lunch was almost over. / None of us hurried. /
        The tram was delayed.
    """,
    "sure": """
        It struck me that {he} {a}. / {O} demonstrated that {he} {a}. / It dawned on everyone that {he} {a}. /
        It annoyed {O} that {he} {a}. / As {O} discovered, {he} {a}.
    """,
    "open": """
        It remains to be seen whether {he} {a}. / Should it be that {he} {a}? / {O} hopes that {he} {a}. /
        There is a chance that {he} {a}.
    """,
    "false": """
        {O} pretended that {he} {a}. / It would be absurd to say that {he} {a}. /
        Only a fool would maintain that {he} {a}.
    """,
}

MNLI = {"train": MNLI_TRAIN, "validation": MNLI_VALIDATION, "test": MNLI_TEST}
CB = {"train": CB_TRAIN, "validation": CB_VALIDATION, "test": CB_TEST}

BYSTANDERS = {
    "train": ("Maria", "Peter", "the landlady", "my wife", "Mr Brown", "the boss", "Emma", "an old friend", "Ben"),
    "validation": ("Sophie", "Martin", "the priest", "my tutor", "the host", "Mrs Green", "Oliver"),
    "test": ("Laura", "Henry", "the rabbi", "my roommate", "the chairman", "Mrs Wells", "Felix"),
}
