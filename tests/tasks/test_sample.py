import re
import time
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from tasks import Rows, bag_of_words, find_leaks, open_data, score
from tasks.sample import SAMPLE_TASKS, SIZES, _frames, generate, sst2
from tasks.sample._bank import actions, aspects, frames, read_bank
from tasks.sample.qqp import topics

SOURCE = open_data("sample", SAMPLE_TASKS)


def rows(name: str, split_name: str) -> Rows:
    return SOURCE.load(SOURCE.task(name), split_name)


@pytest.mark.parametrize("name", SAMPLE_TASKS)
def test_sizes_balance_and_distinct_rows(name: str) -> None:
    for split_name, size in SIZES[name].items():
        made = rows(name, split_name)
        assert len(made) == size
        assert len({example.texts for example in made.examples}) == size
        counts = made.label_counts().values()
        assert max(counts) - min(counts) <= size // 20
    assert min(rows(name, "train").label_counts().values()) >= 100


@pytest.mark.parametrize("name", SAMPLE_TASKS)
def test_splits_share_no_text(name: str) -> None:
    train, validation, test = (rows(name, split_name).examples for split_name in ("train", "validation", "test"))
    assert find_leaks(train, validation) == []
    assert find_leaks(train, test) == []
    assert find_leaks(validation, test) == []
    sentences = [{text for example in side for text in example.texts} for side in (train, validation, test)]
    assert all(one.isdisjoint(other) for one, other in combinations(sentences, 2))


@pytest.mark.parametrize("name", SAMPLE_TASKS)
def test_generated_fast_and_the_same_every_time(name: str) -> None:
    before = [rows(name, split_name).digest for split_name in SIZES[name]]
    generate.cache_clear()
    start = time.perf_counter()
    after = [rows(name, split_name).digest for split_name in SIZES[name]]
    assert time.perf_counter() - start < 2, "meant to be under half a second per split on a free core"
    assert before == after


DIGESTS = {
    "sst2": {"validation": "2dd564d7e6ec", "test": "dfa6f85f2f97"},
    "qqp": {"validation": "d8c14a8f3d48", "test": "a398e3a50139"},
    "mnli": {"validation": "3c7fd66bb832", "test": "1c4dee9f2a2f"},
    "cb": {"validation": "116f2abcb69d", "test": "f82670bf10de"},
}


@pytest.mark.parametrize("name", SAMPLE_TASKS)
def test_rows_are_what_results_were_measured_on(name: str) -> None:
    # whoever changes the rows raises these, and measures anew
    assert {side: rows(name, side).digest[:12] for side in DIGESTS[name]} == DIGESTS[name]


@pytest.mark.parametrize("name", SAMPLE_TASKS)
def test_text_is_clean(name: str) -> None:
    for split_name in SIZES[name]:
        for example in rows(name, split_name).examples:
            for text in example.texts:
                assert not re.search(r"[{}~/=>_#]|  |,,|\.\.| [.,?]", text), text
                assert text[0].isupper(), text
                assert len(text.split()) <= 45, text


def test_cb_looks_like_cb() -> None:
    task = SOURCE.task("cb")
    assert task.labels == ("entailment", "contradiction", "neutral")
    for example in rows("cb", "validation").examples:
        premise, hypothesis = example.texts
        assert premise[-1] in ".?!"
        assert hypothesis[-1] not in ".?!"


@pytest.mark.parametrize(("name", "column"), [("mnli", 0), ("mnli", 1), ("qqp", 0), ("qqp", 1)])
def test_one_side_alone_does_not_tell_the_label(name: str, column: int) -> None:
    """No word of a side leans to a label by more than chance allows."""
    examples = rows(name, "train").examples
    n = len(SOURCE.task(name).labels)
    seen: dict[str, Counter[int]] = {}
    for example in examples:
        for word in set(re.findall(r"[\w']+", example.texts[column].lower())):
            seen.setdefault(word, Counter())[example.label] += 1
    for word, counts in seen.items():
        total = sum(counts.values())
        spread = 5 * (total * (1 / n) * (1 - 1 / n)) ** 0.5
        for label in range(n):
            assert abs(counts[label] - total / n) <= spread, (word, counts)


@pytest.mark.parametrize("side", ["validation", "test"])
@pytest.mark.parametrize(("name", "most"), [("mnli", 0.42), ("qqp", 0.6), ("cb", 0.45), ("sst2", 0.6)])
def test_bag_of_words_does_not_solve_them(name: str, most: float, side: str) -> None:
    tested = rows(name, side)
    predictions = bag_of_words(rows(name, "train"), tested)
    labels = [example.label for example in tested.examples]
    assert score("accuracy", predictions, labels, len(tested.task.labels))["accuracy"] < most


COMMON = set((Path(__file__).parent / "common_words.txt").read_text(encoding="utf-8").split())
"""Words that any English has: function words, pronouns, numbers and the lightest verbs and adjectives."""

PAIRS = [("train", "validation"), ("train", "test"), ("validation", "test")]


def stem(word: str) -> str:
    """A word without its ending, so that "repaired" and "repair" are one."""
    word = word.lower().strip("'").removesuffix("'s")
    for ending in ("ing", "ied", "ies", "ed", "es", "s", "d", "e", "ly"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            word = word[: -len(ending)] + ("y" if ending in ("ied", "ies") else "")
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


@pytest.mark.parametrize("name", SAMPLE_TASKS)
def test_splits_share_no_words_but_common_ones(name: str) -> None:
    words = {
        side: {
            stem(word) for e in rows(name, side).examples for text in e.texts for word in re.findall(r"[\w']+", text)
        }
        - {stem(word) for word in COMMON}
        for side in SIZES[name]
    }
    assert all(len(found) > 70 for found in words.values())
    for one, other in PAIRS:
        assert words[one] & words[other] == set()


@pytest.mark.parametrize("banks", [sst2.SIDES, _frames.MNLI, _frames.CB])
def test_frames_differ_from_split_to_split(banks: dict[str, dict[str, str]]) -> None:
    plain = {"{P} {x}.", "did not {base}", "never {past}", "didn't {base}"}
    sides = {side: {part for parts in frames(texts).values() for part in parts} for side, texts in banks.items()}
    assert all(len(found) > 20 for found in sides.values())
    for one, other in PAIRS:
        assert sides[one] & sides[other] <= plain


SIDES = ("train", "validation", "test", "discourse")


@pytest.mark.parametrize(("one", "other"), [*PAIRS, *((side, "discourse") for side in SIDES[:3])])
def test_banks_share_no_verbs_or_facts(one: str, other: str) -> None:
    wordings = [
        {wording for aspect in aspects(read_bank("people", side)) for v in aspect.values for wording in v.wordings}
        for side in (one, other)
    ]
    done = [
        {aspect.values[0].wordings[0].split()[0] for aspect in actions(read_bank("actions", side), ("no {base}",), ())}
        for side in (one, other)
    ]
    assert wordings[0].isdisjoint(wordings[1])
    assert done[0].isdisjoint(done[1])


def test_aspects_have_values_that_exclude_each_other() -> None:
    for side in SIDES:
        for aspect in aspects(read_bank("people", side)):
            assert len(aspect.values) >= 2
            assert all(len(value.wordings) >= 2 for value in aspect.values)
            assert aspect.theme
            texts = [wording for value in aspect.values for wording in (*value.wordings, *value.general)]
            assert len(set(texts)) == len(texts)


def test_questions_differ_from_split_to_split() -> None:
    banks = {side: topics(read_bank("questions", side)) for side in SIDES[:3]}
    sides = {side: {w for topic in bank for i in topic.intents for w in i} for side, bank in banks.items()}
    for one, other in PAIRS:
        assert sides[one].isdisjoint(sides[other])
    for topic in (topic for bank in banks.values() for topic in bank):
        assert len(topic.things) >= 5
        assert all(len(intent) >= 2 and "{" in wording for intent in topic.intents for wording in intent)
        assert all(one != other for one, other in pairwise(topic.intents))
