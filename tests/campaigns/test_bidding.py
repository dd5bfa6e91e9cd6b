"""Bids and budgets: what is accepted, what is kept, what is refused with a sentence."""

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, transaction

from campaigns.auction.validation import MAX_BALANCE_MICROS, MAX_BID_MICROS, InvalidInput, parse_amount
from campaigns.bidding import set_bid, set_budgets
from campaigns.models import Bid, Campaign
from tests.hostile import HOSTILE_AMOUNTS
from tests.market import acme, check, click, mark_demo, serve

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books_hold(db):
    yield
    check()


def test_every_bid_is_kept(alice):
    ad = acme(bid=10)
    for amount in (20, 20, 10):
        bid = set_bid(ad=ad, amount_micros=amount, set_by=alice)
    assert list(ad.bids.values_list("amount_micros", flat=True)) == [10, 20, 10]  # latest first; 20 twice is no news
    assert (ad.bids.first(), bid.set_by) == (bid, alice)


@pytest.mark.parametrize("amount", [0, -1, MAX_BID_MICROS + 1, 2**63, 9**500, 1.5, 5.0, True, "5", None, float("nan")])
def test_what_is_no_bid_is_refused(amount):  # M10
    ad = acme(bid=10)
    with pytest.raises(InvalidInput):
        set_bid(ad=ad, amount_micros=amount)
    assert Bid.objects.count() == 1


@pytest.mark.parametrize("amount", [0, -1, MAX_BALANCE_MICROS + 1, 2**63, 1.5, True, "5", None, float("nan")])
def test_what_is_no_budget_is_refused(amount):  # M10
    campaign = acme().campaign
    for daily, total in ((amount, 100), (100, amount)):
        with pytest.raises(InvalidInput):
            set_budgets(campaign=campaign, daily_budget_micros=daily, total_budget_micros=total)


def test_no_hostile_text_becomes_a_bid():  # M10: what forms and the API do with text
    ad = acme(bid=10)
    assert len(HOSTILE_AMOUNTS) >= 200
    for text in HOSTILE_AMOUNTS:
        with pytest.raises(InvalidInput):
            set_bid(ad=ad, amount_micros=parse_amount(text, minimum=1, maximum=MAX_BID_MICROS))
    assert Bid.objects.count() == 1


@pytest.mark.parametrize("amount", [1, MAX_BID_MICROS])
def test_bids_at_the_bounds_are_accepted(amount):  # M11
    assert set_bid(ad=acme(bid=10), amount_micros=amount).amount_micros == amount


@pytest.mark.parametrize("amount", [0, MAX_BID_MICROS + 1])
def test_bids_beyond_the_bounds_are_refused_by_the_database_too(amount):  # M11
    ad = acme(bid=10)
    with pytest.raises(IntegrityError), transaction.atomic():
        Bid.objects.create(ad=ad, amount_micros=amount)


def test_bid_in_the_past_needs_a_demo_database():
    ad, at = acme(bid=10), datetime(2026, 5, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="demo"):
        set_bid(ad=ad, amount_micros=20, at=at)
    mark_demo()
    assert set_bid(ad=ad, amount_micros=20, at=at).created_at == at


def test_budget_below_what_is_spent_is_refused():  # M6
    ad = acme(bid=50)
    for token in [serve(ad) for _ in range(2)]:
        click(token)
    campaign = ad.campaign
    with pytest.raises(InvalidInput, match=r"0\.0001 of the total budget is already spent"):
        set_budgets(campaign=campaign, daily_budget_micros=100, total_budget_micros=99)
    with pytest.raises(InvalidInput, match=r"0\.0001 of today's budget is already spent"):
        set_budgets(campaign=campaign, daily_budget_micros=99, total_budget_micros=100)
    set_budgets(campaign=campaign, daily_budget_micros=100, total_budget_micros=100)
    assert Campaign.objects.get().total_budget_micros == 100


def test_yesterdays_spend_does_not_hold_todays_budget_up():
    mark_demo()
    ad, yesterday = acme(bid=50), datetime(2020, 5, 1, tzinfo=UTC)
    click(serve(ad, origin="demo", at=yesterday), at=yesterday)
    campaign = set_budgets(campaign=ad.campaign, daily_budget_micros=10, total_budget_micros=MAX_BALANCE_MICROS)
    assert (campaign.day_spent_micros, campaign.spent_micros) == (0, 50)
    assert Campaign.objects.get().daily_budget_micros == 10
