"""The embedded text tasks: sizes, disjoint splits, right answers, and no prompt that upstream has."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations, islice
from random import Random

import pytest

from glorabench.data.text import copying, world
from glorabench.data.text.gloss_category import gloss_examples
from glorabench.data.text.mini_text import MINI_TEXT_SIZES, MINI_TEXT_TASKS, draw_mini_text, load
from glorabench.data.text.upstream import MIXTURES, documents, held_out_glosses, upstream_glosses
from glorabench.data.text.wordnet import read_wordnet, roots
from glorabench.errors import BadInput

FINGERPRINTS = {
    "gloss_category": "3892f63a",
    "facts": "cf4983a3",
    "word_sums": "baa7b4bb",
    "dialogue": "82fe8951",
    "record_form": "a7b39b77",
}
SETTINGS = {
    "template": "question",
    "max_length": 192,
    "truncate": None,
    "loss_on": "response",
    "max_new_tokens": 8,
    "pack": False,
}


@pytest.mark.parametrize("task", MINI_TEXT_TASKS)
def test_no_prompt_occurs_twice_and_sizes_hold(task: str) -> None:
    splits = draw_mini_text(task)
    assert {name: len(splits[name]) for name in MINI_TEXT_SIZES} == dict(MINI_TEXT_SIZES)
    assert splits["trainval"] == [*splits["train"], *splits["val"]]
    prompts = [example.prompt for name in MINI_TEXT_SIZES for example in splits[name]]
    assert len(set(prompts)) == len(prompts)


def test_the_examples_are_the_same_on_every_machine() -> None:
    """The fingerprint stands in every record: if this one changes, raise the version of the suite."""
    prints = {task: load(task, "", **SETTINGS).fingerprint[:8] for task in MINI_TEXT_TASKS}
    assert prints == FINGERPRINTS


@pytest.mark.parametrize("mixture", list(MIXTURES))
def test_upstream_has_no_prompt_and_no_question_of_a_task(mixture: str) -> None:
    upstream = "\n".join(islice(documents(Random(1), MIXTURES[mixture]), 20_000))
    for task in MINI_TEXT_TASKS:
        for example in draw_mini_text(task)["test"]:
            assert example.prompt not in upstream
    questions = [form.partition("{who}")[0].strip() for forms in world.QUESTIONS.values() for form in forms]
    instructions = [form[0] for form in copying.FORMS]
    for text in (*questions, *instructions):
        assert text not in upstream


def test_no_person_is_asked_about_in_two_splits_and_the_answers_are_true() -> None:
    truth = {person.name: person.facts for person in world.neighbours()}
    names: dict[str, set[str]] = {}
    for split in MINI_TEXT_SIZES:
        names[split] = set()
        for example in draw_mini_text("facts")[split]:
            (name,) = (name for name in truth if re.search(rf"\b{name}\b", example.prompt))
            (relation,) = (
                relation
                for relation, forms in world.QUESTIONS.items()
                if example.prompt in {form.format(who=name) for form in forms}
            )
            assert example.completion == truth[name][relation] == example.choices[example.answer]
            assert len(set(example.choices)) == 4
            names[split].add(name)
    for one, two in combinations(names.values(), 2):
        assert not one & two


def test_a_subtree_of_hypernyms_and_a_word_belong_to_one_split() -> None:
    synsets, trees = read_wordnet(), roots(read_wordnet(), 7)
    splits = gloss_examples()
    for one, two in combinations(splits.values(), 2):
        words = [{word.lower() for place in side for word in synsets[place].words} for side in (one, two)]
        assert not words[0] & words[1]
        assert not {trees[place] for place in one} & {trees[place] for place in two}
    for split, places in splits.items():
        counts = Counter(synsets[place].category for place in places)
        assert set(counts.values()) == {MINI_TEXT_SIZES[split] // 10}
    asked = {place for places in splits.values() for place in places}
    assert not asked & {*upstream_glosses(), *held_out_glosses()}
    assert not set(upstream_glosses()) & set(held_out_glosses())


def test_the_working_of_a_sum_is_right() -> None:
    for example in draw_mini_text("word_sums")["test"]:
        first, second = example.completion.split("; ")
        for step in (first, second):
            left, _, right = step.partition(" = ")
            assert eval(left) == int(right) >= 0
        numbers = re.findall(r"\d+", example.prompt)
        assert [*re.findall(r"\d+", first)[:2], re.findall(r"\d+", second)[1]] == numbers


def test_what_a_completion_copies_stands_in_the_prompt() -> None:
    for example in draw_mini_text("dialogue")["test"]:
        for word in example.needed:
            assert re.search(rf"\b{word}\b", example.prompt)
            assert re.search(rf"\b{word}\b", example.completion)
    for example in draw_mini_text("record_form")["test"]:
        values = re.findall(r"\w+", example.completion.replace("1 x", "").replace("Wanted", "").replace(" for ", " "))
        assert values
        assert all(re.search(rf"\b{value}\b", example.prompt) for value in values)


def test_wordnet_is_whole() -> None:
    synsets = read_wordnet()
    assert len(synsets) == 117_659
    assert len({synset.category for synset in synsets}) == 45
    (dog,) = (synset for synset in synsets if synset.words[:2] == ("dog", "domestic dog"))
    assert dog.category == "noun.animal"
    assert dog.examples == ("the dog barked all night",)
    assert "canine" in synsets[dog.parent].words


def test_an_unknown_task_is_named_with_its_neighbour() -> None:
    with pytest.raises(BadInput, match=r"no task 'fact' in the suite mini_text.*facts"):
        load("fact", "", **SETTINGS)
