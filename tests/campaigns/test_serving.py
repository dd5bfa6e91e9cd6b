"""Which ads an auction offers, at which bids, and what is written when one is shown."""

import random
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.db import connection

from campaigns import serving, tokens
from campaigns.auction.candidates import Candidate
from campaigns.bidding import set_bid
from campaigns.models import Ad, Advertiser, Auction, AuctionCandidate, Bid, Campaign, Impression
from campaigns.serving import NotACandidate, record_impression, select_candidates, served_ads, words
from tests.market import (
    ALICE,
    acme,
    check,
    click,
    make_ad,
    make_advertiser,
    make_campaign,
    mark_demo,
    serve,
    show,
    zenith,
)
from tests.market import open_auction as opened


def ids(auction) -> list[str]:
    return [candidate.ad_id for candidate in auction.candidates]


# --- selection, pure ---


def offer(public_id: str, *, title: str = "Mug", bid: int = 100, description: str = "", category: str = "coffee"):
    return SimpleNamespace(public_id=public_id, title=title, description=description, category=category, bid_micros=bid)


def test_words_are_what_a_text_is_about():
    assert words("What are the BEST running shoes for my dogs?") == {"running", "shoe", "dog"}


def test_few_ads_all_stand_in_the_prompt_in_order_of_id(settings):
    settings.MAX_CANDIDATES = 3
    ads = [offer("Ad-3", bid=9), offer("Ad-1", bid=1), offer("Ad-2", bid=5)]
    assert [ad.public_id for ad in select_candidates(ads, query="shoes")] == ["Ad-1", "Ad-2", "Ad-3"]


def test_words_in_common_come_before_the_bid(settings):
    settings.MAX_CANDIDATES = 2
    ads = [
        offer("Ad-1", title="Gold Watch", bid=900, category="fashion"),
        offer("Ad-2", title="Trail Shoes", bid=1, category="running"),
        offer("Ad-3", title="Light Runner", description="Shoes for long runs", bid=2, category="running"),
        offer("Ad-4", title="Silver Watch", bid=800, category="fashion"),
    ]
    assert [ad.public_id for ad in select_candidates(ads, query="running shoes?")] == ["Ad-2", "Ad-3"]
    assert [ad.public_id for ad in select_candidates(ads, query="hello")] == ["Ad-1", "Ad-4"]  # nothing in common


def test_higher_bid_never_costs_an_ad_its_place(settings):
    settings.MAX_CANDIDATES = 5
    dice = random.Random(7)
    for _ in range(200):
        titles = ["Red Mug", "Blue Mug", "Trail Shoes", "Tea Pot", "Yoga Mat"]
        ads = [offer(f"Ad-{i}", title=dice.choice(titles), bid=dice.randrange(1, 50)) for i in range(20)]
        mine = dice.choice(ads)
        query = dice.choice(titles)
        before = mine in select_candidates(ads, query=query)
        mine.bid_micros += dice.randrange(1, 50)
        assert not before or mine in select_candidates(ads, query=query)


# --- eligibility ---


@pytest.mark.django_db
def test_candidates_are_frozen_with_their_bids():
    mug, shoes = acme(bid=41_000_000), zenith(bid=3_000_000)
    auction = opened()
    assert auction.candidates == (
        Candidate(mug.public_id, "Acme Mug", 41_000_000),
        Candidate(shoes.public_id, "Zenith Trail Shoes", 3_000_000),
    )
    set_bid(ad=mug, amount_micros=1)
    Ad.objects.filter(pk=mug.pk).update(title="Another title")
    frozen = AuctionCandidate.objects.get(auction=auction.id, ad=mug)
    assert (frozen.bid_micros, frozen.title) == (41_000_000, "Acme Mug")
    row = Auction.objects.get(pk=auction.id)
    assert (row.model_version, row.origin, row.visitor_hash) == ("test", "live", ALICE)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "change"),
    [
        (Ad, {"status": "paused"}),
        (Ad, {"review_state": "draft"}),
        (Ad, {"review_state": "pending"}),
        (Ad, {"review_state": "rejected"}),
        (Campaign, {"status": "paused"}),
        (Advertiser, {"status": "suspended"}),
    ],
)
def test_what_is_not_running_is_not_offered(model, change):
    acme()
    model.objects.update(**change)
    assert opened().candidates == ()


@pytest.mark.django_db
@pytest.mark.parametrize("limit", ["total", "daily", "wallet"])
def test_an_ad_that_could_not_pay_is_not_offered(limit):
    ad = acme(bid=50, **{limit: 99})
    click(serve(ad))
    assert opened().candidates == ()
    set_bid(ad=ad, amount_micros=49)
    assert ids(opened()) == [ad.public_id]
    check()


@pytest.mark.django_db
def test_an_ad_without_a_bid_or_a_wallet_is_not_offered():
    make_ad(make_campaign(make_advertiser("Acme")), bid=0)
    make_ad(make_campaign(make_advertiser("Zenith", wallet=0)), title="Shoes")
    assert opened().candidates == ()


@pytest.mark.django_db
def test_the_latest_bid_counts():
    ad = acme(bid=10)
    for amount in (30, 20):
        set_bid(ad=ad, amount_micros=amount)
    assert opened().candidates[0].bid_micros == 20


@pytest.mark.django_db
def test_hidden_ads_are_not_offered():
    mug, shoes = acme(), zenith()
    assert ids(opened(hidden_ads=[mug.pk])) == [shoes.public_id]


@pytest.mark.django_db
def test_daily_budget_of_yesterday_does_not_count_today():
    mark_demo()
    ad, at = acme(bid=50, daily=50), datetime(2026, 5, 1, 12, tzinfo=UTC)
    click(serve(ad, origin="demo", at=at), at=at)
    assert opened(origin="demo", at=at).candidates == ()
    assert ids(opened(origin="demo", at=at + timedelta(days=1))) == [ad.public_id]


@pytest.mark.django_db
def test_simulated_times_need_a_demo_auction_in_a_demo_database():
    acme()
    with pytest.raises(ValueError, match="demo"):
        opened(at=datetime(2026, 5, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="demo"):
        opened(origin="demo", at=datetime(2026, 5, 1, tzinfo=UTC))
    mark_demo()
    auction = opened(origin="demo", at=datetime(2026, 5, 1, tzinfo=UTC))
    assert Auction.objects.get(pk=auction.id).created_at == datetime(2026, 5, 1, tzinfo=UTC)


@pytest.mark.django_db
def test_opening_an_auction_takes_few_queries(django_assert_num_queries, settings):
    settings.MAX_CANDIDATES = 50
    first = acme()
    for i in range(60):
        make_ad(first.campaign, title=f"Mug number {i}")
    with django_assert_num_queries(6):  # campaigns, ads, and one transaction of two inserts
        assert len(opened().candidates) == 50


@pytest.mark.django_db
@pytest.mark.slow
def test_ten_thousand_ads_are_searched_quickly():
    campaigns = [make_campaign(make_advertiser(f"Shop {i}")) for i in range(100)]
    made = Ad.objects.bulk_create(
        Ad(
            public_id=f"Ad-{10_000 + i}",
            campaign=campaigns[i % 100],
            title=f"Thing {i} for running",
            title_skeleton=f"thing {i}",
            landing_url="https://acme.example/",
            description="Light shoes that last for many long runs in any weather, made with care.",
            category="running",
            review_state="approved",
        )
        for i in range(10_000)
    )
    Bid.objects.bulk_create(Bid(ad=ad, amount_micros=1 + ad.pk % 97) for ad in made for _ in range(2))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    opened()  # the words of each ad are remembered from here on
    seconds = []
    for _ in range(5):
        began = time.process_time()
        assert len(opened(query="light shoes for long runs").candidates) == 100
        seconds.append(time.process_time() - began)
    print("seconds", seconds)
    assert min(seconds) < 0.5  # 0.05 is the aim on a quiet machine; other work may share it


# --- impressions ---


@pytest.mark.django_db
def test_impression_is_what_the_page_needs_to_know():
    ad = acme()
    auction = opened()
    served = show(auction.id, ad, position=2)
    impression = Impression.objects.get()
    assert served == serving.ServedAd(
        ad_id=ad.public_id,
        title="Acme Mug",
        advertiser="Acme",
        token=tokens.sign(impression.token_id),
        position=2,
        landing_host="acme.example",
        description="A mug for coffee and tea.",
        category="coffee",
    )
    assert impression.visitor_hash == ALICE
    assert impression.expires_at - impression.created_at == pytest.approx(timedelta(hours=24), abs=timedelta(seconds=5))


@pytest.mark.django_db
def test_ad_named_twice_is_one_impression():
    ad = acme()
    auction = opened()
    assert show(auction.id, ad, position=1) == show(auction.id, ad, position=4)
    assert Impression.objects.count() == 1


@pytest.mark.django_db
def test_ad_outside_the_auction_cannot_be_shown():
    acme()
    auction = opened()
    late = zenith()
    for auction_id, ad_id in ((auction.id, late.public_id), (auction.id, "Ad-9999"), (uuid4(), "Ad-1000")):
        with pytest.raises(NotACandidate):
            record_impression(auction_id=auction_id, ad_id=ad_id, position=1, visitor_hash=ALICE)
    assert not Impression.objects.exists()


@pytest.mark.django_db
def test_reloaded_answer_shows_the_same_links():
    mug, shoes = acme(), zenith()
    auction = opened()
    second, first = show(auction.id, mug, position=2), show(auction.id, shoes, position=1)
    assert served_ads(auction.id) == [first, second]
    assert served_ads(uuid4()) == []


@pytest.mark.django_db
def test_links_of_an_answer_take_one_query(django_assert_num_queries):
    mug, shoes = acme(), zenith()
    auction_id = opened().id
    for position, ad in enumerate((mug, shoes), start=1):
        show(auction_id, ad, position=position)
    with django_assert_num_queries(1):
        assert len(served_ads(auction_id)) == 2


@pytest.mark.django_db
def test_demo_impression_lives_in_simulated_time():
    mark_demo()
    ad, at = acme(), datetime(2026, 5, 1, tzinfo=UTC)
    auction = opened(origin="demo", at=at)
    show(auction.id, ad)
    impression = Impression.objects.get()
    assert (impression.created_at, impression.expires_at) == (at, at + timedelta(hours=24))
    with pytest.raises(ValueError, match="demo"):
        show(opened().id, ad, at=at)
