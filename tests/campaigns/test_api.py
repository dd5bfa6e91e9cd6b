"""The market through the API: all see their own, a bid is set by a strict string, reports say what the pages say."""

import json

import pytest
from django.utils import timezone

from campaigns import reporting
from campaigns.models import Ad, Bid, Membership
from tests import market
from tests.hostile import HOSTILE_AMOUNTS

pytestmark = pytest.mark.django_db
API = "/api/v1/"


@pytest.fixture
def mug():
    return market.acme()


@pytest.fixture
def shoes():
    return market.zenith()


def member(user, ad: Ad, role: str = Membership.Role.OWNER):
    Membership.objects.create(user=user, advertiser=ad.campaign.advertiser, role=role)
    return user


def post(client, url, body):
    return client.post(API + url, body if isinstance(body, str) else json.dumps(body), content_type="application/json")


READS = ["advertisers/", "campaigns/", "ads/", "ads/{ad}/", "ads/{ad}/bids/"]
READS += ["advertisers/{slug}/statement/", "advertisers/{slug}/report/", "report/"]


@pytest.mark.parametrize("url", READS)
def test_reading_the_market_needs_a_log_in(client, mug, url):
    assert client.get(API + url.format(ad=mug.public_id, slug="acme")).status_code == 401


def test_members_see_their_own_rows_only(client, mug, shoes, alice):
    client.force_login(member(alice, mug))
    assert [row["slug"] for row in client.get(API + "advertisers/").json()["results"]] == ["acme"]
    assert [row["advertiser"] for row in client.get(API + "campaigns/").json()["results"]] == ["acme"]
    [ad] = client.get(API + "ads/").json()["results"]
    assert (ad["id"], ad["bid_micros"]) == (mug.public_id, 5_000_000)
    assert client.get(API + "ads/?advertiser=zenith").json()["results"] == []


@pytest.mark.parametrize(
    "url", ["ads/{ad}/", "ads/{ad}/bids/", "advertisers/zenith/statement/", "advertisers/zenith/report/"]
)
def test_rows_of_another_advertiser_do_not_exist(client, mug, shoes, alice, url):
    client.force_login(member(alice, mug))
    assert client.get(API + url.format(ad=shoes.public_id)).status_code == 404
    assert post(client, f"ads/{shoes.public_id}/bids/", {"amount": "9"}).status_code == 404
    assert shoes.bids.count() == 1


def test_staff_see_all(client, mug, shoes, admin_user):
    client.force_login(admin_user)
    assert client.get(API + "ads/").json()["count"] == 2
    assert client.get(API + "advertisers/zenith/statement/").status_code == 200
    assert client.get(API + "report/").status_code == 200


def test_market_report_is_for_analysts(client, mug, alice, analyst):
    client.force_login(member(alice, mug))
    assert client.get(API + "report/").status_code == 403
    client.force_login(analyst)
    assert client.get(API + "report/").status_code == 200
    assert client.get(API + "ads/").json()["count"] == 0  # figures, but nobody's rows
    assert client.get(API + "advertisers/acme/report/").status_code == 404


def test_bid_is_set_and_kept_with_its_history(client, mug, alice):
    client.force_login(member(alice, mug))
    response = post(client, f"ads/{mug.public_id}/bids/", {"amount": "2.50"})
    assert response.status_code == 201
    assert response.json()["amount_micros"] == 2_500_000
    assert response.json()["set_by"] == "alice"
    rows = client.get(f"{API}ads/{mug.public_id}/bids/").json()["results"]
    assert [row["amount_micros"] for row in rows] == [2_500_000, 5_000_000]


def test_viewer_may_not_set_a_bid(client, mug, alice):
    client.force_login(member(alice, mug, Membership.Role.VIEWER))
    assert post(client, f"ads/{mug.public_id}/bids/", {"amount": "2"}).status_code == 403
    assert mug.bids.count() == 1


def test_session_needs_its_csrf_token(mug, alice):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(member(alice, mug))
    assert post(client, f"ads/{mug.public_id}/bids/", {"amount": "2"}).status_code == 403
    assert mug.bids.count() == 1


def test_hostile_amounts_are_refused_with_a_sentence(client, mug, alice):
    client.force_login(member(alice, mug))
    accepted = []
    for amount in HOSTILE_AMOUNTS:
        body = '{"amount": ' + json.dumps(amount, default=repr) + "}"
        if isinstance(amount, bytes) or len(body) > 900_000:
            continue  # bytes are no JSON; a megabyte is refused as such
        response = post(client, f"ads/{mug.public_id}/bids/", body)
        if response.status_code != 400 or not response.json():
            accepted.append((str(amount)[:40], response.status_code))
    assert accepted == []
    assert Bid.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{}", "no amount"),
        ('{"amount": 2.5}', "a JSON number has lost digits before it is seen"),
        ('{"amount": 2}', "the same for whole numbers: one way to write money"),
        ('{"amount": NaN}', "not JSON"),
        ('{"amount": Infinity}', "not JSON"),
        ('{"amount": 1e999}', "infinity"),
        ('["2.50"]', "no object"),
        ('{"amount": "2.50"', "cut off"),
    ],
)
def test_json_that_is_no_amount_is_refused(client, mug, alice, body, reason):
    client.force_login(member(alice, mug))
    assert post(client, f"ads/{mug.public_id}/bids/", body).status_code == 400, reason
    assert mug.bids.count() == 1


@pytest.mark.parametrize(
    "query",
    [
        *("limit=-1", "limit=9e99", f"limit={10**30}", f"offset={10**30}", "offset=-1"),
        *("campaign=NaN", "campaign=1e400", f"campaign={10**30}", f"campaign={2**63}", "campaign=-1"),
        *("status=%00", "category=%00", "advertiser=%00", "advertiser=%ff", "advertiser=a%27%20OR%201=1", "days=x"),
    ],
)
def test_hostile_query_strings_break_nothing(client, mug, alice, query):
    client.force_login(member(alice, mug))
    for url in ("ads/", "campaigns/", "advertisers/acme/statement/", "advertisers/acme/report/"):
        assert client.get(f"{API}{url}?{query}").status_code in (200, 400)


@pytest.mark.parametrize(
    "query", ["days=0", "days=-1", "days=367", "days=٣", "days=1.5", "days=", "by=user", "by=advertiser"]
)
def test_report_refuses_what_it_does_not_know(client, mug, alice, query):
    client.force_login(member(alice, mug))
    assert client.get(f"{API}advertisers/acme/report/?{query}").status_code == 400


def test_statement_sums_to_the_balance(client, mug, alice):
    for _ in range(3):
        market.click(market.serve(mug))
    client.force_login(member(alice, mug))
    rows = client.get(API + "advertisers/acme/statement/").json()["results"]
    assert [row["kind"] for row in rows] == ["charge", "charge", "charge", "deposit"]
    assert [row["ad"] for row in rows] == [mug.public_id] * 3 + [None]
    balance = client.get(API + "advertisers/").json()["results"][0]["balance_micros"]
    assert sum(row["signed_micros"] for row in rows) == rows[0]["balance_micros"] == balance


@pytest.mark.parametrize("by", ["day", "ad", "model_version"])
def test_report_says_what_the_pages_say(client, mug, shoes, alice, by):
    market.click(market.serve(mug))
    market.click(market.serve(shoes))
    client.force_login(member(alice, mug))
    report = client.get(f"{API}advertisers/acme/report/?by={by}").json()
    period = reporting.last_days(30, now=timezone.now())
    scope = reporting.Scope(advertiser=mug.campaign.advertiser)
    shown = reporting.total(reporting.by_day(scope, period).values())
    assert report["total"]["revenue_micros"] == shown.revenue_micros == 5_000_000
    assert report["total"]["clicks"] == shown.clicks == 1
    assert sum(row["revenue_micros"] for row in report["rows"]) == shown.revenue_micros
    if by == "ad":
        assert [row["key"] for row in report["rows"]] == [mug.public_id]


def test_lists_need_the_same_number_of_queries_whatever_their_length(client, alice, django_assert_max_num_queries):
    campaign = market.make_campaign(market.make_advertiser())
    for number in range(12):
        ad = market.make_ad(campaign, title=f"Mug number {number}")
        market.click(market.serve(ad))
    client.force_login(member(alice, ad))
    for url in ("ads/", "campaigns/", "advertisers/", f"ads/{ad.public_id}/bids/", "advertisers/acme/statement/"):
        with django_assert_max_num_queries(6):
            assert client.get(API + url).status_code == 200
