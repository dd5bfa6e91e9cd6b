"""The data files the demo starts from: believable, complete, and valid by the rules that bind everybody."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from campaigns.auction.candidates import MICROS
from campaigns.auction.categories import CATEGORIES
from campaigns.auction.validation import (
    MAX_BALANCE_MICROS,
    MAX_BID_MICROS,
    MIN_BID_MICROS,
    clean_ad_id,
    clean_landing_url,
    clean_profile,
    clean_query,
    clean_title,
    parse_amount,
    title_skeleton,
)

ROOT = Path(__file__).resolve().parents[2]
ADVERTISERS = json.loads((ROOT / "campaigns/data/catalogue.json").read_text(encoding="utf-8"))
PROFILES = json.loads((ROOT / "chat/data/profiles.json").read_text(encoding="utf-8"))
QUESTIONS = json.loads((ROOT / "chat/data/questions.json").read_text(encoding="utf-8"))
CAMPAIGNS = [campaign for advertiser in ADVERTISERS for campaign in advertiser["campaigns"]]
ADS = [ad for campaign in CAMPAIGNS for ad in campaign["ads"]]


def test_hundred_ads_of_thirty_advertisers_stand_in_fifty_categories():
    assert len(ADVERTISERS) == 30
    assert len(ADS) == 100
    assert Counter(ad["category"] for ad in ADS) == dict.fromkeys(CATEGORIES, 2)


def test_rivals_share_every_category():
    owners = {(ad["category"], advertiser["slug"]) for advertiser in ADVERTISERS for ad in _ads_of(advertiser)}
    assert len(owners) == len(ADS)


def test_nothing_is_there_twice():
    for key in ("id", "title", "landing_url", "description"):
        assert max(Counter(ad[key] for ad in ADS).values()) == 1, key
    assert len({title_skeleton(ad["title"]) for ad in ADS}) == len(ADS)
    assert len({advertiser["name"] for advertiser in ADVERTISERS}) == len(ADVERTISERS)
    assert len({advertiser["slug"] for advertiser in ADVERTISERS}) == len(ADVERTISERS)


def test_ids_have_four_digits_and_follow_no_order():
    ids = [clean_ad_id(ad["id"]) for ad in ADS]
    assert all(len(ad_id) == len("Ad-1234") for ad_id in ids)
    assert 35 <= sum(one < other for one, other in pairwise(ids)) <= 65


@pytest.mark.parametrize("advertiser", ADVERTISERS, ids=lambda advertiser: advertiser["slug"])
def test_advertiser_is_valid(advertiser):
    assert advertiser["slug"] == advertiser["name"].lower()
    assert ZoneInfo(advertiser["time_zone"])
    assert 10_000 <= advertiser["deposit"] <= 50_000
    assert len({campaign["name"] for campaign in advertiser["campaigns"]}) == len(advertiser["campaigns"]) > 0
    for ad in _ads_of(advertiser):
        assert ad["title"].startswith(advertiser["name"])
        assert ad["landing_url"].startswith(f"https://{advertiser['slug']}.example/")


@pytest.mark.parametrize("campaign", CAMPAIGNS, ids=lambda campaign: campaign["name"])
def test_budgets_suit_the_bids(campaign):
    daily, total = (_micros(campaign[key], maximum=MAX_BALANCE_MICROS) for key in ("daily_budget", "total_budget"))
    assert 300 * MICROS <= daily <= 2000 * MICROS
    assert 5000 * MICROS <= total <= 40_000 * MICROS
    assert daily >= 3 * max(ad["bid"] for ad in campaign["ads"]) * MICROS  # a few clicks a day at least


@pytest.mark.parametrize("ad", ADS, ids=lambda ad: ad["id"])
def test_ad_is_valid(ad):
    assert clean_title(ad["title"]) == ad["title"]
    assert clean_landing_url(ad["landing_url"]) == ad["landing_url"]
    assert 2 <= len(ad["title"].split()) <= 5
    assert 10 <= len(ad["title"]) <= 60
    assert 20 <= len(ad["description"]) <= 300
    assert clean_profile(ad["description"]) == ad["description"]
    assert _micros(ad["bid"], maximum=MAX_BID_MICROS) == ad["bid"] * MICROS


def test_bids_cover_one_to_a_hundred():
    assert sorted(ad["bid"] for ad in ADS) == list(range(1, 101))


def test_profiles_are_valid():
    assert len(PROFILES) == len({profile["name"] for profile in PROFILES}) == 12
    for profile in PROFILES:
        assert profile.keys() == {"name", "basic_information", "interests"}
        for text in profile.values():
            assert clean_profile(text, max_length=300) == text != ""


def test_three_questions_ask_about_each_category():
    assert Counter(question["category"] for question in QUESTIONS) == dict.fromkeys(CATEGORIES, 3)
    assert len({question["text"] for question in QUESTIONS}) == len(QUESTIONS)
    for question in QUESTIONS:
        assert clean_query(question["text"], max_length=120) == question["text"]
        assert question["text"].isascii()
        assert question["text"][0].isupper()
        assert question["text"].endswith(("?", "."))


def _ads_of(advertiser: dict) -> list[dict]:
    return [ad for campaign in advertiser["campaigns"] for ad in campaign["ads"]]


def _micros(units: int, *, maximum: int) -> int:
    assert type(units) is int
    return parse_amount(str(units), minimum=MIN_BID_MICROS, maximum=maximum)
