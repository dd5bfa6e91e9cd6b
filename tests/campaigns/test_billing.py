"""Clicks and payments, one at a time: what is billed, at what price, and why the rest is not. Races: test_races.py."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, connection

from campaigns import charging, tokens
from campaigns.auction.validation import MAX_BALANCE_MICROS, MAX_BID_MICROS, InvalidInput
from campaigns.bidding import set_bid, set_budgets
from campaigns.billing import InvalidToken, credit_charge, deposit, withdraw
from campaigns.models import Account, Ad, Advertiser, Campaign, Click, Impression, RejectedClick, Transfer
from tests.ledger_flush import unguarded
from tests.market import ALICE, MALLORY, acme, check, click, make_ad, make_advertiser, mark_demo, serve

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books_hold(db):
    yield
    check()


def expire(token: str) -> None:
    with unguarded():
        Impression.objects.filter(token_id=token.split(".")[0]).update(
            expires_at=datetime.now(UTC) - timedelta(seconds=1)
        )


def test_a_click_is_charged_the_bid_in_the_prompt():
    ad = acme(bid=5_000_000, wallet=12_000_000)
    outcome = click(serve(ad))
    assert (outcome.outcome, outcome.charged_micros) == ("billed", 5_000_000)
    assert outcome.landing_url == ad.landing_url
    campaign, wallet = Campaign.objects.get(), Account.objects.get(kind="wallet")
    assert (campaign.spent_micros, campaign.day_spent_micros, wallet.balance_micros) == (
        5_000_000,
        5_000_000,
        7_000_000,
    )
    charge = Transfer.objects.get(kind="charge")
    assert (charge.debit, charge.credit.kind, charge.amount_micros) == (wallet, "revenue", 5_000_000)


def test_second_click_is_not_charged():  # M1
    token = serve(acme())
    outcomes = [click(token).outcome for _ in range(30)]
    assert outcomes == ["billed"] + ["duplicate"] * 29
    assert Transfer.objects.filter(kind="charge").count() == 1


@pytest.mark.slow
def test_ten_thousand_replays_are_charged_once():  # M1
    token = serve(acme())
    outcomes = [click(token).outcome for _ in range(10_000)]
    assert outcomes.count("billed") == 1


@pytest.mark.parametrize("later_bid", [1, 4_999_999, 5_000_001, MAX_BID_MICROS])
def test_price_is_frozen_when_the_auction_opens(later_bid):  # M5
    ad = acme(bid=5_000_000)
    token = serve(ad)
    set_bid(ad=ad, amount_micros=later_bid)
    assert click(token).charged_micros == 5_000_000
    assert click(serve(ad)).charged_micros == later_bid


@pytest.mark.parametrize(
    ("model", "change"),
    [
        (Ad, {"status": "paused"}),
        (Ad, {"review_state": "rejected"}),
        (Campaign, {"status": "paused"}),
        (Advertiser, {"status": "suspended"}),
    ],
)
def test_click_on_what_was_stopped_is_free(model, change):  # M6
    token = serve(acme())
    model.objects.update(**change)
    outcome = click(token)
    assert (outcome.outcome, outcome.charged_micros) == ("inactive", 0)
    assert outcome.landing_url  # the visitor arrives all the same


@pytest.mark.parametrize("limit", ["total", "daily", "wallet"])
def test_nothing_is_charged_beyond_a_limit(limit):  # M2, one after the other
    ad = acme(bid=50, **{limit: 175})
    links = [serve(ad, visitor="") for _ in range(5)]
    assert [click(token, visitor="").outcome for token in links] == ["billed"] * 3 + ["over_budget"] * 2
    assert Click.objects.count() == 3


def test_two_campaigns_share_one_wallet():  # M2
    ad = acme(bid=50, wallet=175)
    other = make_ad(
        Campaign.objects.create(
            advertiser=ad.campaign.advertiser, name="Summer", total_budget_micros=10_000, daily_budget_micros=10_000
        ),
        title="Acme Glass",
        bid=50,
    )
    links = [serve(each, visitor="") for each in (ad, other) * 3]
    outcomes = [click(token, visitor="").outcome for token in links]
    assert outcomes == ["billed"] * 3 + ["over_budget"] * 3


def test_advertiser_without_a_wallet_is_not_served_and_not_charged():
    ad = acme()
    token = serve(ad)
    with unguarded():
        Transfer.objects.all().delete()
        Account.objects.filter(kind="wallet").delete()
    assert click(token).outcome == "over_budget"


def test_expired_link_is_free():
    token = serve(acme())
    expire(token)
    assert click(token).outcome == "expired"


def test_link_of_another_browser_is_invalid():
    token = serve(acme(), visitor=ALICE)
    assert click(token, visitor=MALLORY).outcome == "invalid"
    assert click(token, visitor="").outcome == "invalid"
    assert click(token, visitor=ALICE).outcome == "billed"  # mallory could not spend alice's click


def test_link_served_through_the_api_belongs_to_no_browser():
    assert click(serve(acme(), visitor=""), visitor=MALLORY).outcome == "billed"


def test_reasons_are_decided_in_the_documented_order():
    mark_demo()
    ad, at = acme(), datetime(2026, 5, 1, 10, tzinfo=UTC)
    later = at + timedelta(days=2)
    spent, token = (serve(ad, origin="demo", at=at) for _ in range(2))
    assert click(spent, at=at).outcome == "billed"
    Ad.objects.update(status="paused")
    Campaign.objects.update(total_budget_micros=5_000_000)  # which is spent
    assert click(spent, at=later, visitor=MALLORY, suspicion="bot").outcome == "bot"
    assert click(spent, at=later, visitor=MALLORY).outcome == "duplicate"
    assert click(token, at=later, visitor=MALLORY).outcome == "expired"
    assert click(token, at=at, visitor=MALLORY).outcome == "invalid"
    assert click(token, at=at).outcome == "inactive"
    Ad.objects.update(status="active")
    assert click(token, at=at).outcome == "over_budget"
    reasons = RejectedClick.objects.order_by("pk").values_list("reason", flat=True)
    assert list(reasons) == ["bot", "duplicate", "expired", "invalid", "inactive", "over_budget"]


@pytest.mark.parametrize(
    ("place", "limit"),
    [
        ({"visitor": MALLORY}, charging.VISITOR_AD_LIMIT),
        ({"visitor": "", "network_hash": "n" * 64}, charging.NETWORK_AD_LIMIT),
    ],
)
def test_clicks_on_one_ad_from_one_place_are_capped(place, limit):  # M9
    ad = acme(bid=1)
    outcomes = [click(serve(ad, visitor=place["visitor"]), **place).outcome for _ in range(limit + 5)]
    assert outcomes == ["billed"] * limit + ["invalid"] * 5
    assert click(serve(ad)).outcome == "billed"  # alice is not punished


@pytest.mark.parametrize(
    ("place", "limit"),
    [
        ({"visitor": MALLORY}, charging.VISITOR_LIMIT),
        ({"visitor": "", "network_hash": "n" * 64}, charging.NETWORK_LIMIT),
    ],
)
def test_clicks_from_one_place_are_capped(place, limit):  # M9
    first = acme(bid=1)
    ads = [first] + [make_ad(first.campaign, title=f"Mug number {i}", bid=1) for i in range(15)]
    outcomes = [click(serve(ads[i % 16], visitor=place["visitor"]), **place).outcome for i in range(limit + 5)]
    assert outcomes == ["billed"] * limit + ["invalid"] * 5


def test_caps_forget_after_an_hour():  # M9
    mark_demo()
    ad, start = acme(bid=1), datetime(2026, 5, 1, 10, tzinfo=UTC)
    for minute in range(charging.VISITOR_AD_LIMIT):
        at = start + timedelta(minutes=minute)
        assert click(serve(ad, origin="demo", at=at), at=at).outcome == "billed"
    for late, expected in ((timedelta(minutes=59), "invalid"), (timedelta(minutes=60), "billed")):
        at = start + late
        assert click(serve(ad, origin="demo", at=at), at=at).outcome == expected


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/New_York", "Asia/Kathmandu"])
def test_daily_budget_begins_anew_at_the_advertisers_midnight(zone):  # M12
    mark_demo()
    ad = acme(bid=50, daily=100, time_zone=zone)
    midnight = datetime(2026, 3, 28, tzinfo=ZoneInfo(zone))
    for at in (midnight - timedelta(milliseconds=1), midnight):
        links = [serve(ad, origin="demo", at=at, visitor="") for _ in range(3)]
        outcomes = [click(token, visitor="", at=at).outcome for token in links]
        assert outcomes == ["billed", "billed", "over_budget"]
    assert Campaign.objects.get().day == midnight.date()


def test_click_that_arrives_after_its_day_is_counted_to_its_own_day():  # M12: clocks and midnight
    mark_demo()
    ad = acme(bid=50, daily=100)
    yesterday, today = (datetime(2026, 3, day, 12, tzinfo=UTC) for day in (27, 28))
    links = {at: [serve(ad, origin="demo", at=at, visitor="") for _ in range(4)] for at in (yesterday, today)}

    def clicked(at: datetime) -> str:
        return click(links[at].pop(), visitor="", at=at).outcome

    assert clicked(yesterday) == "billed"
    assert clicked(today) == "billed"
    assert clicked(yesterday) == "billed"
    assert clicked(yesterday) == "over_budget"
    assert clicked(today) == "billed"
    assert clicked(today) == "over_budget"
    assert Campaign.objects.get().day_spent_micros == 100


def test_simulated_time_is_for_demo_auctions_only():
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    token = serve(acme())
    assert click(token, at=long_ago).outcome == "billed"
    assert Click.objects.get().created_at.year > 2020
    with pytest.raises(ValueError, match="demo"):
        deposit(advertiser=make_advertiser("Zenith"), amount_micros=1, external_ref="x", at=long_ago)


def test_token_never_issued_leaves_no_row():  # M7
    token = serve(acme())
    for forged in (tokens.sign(tokens.new_token_id()), token[:-1], "", "x" * 1_000_000):
        with pytest.raises(InvalidToken):
            click(forged)
    assert not Click.objects.exists()
    assert not RejectedClick.objects.exists()


# --- payments ---


def test_deposit_is_booked_once_per_reference():  # M13
    advertiser = make_advertiser(wallet=0)
    first = deposit(advertiser=advertiser, amount_micros=700, external_ref="invoice-1")
    assert deposit(advertiser=advertiser, amount_micros=700, external_ref="invoice-1") == first
    with pytest.raises(InvalidInput, match="already booked"):
        deposit(advertiser=advertiser, amount_micros=701, external_ref="invoice-1")
    with pytest.raises(InvalidInput, match="already booked"):
        deposit(advertiser=make_advertiser("Zenith", wallet=0), amount_micros=700, external_ref="invoice-1")
    assert Account.objects.get(advertiser=advertiser).balance_micros == 700


@pytest.mark.parametrize("amount", [0, -1, MAX_BALANCE_MICROS + 1, 1.0, True, "5", None, float("nan")])
def test_deposit_refuses_what_is_no_amount(amount):  # M13
    with pytest.raises(InvalidInput):
        deposit(advertiser=make_advertiser(wallet=0), amount_micros=amount, external_ref="invoice-1")


def test_deposit_needs_a_reference():
    with pytest.raises(InvalidInput, match="reference"):
        deposit(advertiser=make_advertiser(wallet=0), amount_micros=5, external_ref="")


def test_wallet_ends_at_its_maximum():  # M11
    advertiser = make_advertiser(wallet=MAX_BALANCE_MICROS)
    with pytest.raises(InvalidInput, match="at most"):
        deposit(advertiser=advertiser, amount_micros=1, external_ref="one-too-many")
    advertiser.wallet.refresh_from_db()
    assert advertiser.wallet.balance_micros == MAX_BALANCE_MICROS


def test_budgets_may_be_as_large_as_a_wallet():  # M11
    ad = acme(bid=MAX_BID_MICROS, wallet=MAX_BALANCE_MICROS)
    campaign = Campaign.objects.get()
    set_budgets(campaign=campaign, daily_budget_micros=MAX_BALANCE_MICROS, total_budget_micros=MAX_BALANCE_MICROS)
    assert click(serve(ad)).charged_micros == MAX_BID_MICROS
    for daily, total in ((MAX_BALANCE_MICROS + 1, 1), (1, MAX_BALANCE_MICROS + 1), (2**63, 2**63)):
        with pytest.raises(InvalidInput):
            set_budgets(campaign=campaign, daily_budget_micros=daily, total_budget_micros=total)


def test_withdrawal_takes_no_more_than_there_is():
    advertiser = make_advertiser(wallet=100)
    withdraw(advertiser=advertiser, amount_micros=60, external_ref="out-1")
    withdraw(advertiser=advertiser, amount_micros=60, external_ref="out-1")
    with pytest.raises(InvalidInput, match="not enough"):
        withdraw(advertiser=advertiser, amount_micros=41, external_ref="out-2")
    assert Account.objects.get(kind="wallet").balance_micros == 40


def test_charge_is_credited_at_most_once():  # M9
    ad = acme(bid=50, wallet=100)
    click(serve(ad))
    charge = Transfer.objects.get(kind="charge")
    credit = credit_charge(charge=charge, note="invalid activity")
    assert (credit.reverses, credit.amount_micros, credit.credit) == (charge, 50, charge.debit)
    with pytest.raises(InvalidInput, match="already"):
        credit_charge(charge=charge)
    campaign = Campaign.objects.get()
    assert (campaign.spent_micros, campaign.day_spent_micros) == (0, 50)
    assert Account.objects.get(kind="wallet").balance_micros == 100


def test_credit_is_never_larger_than_its_charge():
    click(serve(acme(bid=50)))
    charge = Transfer.objects.get(kind="charge")
    for amount in (0, -1, 51, 50.0):
        with pytest.raises(InvalidInput):
            credit_charge(charge=charge, amount_micros=amount)
    with pytest.raises(InvalidInput, match="Only a charge"):
        credit_charge(charge=credit_charge(charge=charge, amount_micros=20))
    assert Campaign.objects.get().spent_micros == 30


def test_charge_is_one_round_trip_on_postgresql(django_assert_num_queries):
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL only")
    token = serve(acme())
    with django_assert_num_queries(1):
        assert click(token).outcome == "billed"


def test_money_cannot_leave_by_a_failed_payment():
    advertiser = make_advertiser(wallet=10)
    with pytest.raises(InvalidInput):
        withdraw(advertiser=advertiser, amount_micros=11, external_ref="out")
    assert not Transfer.objects.filter(external_ref="out").exists()  # nothing partial stays


def test_a_person_who_moved_money_cannot_be_erased(django_user_model):
    boss = django_user_model.objects.create_user("boss")
    deposit(advertiser=make_advertiser(wallet=0), amount_micros=5, external_ref="x", created_by=boss)
    with pytest.raises(IntegrityError):
        boss.delete()
