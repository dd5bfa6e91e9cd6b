"""The advertiser's pages: what they show, what they let whom change, and that nobody sees a rival's."""

import csv
import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from campaigns.ads import create_ad
from campaigns.billing import credit_charge
from campaigns.models import Ad, Membership, Transfer
from tests import market
from tests.hostile import HOSTILE_AMOUNTS

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}


def member(user, advertiser, role="owner") -> Client:
    Membership.objects.create(user=user, advertiser=advertiser, role=role)
    return logged_in(user)


def logged_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def mug():
    return market.acme()


@pytest.fixture
def acme(mug):
    return mug.campaign.advertiser


@pytest.fixture
def owner(alice, acme):
    return member(alice, acme)


def page(client, name, *args, **query) -> str:
    answer = client.get(reverse(name, args=args), query)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def urls(ad: Ad) -> dict[str, str]:
    """Every address below one advertiser, with the method that it understands."""
    slug, public_id, campaign = ad.campaign.advertiser.slug, ad.public_id, ad.campaign_id
    named = {
        "advertiser_ads": [slug],
        "advertiser_ads_csv": [slug],
        "statement": [slug],
        "statement_csv": [slug],
        "ad_new": [slug],
        "ad_edit": [slug, public_id],
        "ad_bid": [slug, public_id],
        "ad_bids": [slug, public_id],
        "ad_status": [slug, public_id],
        "campaign_new": [slug],
        "campaign_budgets": [slug, campaign],
        "campaign_status": [slug, campaign],
    }
    return {name: reverse(name, args=args) for name, args in named.items()}


# --- who may see and change what ---


def test_nobody_sees_a_rivals_pages(owner, acme):
    shoes = market.zenith()
    for name, url in urls(shoes).items():
        for answer in (owner.get(url), owner.post(url, {"amount": "1", "status": "paused"})):
            assert answer.status_code in (404, 405), (name, answer.status_code)


def test_an_ad_is_not_found_below_another_advertiser(owner, acme):
    shoes = market.zenith()
    for name in ("ad_edit", "ad_bid", "ad_bids", "ad_status"):
        assert owner.post(reverse(name, args=[acme.slug, shoes.public_id]), {"amount": "1"}).status_code == 404
    campaign = reverse("campaign_budgets", args=[acme.slug, shoes.campaign_id])
    assert owner.get(campaign).status_code == 404


def test_every_page_needs_a_login(client, mug):
    for name, url in urls(mug).items():
        answer = client.post(url) if "status" in name else client.get(url)
        assert (answer.status_code, answer.url) == (302, f"{reverse('account_login')}?next={url}"), name


def test_a_viewer_may_look_but_not_change(alice, mug, acme):
    viewer = member(alice, acme, role="viewer")
    content = page(viewer, "advertiser_ads", acme.slug)
    assert "hx-get" not in content.split("<main")[1]
    addresses = urls(mug)
    for name in ("ad_bid", "ad_status", "campaign_status", "ad_edit", "campaign_budgets", "ad_new", "campaign_new"):
        assert viewer.post(addresses[name], {"amount": "1", "status": "paused"}).status_code == 403, name
    assert viewer.get(addresses["ad_bid"] + "?edit=1", **HTMX).content.decode().count("<form") == 0
    mug.refresh_from_db()
    assert (mug.status, mug.bids.count()) == ("active", 1)


def test_home_leads_to_the_advertiser_looked_at_last(alice, acme):
    client = member(alice, acme)
    zenith = market.zenith().campaign.advertiser
    Membership.objects.create(user=alice, advertiser=zenith)
    assert client.get(reverse("advertiser")).url == reverse("advertiser_ads", args=["acme"])
    assert "<option" in page(client, "advertiser_ads", "zenith")
    assert client.get(reverse("advertiser")).url == reverse("advertiser_ads", args=["zenith"])


def test_home_tells_a_stranger_whom_to_ask(mallory):
    answer = logged_in(mallory).get(reverse("advertiser"))
    assert answer.status_code == 403
    assert "Ask an administrator" in answer.content.decode()


def test_home_of_an_empty_market_sends_staff_to_the_admin(admin_client):
    assert "No advertisers yet" in page(admin_client, "advertiser")


# --- the table of ads ---


def test_the_table_shows_what_happened(owner, mug):
    token = market.serve(mug)
    market.click(token)
    market.click(token)
    content = " ".join(re.sub("<[^>]*>", " ", page(owner, "advertiser_ads", "acme")).split())
    assert "Acme Mug Ad-1000 · Coffee · Spring Active 5.00 History 1 1 +1 not billed 100.00% 5.00 5.00 Pause" in content
    assert "All 1 ad 1 1 100.00% 5.00 5.00" in content
    assert "1 not billed: already clicked" in content


def test_the_table_sorts_by_any_column(owner, mug):
    market.make_ad(mug.campaign, title="Acme Teapot", bid=9_000_000)
    for sort, first in (
        ("title", "Acme Mug"),
        ("-title", "Acme Teapot"),
        ("-bid", "Acme Teapot"),
        ("nonsense", "Acme"),
    ):
        titles = re.findall(r'class="ad-title"[^>]*>([^<]+)', page(owner, "advertiser_ads", "acme", sort=sort))
        assert titles[0].startswith(first), sort
        assert len(titles) == 2


def test_the_table_costs_the_same_for_one_ad_and_for_many(owner, mug, django_assert_max_num_queries):
    for number in range(20):
        market.make_ad(mug.campaign, title=f"Acme Mug number {number}")
    page(owner, "advertiser_ads", "acme")
    with django_assert_max_num_queries(14):
        page(owner, "advertiser_ads", "acme")


def test_ads_csv_is_exact_and_runs_no_formula(owner, mug):
    Ad.objects.filter(pk=mug.pk).update(title="=HYPERLINK(1)")
    market.click(market.serve(mug))
    rows = list(csv.DictReader(owner.get(urls(mug)["advertiser_ads_csv"]).content.decode().splitlines()))
    assert rows[0]["title"] == "'=HYPERLINK(1)"
    assert (rows[0]["bid"], rows[0]["clicks"], rows[0]["spend"], rows[0]["ctr"]) == ("5", "1", "5", "1.000000")


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"review_state": "pending"}, "In review"),
        ({"review_state": "rejected", "review_reason": "The page is down."}, "The page is down."),
        ({"status": "paused"}, "Paused"),
    ],
)
def test_the_table_says_why_an_ad_does_not_take_part(owner, mug, change, label):
    Ad.objects.filter(pk=mug.pk).update(**change)
    assert label in page(owner, "advertiser_ads", "acme")


@pytest.mark.parametrize(
    ("limits", "label"),
    [
        ({"wallet": 4_999_999}, "Wallet empty"),
        ({"wallet": 0}, "Wallet empty"),  # never paid for: there is no wallet yet
        ({"total": 4_999_999, "daily": 1_000_000}, "Limited by budget"),
        ({"daily": 4_999_999}, "Limited by budget"),
    ],
)
def test_the_table_says_what_limits_an_ad(alice, limits, label):
    ad = market.acme(**limits)
    assert label in page(member(alice, ad.campaign.advertiser), "advertiser_ads", "acme")


def test_an_advertiser_without_anything_is_told_what_to_do(alice):
    client = member(alice, market.make_advertiser("Newco", wallet=0))
    assert "Three steps" in page(client, "advertiser_ads", "newco")
    assert "Nothing was booked yet" in page(client, "statement", "newco")
    assert client.get(reverse("ad_new", args=["newco"])).url == reverse("campaign_new", args=["newco"])


# --- bids ---


def test_a_bid_changes_in_place_and_offers_undo(owner, mug, alice):
    cell = owner.get(urls(mug)["ad_bid"] + "?edit=1", **HTMX).content.decode()
    assert 'value="5"' in cell
    answer = owner.post(urls(mug)["ad_bid"], {"amount": "7.50"}, **HTMX).content.decode()
    bid = mug.bids.first()
    assert (bid.amount_micros, bid.set_by) == (7_500_000, alice)
    assert "7.50" in answer
    assert 'name="amount" value="5"' in answer  # what Undo sends


def test_the_bid_form_works_before_htmx_has_seen_it(owner, mug):
    """A fast Enter sends the form of the cell as the browser would: by its own method and to its own address."""
    cell = owner.get(urls(mug)["ad_bid"] + "?edit=1", **HTMX).content.decode()
    assert f'method="post" action="{urls(mug)["ad_bid"]}"' in cell
    assert "csrfmiddlewaretoken" in cell
    answer = owner.post(urls(mug)["ad_bid"], {"amount": "7.50"}, follow=True)
    assert answer.redirect_chain == [(urls(mug)["ad_bids"], 302)]
    assert mug.bids.first().amount_micros == 7_500_000
    assert "is set" in answer.content.decode()


@pytest.mark.parametrize("amount", ["", "1000.01", "NaN", "<b>1</b>"])
def test_without_htmx_a_wrong_bid_stays_as_it_was_typed(owner, mug, amount):
    answer = owner.post(urls(mug)["ad_bid"], {"amount": amount})
    content = answer.content.decode()
    assert answer.status_code == 422
    assert f'value="{escape(amount)}"' in content or not amount
    assert content.count('role="alert"') == 1
    assert content.startswith("<!doctype html>")
    assert mug.bids.count() == 1
    assert owner.get(urls(mug)["ad_bid"]).url == urls(mug)["ad_bids"]  # what the address bar shows leads on


@pytest.mark.parametrize("amount", ["", "0", "1000.01", "-1", "NaN", "１２", "1e3"])
def test_a_wrong_bid_is_refused_in_place(owner, mug, amount):
    answer = owner.post(urls(mug)["ad_bid"], {"amount": amount}, **HTMX)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()
    assert mug.bids.count() == 1


def test_no_hostile_amount_ever_becomes_a_bid(owner, mug):
    texts = [amount for amount in HOSTILE_AMOUNTS if isinstance(amount, str) and "\ud800" not in amount]
    for amount in texts:
        if amount == amount.strip():  # spaces around an amount are a slip of the keyboard
            answer = owner.post(urls(mug)["ad_bid"], {"amount": amount}, **HTMX)
            assert answer.status_code in (422, 400), amount  # 400: larger than any form may be
    assert mug.bids.count() == 1


def test_the_history_says_who_changed_what(owner, mug):
    owner.post(urls(mug)["ad_bid"], {"amount": "7"})
    content = " ".join(re.sub("<[^>]*>", " ", page(owner, "ad_bids", "acme", mug.public_id)).split())
    assert "alice 5.00 7.00 Current" in content
    assert "the system – 5.00 Set again" in content


# --- ads ---

NEW_AD = {
    "title": "Acme Kettle",
    "landing_url": "https://acme.example/kettle",
    "description": "Boils water.",
    "category": "tea",
    "bid": "2.5",
}


def test_a_new_ad_waits_for_review_with_its_bid(owner, mug):
    answer = owner.post(urls(mug)["ad_new"], {**NEW_AD, "campaign": mug.campaign_id})
    assert answer.status_code == 302
    ad = Ad.objects.with_bid().get(title="Acme Kettle")
    assert (ad.review_state, ad.bid_micros, ad.campaign) == ("pending", 2_500_000, mug.campaign)
    assert re.fullmatch(r"Ad-[1-9]\d{3}", ad.public_id)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("title", "Acme @Kettle", "must not hold"),
        ("title", "Acme Kettle]", "must not hold"),
        ("title", "Acme Kettle＠", "must not hold"),  # full width, the same to the eye
        ("title", "ACME-MUG!", "looks just like it"),  # the mug's own title, disguised
        ("title", "Acme\u200bKettle", "invisible"),
        ("landing_url", "http://acme.example/", "https://"),
        ("landing_url", "javascript:alert(1)", "https://"),
        ("description", "x" * 301, "301 characters"),
        ("category", "weapons", "not one of"),
        ("bid", "1,5", "plain digits"),
    ],
)
def test_a_wrong_ad_is_refused_with_a_sentence(owner, mug, field, value, message):
    answer = owner.post(urls(mug)["ad_new"], {**NEW_AD, "campaign": mug.campaign_id, field: value})
    assert answer.status_code == 422
    assert message in answer.content.decode()
    assert Ad.objects.count() == 1


def test_an_ad_cannot_be_put_into_a_rivals_campaign(owner, mug):
    shoes = market.zenith()
    assert owner.post(urls(mug)["ad_new"], {**NEW_AD, "campaign": shoes.campaign_id}).status_code == 422


def test_a_changed_ad_goes_back_to_review(owner, mug):
    texts = {
        "title": mug.title,
        "landing_url": mug.landing_url,
        "description": mug.description,
        "category": mug.category,
    }
    owner.post(urls(mug)["ad_edit"], texts)
    mug.refresh_from_db()
    assert mug.review_state == "approved"  # nothing was changed
    owner.post(urls(mug)["ad_edit"], {**texts, "title": "Acme Better Mug"})
    mug.refresh_from_db()
    assert (mug.title, mug.review_state) == ("Acme Better Mug", "pending")


def test_an_ad_pauses_and_resumes(owner, mug):
    for status in ("paused", "active"):
        answer = owner.post(urls(mug)["ad_status"], {"status": status, "query": "days=7&sort=-bid"})
        assert answer.url == urls(mug)["advertiser_ads"] + "?days=7&sort=-bid"
        mug.refresh_from_db()
        assert mug.status == status
    assert owner.post(urls(mug)["ad_status"], {"status": "free"}).status_code == 400


def test_ids_of_new_ads_never_collide(mug, monkeypatch):
    draws = iter([0, 0, 1])  # Ad-1000 is the mug's
    monkeypatch.setattr("campaigns.ads.secrets.randbelow", lambda bound: next(draws))
    texts = {name: NEW_AD[name] for name in ("title", "landing_url", "description", "category")}
    assert create_ad(campaign=mug.campaign, bid_micros=1, **texts).public_id == "Ad-1001"


# --- campaigns ---


def test_a_campaign_is_made_paused_and_resumed(owner, mug):
    form = {"name": "Winter", "daily_budget": "10", "total_budget": "100"}
    assert owner.post(urls(mug)["campaign_new"], form).status_code == 302
    assert owner.post(urls(mug)["campaign_new"], form).status_code == 422  # the name is taken
    owner.post(urls(mug)["campaign_status"], {"status": "paused"})
    assert "Campaign paused" in page(owner, "advertiser_ads", "acme")


@pytest.mark.parametrize(
    ("daily", "total", "message"),
    [
        ("4.99", "100", "of today&#x27;s budget is already spent"),
        ("4", "4.99", "of the total budget is already spent"),
        ("200", "100", "A day cannot have more"),
        ("0", "100", "Write an amount"),
        ("10", "", "required"),
    ],
)
def test_budgets_never_go_below_what_is_spent(owner, mug, daily, total, message):
    market.click(market.serve(mug))
    answer = owner.post(urls(mug)["campaign_budgets"], {"daily_budget": daily, "total_budget": total})
    assert answer.status_code == 422
    assert message in answer.content.decode()


def test_budgets_are_set(owner, mug):
    assert owner.post(urls(mug)["campaign_budgets"], {"daily_budget": "7.25", "total_budget": "70"}).status_code == 302
    mug.campaign.refresh_from_db()
    assert (mug.campaign.daily_budget_micros, mug.campaign.total_budget_micros) == (7_250_000, 70_000_000)


# --- money ---


def test_the_statement_sums_exactly_to_the_balance(owner, mug, acme):
    for _ in range(3):
        market.click(market.serve(mug))
    credit_charge(charge=Transfer.objects.filter(kind="charge").first(), amount_micros=1_234_567, note="a mistake")
    content = page(owner, "statement", "acme")
    acme.wallet.refresh_from_db()
    assert "999,986.234567" in content
    rows = list(csv.DictReader(owner.get(urls(mug)["statement_csv"]).content.decode().splitlines()))
    amounts = [row["amount"] for row in rows]
    assert amounts == ["1.234567", "-5", "-5", "-5", "1000000"]  # newest first
    assert sum(round(float(amount) * 1_000_000) for amount in amounts) == acme.wallet.balance_micros
    assert rows[0]["balance after"] == "999986.234567"
    assert rows[0]["about"] == "“Acme Mug” [Ad-1000] · a mistake"


def test_the_statement_holds_no_line_of_others(owner, mug):
    shoes = market.zenith()
    market.click(market.serve(shoes))
    content = page(owner, "statement", "acme")
    assert "Zenith" not in content


def test_the_statement_costs_the_same_for_few_and_many_lines(owner, mug, django_assert_max_num_queries):
    for number in range(6):
        market.click(market.serve(mug, visitor=f"{number}" * 64), visitor=f"{number}" * 64)
    page(owner, "statement", "acme")
    with django_assert_max_num_queries(12):
        page(owner, "statement", "acme")
