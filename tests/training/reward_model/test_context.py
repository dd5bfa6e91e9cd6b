from dataclasses import replace

import numpy as np
import pytest

from tests.training.simulation.answers import ADS, ALICE, LAMP, MUG, POT, QUERY, TYRE, exposure, marker
from training.dataset.encoder import HashEncoder
from training.dataset.placement import readings
from training.reward_model.context import FEATURES, context_features

BEFORE, AFTER = "Heat the water to eighty degrees.", "Steep the leaves for two minutes."


def features(*answers, ads=ADS, **options):
    """One dict a shown ad."""
    shown = [exposure(text, **options) for text in answers]
    rows = context_features(shown, readings(shown, ads), ads=ads, encoder=HashEncoder())
    return [dict(zip(FEATURES, map(float, row), strict=True)) for row in rows]


def cosine(one, other):
    rows = HashEncoder().encode([one, other])
    return pytest.approx(float(rows[0] @ rows[1]), abs=1e-6)


def test_an_ad_is_told_by_place_neighbours_topic_and_wording():
    (found,) = features(f"{BEFORE} Special offer: {marker(POT)}! {AFTER}")
    sentence = f"Special offer: {POT.title}!"
    assert found == {
        "place": 0.5,
        "order": 0,
        "has_before": 1,
        "has_after": 1,
        "fit_before": cosine(sentence, BEFORE),
        "fit_after": cosine(sentence, AFTER),
        "fit_best": pytest.approx(max(found["fit_before"], found["fit_after"])),
        "pushy": 1,
        "query": cosine(POT.text, QUERY.text),
        "profile": cosine(POT.text, "tea"),
        "profile_known": 1,
        "n_ads": 1,
        "ad_talk": pytest.approx(5 / 17),
        "rival": 0,
        "rival_category": 0,
        "rival_query": 0,
        "rival_profile": 0,
    }


def test_a_rival_is_the_ad_of_the_same_category_then_the_most_alike():
    pot, mug, lamp = features(f"{BEFORE} Take {marker(POT)}. {AFTER} Or {marker(MUG)}, and {marker(LAMP)}.")
    assert (pot["rival_category"], mug["rival_category"], lamp["rival_category"]) == (1, 1, 0)
    assert pot["rival"] == mug["rival"] == cosine(POT.text, MUG.text)
    assert pot["rival_query"] == mug["query"]
    assert [one["order"] for one in (pot, mug, lamp)] == [0, 1, 2]
    assert {one["n_ads"] for one in (pot, mug, lamp)} == {3}


def test_what_is_not_there_counts_as_nothing():
    nobody = replace(ALICE, info="", interests=())
    (found,) = features(marker(TYRE), profile=nobody)
    assert [found[name] for name in ("has_before", "has_after", "fit_best", "profile_known", "profile")] == [0] * 5
    assert found["ad_talk"] == 1


def test_ids_mean_nothing():
    renamed = {ad.id.replace("Ad-", "Ad-77"): replace(ad, id=ad.id.replace("Ad-", "Ad-77")) for ad in ADS.values()}
    text = f"{BEFORE} Take {marker(POT)}. {AFTER}"
    auction = replace(exposure(text).auction, ad_ids=tuple(renamed))
    assert features(text.replace("[Ad-", "[Ad-77"), ads=renamed, auction=auction) == features(text)


def test_answers_without_ads_have_no_rows():
    shown = [exposure("Heat the water.")]
    rows = context_features(shown, readings(shown, ADS), ads=ADS, encoder=HashEncoder())
    assert rows.shape == (0, len(FEATURES))
    assert rows.dtype == np.float32
