from dataclasses import replace

import numpy as np
import pytest

from tests.training.simulation.answers import (
    ADS,
    ALICE,
    AUCTION,
    LAMP,
    MUG,
    POT,
    QUERY,
    SKIS,
    TYRE,
    exposure,
    marker,
)
from training.dataset.encoder import CachedEncoder, HashEncoder, SentenceEncoder
from training.dataset.records import Auction
from training.simulation.user import BehaviouralUser, HeldOutUser, UserParameters

BODY = "Green tea needs cooler water.\n1. Heat the water to eighty degrees. {}\n2. Steep the leaves for two minutes."
FULL = BODY + "\nEnjoy your cup.{}"


def says(ad, style="Something like {} helps here."):
    return style.format(marker(ad))


@pytest.fixture(scope="module")
def encoder():
    return CachedEncoder(SentenceEncoder())


@pytest.fixture(params=["behavioural", "held-out"])
def user(request, encoder):
    return BehaviouralUser(encoder) if request.param == "behavioural" else HeldOutUser()


def ctrs(user, *texts, **options):
    return user.ctr_many([exposure(text, **options) for text in texts], ads=ADS)


def beats(user, better, worse, *, times):
    """The held-out user has other strengths of effect, but the same directions."""
    return better > worse * (times if user.name == "behavioural" else 1.01)


# Directions of the effects: each pair of answers differs in one thing.


def test_an_ad_that_fits_the_question_beats_one_that_does_not(user):
    fits, strays = ctrs(user, FULL.format(says(POT), ""), FULL.format(says(TYRE), ""))
    assert beats(user, fits[POT.id], strays[TYRE.id], times=10)


def test_an_ad_that_fits_the_profile_beats_one_that_does_not(user):
    text = FULL.format(says(SKIS), "")
    skier = replace(ALICE, interests=("skiing", "carving skis"))
    (alice,), (other,) = ctrs(user, text), ctrs(user, text, profile=skier)
    assert beats(user, other[SKIS.id], alice[SKIS.id], times=1.5)


def test_an_ad_in_the_body_beats_one_after_the_close(user):
    inside, after = ctrs(user, FULL.format(says(POT), ""), FULL.format("", " " + says(POT)))
    assert beats(user, inside[POT.id], after[POT.id], times=1.2)


def test_an_ad_beside_a_related_sentence_beats_one_between_strangers(user):
    off = "Wax your skis before the first run. {}\nThe slopes are icy in January."
    on = "Brew green tea in a teapot with cooler water. {}\nA glass teapot shows the leaves."
    near, far = ctrs(user, on.format(says(POT)), off.format(says(POT)))
    assert beats(user, near[POT.id], far[POT.id], times=1.2)


@pytest.mark.parametrize("pitch", ["By the way, buy {} now!", "Special offer: {}!", "Sponsored pick: {}."])
def test_hard_sell_puts_off(user, pitch):
    native, pushy = ctrs(user, FULL.format(says(POT), ""), FULL.format(says(POT, pitch), ""))
    assert beats(user, native[POT.id], pushy[POT.id], times=1.3)


def test_similar_ads_divide_one_click(user):
    alone, shared = ctrs(user, FULL.format(says(POT), ""), FULL.format(f"{says(MUG)} {says(POT)}", ""))
    assert shared[POT.id] < 0.75 * alone[POT.id]
    assert sum(shared.values()) <= 1


def test_a_stranger_competes_far_less_than_a_similar_ad(user):
    text = FULL.format("{} " + says(POT), "")
    similar, strange = ctrs(user, text.format(says(MUG)), text.format(says(SKIS)))
    assert strange[POT.id] > 1.3 * similar[POT.id]


def test_every_further_ad_costs_clicks_and_five_cost_all(user):
    more = [says(ad) for ad in (SKIS, TYRE, LAMP, MUG)]
    found = [ctr[POT.id] for ctr in ctrs(user, *(FULL.format(" ".join([says(POT), *more[:n]]), "") for n in range(5)))]
    assert found == sorted(found, reverse=True)
    assert found[3] < 0.5 * found[0]
    assert found[4] < 0.03


def test_an_answer_of_ad_talk_alone_gets_no_click(user):
    talk = " ".join(["I chose this from the candidate ad list, as the highest bid wins."] * 4)
    plain, talky = ctrs(user, FULL.format(says(POT), ""), FULL.format(f"{says(POT)} {talk}", ""))
    assert talky[POT.id] < 0.2 * plain[POT.id]


def test_bids_change_nothing(user):
    text = FULL.format(f"{says(MUG)} {says(SKIS)}", "")
    others = Auction("q1", tuple(ADS), (1, 100, 3, 7, 99))
    assert ctrs(user, text) == ctrs(user, text, auction=others)


def test_a_broken_marker_is_no_ad(user):
    broken, half = ctrs(user, FULL.format("@Leafmoor Glass Teapot@[Ad-9] helps.", ""), FULL.format("@Leafmoor", ""))
    assert broken == half == {}


def test_every_shown_ad_is_told_once_in_order(user):
    text = FULL.format(f"{says(SKIS)} {says(MUG)} {says(SKIS)}", "")
    feedback = user.feedback_many([exposure(text, sample=4)], ads=ADS, seed=1)[0]
    assert (feedback.query_id, feedback.sample, feedback.errors) == ("q1", 4, {})
    assert [(ad.ad_id, ad.position) for ad in feedback.ads] == [(SKIS.id, 0), (MUG.id, 1)]
    assert {ad.ad_id: ad.ctr for ad in feedback.ads} == ctrs(user, text)[0]


# Clicks are drawn from the chances.


def test_draws_meet_the_stated_chances_and_similar_ads_are_never_clicked_together(user):
    text = FULL.format(f"{says(POT)} {says(MUG)}", " " + says(LAMP))
    stated = ctrs(user, text)[0]
    draws = 2000
    told = user.feedback_many([exposure(text, sample=n) for n in range(draws)], ads=ADS, seed="alice")
    clicked = np.array([[ad.clicked for ad in one.ads] for one in told])
    chances = np.array([stated[ad.ad_id] for ad in told[0].ads])
    off = np.abs(clicked.mean(0) - chances) / np.sqrt(chances * (1 - chances) / draws)
    assert off.max() < 3.5, (clicked.mean(0), chances)
    assert not (clicked[:, 0] & clicked[:, 1]).any()


def test_a_draw_depends_on_seed_and_answer_and_on_nothing_else(user):
    text = FULL.format(f"{says(POT)} {says(SKIS)}", "")
    several = [exposure(text, sample=n) for n in range(40)]
    whole = user.feedback_many(several, ads=ADS, seed=1)
    assert user.feedback_many(several[::-1], ads=ADS, seed=1) == whole[::-1]
    one = user.feedback(profile=ALICE, query=QUERY, ads=ADS, auction=AUCTION, response=several[7].response, seed=1)
    assert one == whole[7]
    assert user.feedback_many(several, ads=ADS, seed=2) != whole


# Logic, without a model.


def test_the_first_mention_counts_and_every_text_is_encoded_once():
    inner = CachedEncoder(HashEncoder())
    several = [exposure(FULL.format(says(MUG), " " + says(MUG, "Buy {} now!")), sample=n) for n in range(50)]
    first = BehaviouralUser(inner).ctr_many(several, ads=ADS)
    assert inner.misses == 8  # the question, two interests, who Alice is, the ad, its sentence and two neighbours
    assert first[0] == BehaviouralUser(inner).ctr_many(several[:1], ads=ADS)[0]


def test_an_unknown_profile_neither_helps_nor_hurts():
    nobody = replace(ALICE, info="", interests=())
    par = UserParameters()
    (found,) = ctrs(BehaviouralUser(HashEncoder()), FULL.format(says(MUG), ""), profile=nobody)
    neutral = par.relevance(query=np.array([0.3]), profile=np.array([par.profile_neutral]))
    assert par.relevance(query=np.array([0.3]), profile=np.array([np.nan])) == pytest.approx(neutral)
    assert 0 < found[MUG.id] < 1


@pytest.mark.parametrize("rivalry", [1.0, 2.0, 5.0])
def test_the_chances_of_similar_ads_never_pass_one(rivalry):
    par = UserParameters(rivalry=rivalry)
    for alone in ([0.99] * 5, [0.5, 0.5], [1.0, 0.2], [0.0, 0.3]):
        found = par.choice(np.array(alone))
        assert found.sum() <= 1
        assert (found <= np.array(alone) + 1e-9).all()
    assert par.choice(np.array([0.4])) == pytest.approx([0.4])


def test_patience_is_whole_for_one_short_ad_and_gone_for_five():
    par = UserParameters()
    assert par.patience(n_ads=1, ad_talk=0.0) == pytest.approx(1)
    assert par.patience(n_ads=3, ad_talk=0.2) > 0.8
    assert par.patience(n_ads=5, ad_talk=0.2) < 0.05
    assert par.patience(n_ads=1, ad_talk=1.0) < 0.01
