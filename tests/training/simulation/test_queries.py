import random
from collections import Counter

import pytest

from training.lab import questions as lab
from training.lab.questions import bare, with_article
from training.lab.topics import load_topics
from training.simulation import queries
from training.simulation.profiles import make_people
from training.simulation.queries import BuiltinQueries, normal

PEOPLE = make_people(count=600, seed=3)
ASKED = list(BuiltinQueries(seed=3).questions(PEOPLE, num_queries=5))


def texts(split):
    return [
        normal(text)
        for person, row in zip(PEOPLE, ASKED, strict=True)
        if person.profile.split == split
        for text in row.texts
    ]


def test_everybody_asks_five_different_questions_and_nobody_repeats_another():
    assert [row.profile_id for row in ASKED] == [person.profile.id for person in PEOPLE]
    everything = texts("train") + texts("test")
    assert len(everything) == len(set(everything)) == 3000


def test_the_same_seed_asks_the_same():
    again = list(BuiltinQueries(seed="3").questions(PEOPLE, num_queries=5))
    other = list(BuiltinQueries(seed=4).questions(PEOPLE, num_queries=5))
    assert again == ASKED != other


def test_skipping_users_changes_nothing_for_those_who_follow():
    assert list(BuiltinQueries(seed=3).questions(PEOPLE, num_queries=5, skip=590)) == ASKED[590:]


def test_most_questions_fit_the_profile_some_do_not_and_some_fit_no_category():
    pairs = [(person, slug) for person, row in zip(PEOPLE, ASKED, strict=True) for slug in row.categories]
    elsewhere = sum(slug is None for _, slug in pairs) / len(pairs)
    liked = sum(slug in person.likes for person, slug in pairs) / len(pairs)
    assert 0.065 < elsewhere < 0.1
    assert 0.72 < liked < 0.8
    assert {slug for _, slug in pairs} == {None, *load_topics()}
    assert all(slug is None or slug in person.open_to for person, slug in pairs)


def test_the_wording_of_test_questions_is_unknown_to_lab_training_and_to_train_users():
    rng = random.Random(1)
    slugs = list(load_topics())
    trained = {normal(lab.training_question(rng, category=rng.choice(slugs)).text) for _ in range(20_000)}
    assert not set(texts("test")) & (trained | set(texts("train")))


def test_what_the_lab_holds_out_is_for_test_users_alone():
    entries = load_topics().values()
    held_out = [normal(lab.held_out_topic(entry)[1]) for entry in entries]
    held_out += [normal(lab.held_out_question(entry)[1]) for entry in entries]
    held_out += [normal(form.split("{t}")[0]) for form in lab.HELD_OUT_ABOUT]
    uses = Counter()
    for split in ("train", "test"):
        uses[split] = sum(any(f" {part} " in f" {text} " for part in held_out) for text in texts(split))
    assert uses["train"] == 0
    assert uses["test"] > 300


def test_a_grammar_that_runs_dry_says_so(monkeypatch):
    monkeypatch.setattr(queries, "TRIES", 0)
    with pytest.raises(ValueError, match="cannot word 5 different questions"):
        list(BuiltinQueries(seed=3).questions(PEOPLE[:1], num_queries=5))


@pytest.mark.parametrize(
    ("product", "inside", "with_its_article"),
    [
        ("Espresso Machine", "espresso machine", "an espresso machine"),
        ("Ukulele Starter Set", "ukulele starter set", "a ukulele starter set"),
        ("USB Hub", "USB hub", "a USB hub"),
        ("Earl Grey Tea", "Earl Grey tea", "Earl Grey tea"),  # a mass
        ("Running Socks", "running socks", "running socks"),  # a plural
        ("Dog Harness", "dog harness", "a dog harness"),  # only looks like one
        ("Prime Lens", "prime lens", "a prime lens"),
        ("Cookbook for Weeknights", "cookbook for weeknights", "a cookbook for weeknights"),
    ],
)
def test_products_are_named_as_people_do(product, inside, with_its_article):
    assert (bare(product), with_article(product)) == (inside, with_its_article)
