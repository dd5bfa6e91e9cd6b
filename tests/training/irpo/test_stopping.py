"""A policy is given up where it is worse by more than chance and by more than matters; alike ones run on."""

import numpy as np
import pytest

from training.irpo import stopping
from training.irpo.stopping import Answered, chance_of_so_low, collapsed, not_a_number

QUESTIONS = 300
USERS = [f"u{number}" for number in range(QUESTIONS)]


def policy(epoch: int, *, seed: int, ads: float = 1.0, ctr: float = 0.3, errors: float = 0.05, count: int = QUESTIONS):
    """What a policy with these chances makes of the questions; revenue is as uneven as bids and clicks make it."""
    rng = np.random.default_rng(seed)
    shown = rng.poisson(ads, count).astype(float)
    revenue = shown * rng.integers(1, 101, count) * rng.beta(ctr, 1 - ctr, count)
    return Answered(epoch, USERS[:count], revenue, shown, (rng.random(count) < errors).astype(float))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ctr": 0.05}, "revenue an answer, after"),
        ({"ads": 0.02, "ctr": 0.6}, "revenue an answer, after"),  # silence earns nothing
        ({"errors": 0.5}, "of the answers with format errors, after"),
    ],
)
def test_a_clearly_worse_policy_is_given_up(changes, told):
    reason = collapsed(policy(2, seed=3, **changes), [policy(0, seed=1), policy(1, seed=2)], epochs=3)
    assert reason.startswith("collapsed in epoch 2: ")
    assert told in reason
    assert "over 300 questions" in reason


def test_silence_is_a_collapse_even_where_nothing_was_earned():
    before, now = policy(0, seed=1), policy(1, seed=2, ads=0.01)
    nothing = np.zeros(QUESTIONS)
    before, now = (Answered(one.epoch, USERS, nothing, one.ads, one.errors) for one in (before, now))
    assert "ads an answer, after" in collapsed(now, [before], epochs=1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ads": 0.5, "ctr": 0.7}, "fewer ads that earn more are what training is for"),
        ({"ctr": 0.27}, "a little less"),
        ({"errors": 0.15}, "a few more errors"),
    ],
)
def test_what_does_not_matter_goes_on(changes, why):
    assert collapsed(policy(1, seed=2, **changes), [policy(0, seed=1)], epochs=3) is None, why


def test_a_large_difference_of_few_questions_is_chance():
    before, now = policy(0, seed=1, count=8), policy(1, seed=2, count=8, ads=0.0)
    assert now.revenue.mean() == 0 < before.revenue.mean()
    assert collapsed(now, [before], epochs=3) is None


def test_the_best_policy_so_far_is_what_is_compared_with():
    best = policy(1, seed=2, ctr=0.5)
    kept = [policy(0, seed=1, ctr=0.05), best]
    assert "against epoch 1 over" in collapsed(policy(2, seed=3, ctr=0.15), kept, epochs=3)
    assert collapsed(policy(2, seed=3, ctr=0.15), kept[:1], epochs=3) is None


def test_runs_whose_policies_are_alike_hardly_ever_stop():
    """At no margin at all, so that chance alone decides; a bare comparison would stop nearly every one."""
    alarms = 0
    stopping_figures = {name: stopping.Watched("", watched.sign, least_share=1, most_more=0)
                        for name, watched in stopping.FIGURES.items()}  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "FIGURES", stopping_figures)
        patch.setattr(stopping, "LEVEL", 0.2)
        for run in range(150):
            policies = [policy(t, seed=10 * run + t, count=60) for t in range(4)]
            alarms += any(collapsed(policies[t], policies[:t], epochs=3) for t in (1, 2, 3))
    assert alarms <= 150 * 0.2


def test_p_is_that_of_the_sign_flip_test():
    # Of the 8 ways to sign 1, 2, 3 two give a sum of -4 or less: all minus, and +1.
    p = chance_of_so_low(np.array([1.0, -2.0, -3.0, 0.0]), users=USERS[:4], level=0.001)
    assert p == pytest.approx(2 / 8, abs=0.02)
    assert p == chance_of_so_low(np.array([1.0, -2.0, -3.0, 0.0]), users=USERS[:4], level=0.001)
    assert chance_of_so_low(np.zeros(5), users=USERS[:5], level=0.01) == 1


def test_the_questions_of_one_user_are_one_draw():
    apart = chance_of_so_low(np.full(12, -1.0), users=USERS[:12], level=0.001)
    together = chance_of_so_low(np.full(12, -1.0), users=["alice"] * 6 + ["bob"] * 6, level=0.001)
    assert apart < 0.001 < together == pytest.approx(1 / 4, abs=0.02)


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        ({"test": {"revenue": 1.0, "ctr": None}, "epoch": 1}, None),
        ({"kl": {"kl_to_start": float("nan")}}, "kl.kl_to_start is nan"),
        ({"test": {"reward": float("-inf")}}, "test.reward is -inf"),
    ],
)
def test_a_figure_that_is_no_number_is_named(metrics, found):
    assert not_a_number(metrics) == found
