import math
import random

import pytest

from training.evaluation.paired import FIGURES, SUMS, Outcome, compare


def outcome(number, *, user="", **sums):
    return Outcome(f"0/q{number}/0", user or f"u{number}", dict.fromkeys(SUMS, 0.0) | {"answers": 1} | sums)


def policies(count=200, *, times=3.0, seed=1):
    """Questions differ a lot in what they bring; from each, the second policy gets a few times as much, and a bit."""
    rng = random.Random(seed)
    worth = [rng.expovariate(1 / 10) for _ in range(count)]
    return {
        "base": [outcome(n, revenue=w, expected=w, ads=1, told=1) for n, w in enumerate(worth)],
        "irpo": [
            outcome(n, revenue=times * w, expected=times * w + rng.random(), ads=2, told=2, fitting=1)
            for n, w in enumerate(worth)
        ],
    }


def test_figures_are_sums_divided_by_sums():
    found = compare(policies(), draws=200)
    base, irpo = found["policies"]["base"], found["policies"]["irpo"]
    assert (base["ads_per_answer"]["mean"], irpo["ads_per_answer"]["mean"]) == (1.0, 2.0)
    assert (base["share_on_topic"]["mean"], irpo["share_on_topic"]["mean"]) == (0.0, 0.5)
    assert base["revenue"]["low"] < base["revenue"]["mean"] < base["revenue"]["high"]
    assert (found["answers"], found["users"]) == (200, 200)


def test_what_all_policies_find_easy_cancels_out_of_a_comparison():
    found = compare(policies(), draws=500)
    times = found["against"]["policies"]["irpo"]["revenue"]["times"]
    assert times == {"mean": 3.0, "low": 3.0, "high": 3.0}  # although revenue itself varies
    more = found["against"]["policies"]["irpo"]["expected_revenue"]["more"]
    assert 0 < more["low"] < more["mean"] < more["high"]


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for seed in range(100):
        rng = random.Random(seed)
        answered = {"base": [outcome(n, revenue=rng.gauss(5, 2)) for n in range(60)]}
        found = compare(answered, draws=400, seed=seed)["policies"]["base"]["revenue"]
        held += found["low"] <= 5 <= found["high"]
    assert 88 <= held <= 99


def test_many_answers_of_one_user_are_one_draw():
    def width(users):
        rng = random.Random(3)
        tastes = {user: rng.gauss(5, 2) for user in range(users)}
        answered = [outcome(n, user=f"u{n % users}", revenue=tastes[n % users]) for n in range(200)]
        found = compare({"base": answered}, draws=500)["policies"]["base"]["revenue"]
        return found["high"] - found["low"]

    assert width(20) > 2 * width(200)


def test_what_is_not_known_is_none():
    answered = [outcome(n, revenue=1.0, expected=math.nan, chances=math.nan) for n in range(5)]
    found = compare({"base": answered, "irpo": answered}, draws=50)
    base = found["policies"]["base"]
    assert (base["expected_revenue"], base["ctr"], base["share_on_topic"]) == (None, None, None)  # nothing was shown
    assert base["revenue"]["mean"] == 1.0
    assert set(base) == set(FIGURES)
    against = found["against"]["policies"]["irpo"]
    assert (against["expected_revenue"], against["reward"]["times"]) == ({"more": None, "times": None}, None)


def test_policies_must_have_answered_the_same_questions():
    both = policies(5)
    with pytest.raises(ValueError, match="irpo and base did not answer the same questions"):
        compare(both | {"irpo": both["irpo"][:4]})
    with pytest.raises(ValueError, match="no answers"):
        compare({"base": []})
