from collections import Counter

import pytest

from campaigns.auction.categories import CATEGORIES
from training.simulation.profiles import make_people

PEOPLE = make_people(count=1000, seed=3)


def test_one_user_in_five_is_for_testing():
    assert Counter(person.profile.split for person in PEOPLE) == {"train": 800, "test": 200}
    other = make_people(count=1000, seed=4)
    assert [p.profile.split for p in other] != [p.profile.split for p in PEOPLE]


def test_the_same_seed_makes_the_same_people():
    assert make_people(count=50, seed=3) == make_people(count=50, seed="3") != make_people(count=50, seed=4)


def test_no_two_users_are_described_alike():
    assert len({person.profile.info for person in PEOPLE}) == 1000


def test_interests_are_three_to_six_of_the_categories_and_all_occur():
    assert all(3 <= len(set(p.likes)) == len(p.likes) <= 6 and set(p.likes) <= set(p.open_to) for p in PEOPLE)
    assert {slug for person in PEOPLE for slug in person.likes} == set(CATEGORIES)


@pytest.mark.parametrize(
    ("interest", "words"),
    [  # an interest, and what its user's life must hold
        ("dogs", ("dog", "puppy")),
        ("cats", ("cat",)),
        ("baby-care", ("baby",)),
        ("car-care", ("car", "Drives")),
        ("gardening", ("garden", "balcony", "house", "farmhouse")),
    ],
)
def test_interests_fit_the_life(interest, words):
    likers = [person for person in PEOPLE if interest in person.likes]
    assert likers
    assert all(any(word in person.profile.info for word in words) for person in likers)


def test_nobody_old_lives_with_flatmates_or_a_baby():
    for person in PEOPLE:
        age = next(int(words[5:7]) for words in person.remarks if words.startswith("I am ") and words[5:7].isdigit())
        assert 18 <= age <= 88
        assert ("flatmates" in person.profile.info) <= (age < 35)
        assert ("baby" in person.profile.info) <= (age < 45)
        assert ("Retired" in person.profile.info or "retired" in person.profile.info) == (
            "I am retired." in person.remarks
        )
