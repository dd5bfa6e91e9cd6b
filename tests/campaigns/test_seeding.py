"""The demo's first rows: complete, safe to load again, and only where play money belongs."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.auth import authenticate

from campaigns.auction.candidates import MICROS
from campaigns.clock import database_now
from campaigns.models import Account, Ad, Advertiser, Bid, Campaign, DatabaseMark, Membership, Transfer
from campaigns.seeding import DEMO_PASSWORD, SeedRefused, seed_market
from campaigns.statement import statement_lines

pytestmark = pytest.mark.django_db


@pytest.fixture
def demo(settings):
    settings.DEMO = True


def every_row() -> dict[str, list[dict]]:
    """All rows of every table, so that a change anywhere shows."""
    return {model._meta.label: list(model.objects.order_by("pk").values()) for model in apps.get_models()}


@pytest.mark.usefixtures("demo")
def test_seed_fills_the_market():
    seed_market()
    assert Advertiser.objects.count() == 30
    assert Ad.objects.filter(review_state="approved", status="active").count() == 100
    assert Ad.objects.values("category").distinct().count() == 50
    assert sorted(Bid.objects.values_list("amount_micros", flat=True)) == [bid * MICROS for bid in range(1, 101)]
    assert not Campaign.objects.exclude(spent_micros=0).exists()
    assert DatabaseMark.objects.get().kind == "demo"


@pytest.mark.usefixtures("demo")
def test_every_wallet_holds_exactly_its_deposit():
    seed_market()
    deposits = Transfer.objects.select_related("credit")
    assert deposits.count() == 30
    assert {deposit.kind for deposit in deposits} == {"deposit"}
    assert all(deposit.amount_micros == deposit.credit.balance_micros > 0 for deposit in deposits)
    assert Account.objects.filter(kind="wallet").count() == 30


@pytest.mark.usefixtures("demo")
def test_every_login_works_and_sees_its_part():
    logins = seed_market()
    people = {login.username: authenticate(username=login.username, password=DEMO_PASSWORD) for login in logins}
    assert list(people) == ["admin", "staff", "analyst", "brewbright", "hobnook", "leafwren"]
    assert people["admin"].is_superuser
    assert people["staff"].is_staff
    assert not people["staff"].is_superuser
    assert not people["analyst"].is_staff
    assert [group.name for name in ("staff", "analyst") for group in people[name].groups.all()] == [
        "stakeholder",
        "analyst",
    ]
    assert [ad.campaign.advertiser.slug for ad in Ad.objects.for_user(people["brewbright"])] == ["brewbright"] * 3
    assert set(Membership.objects.values_list("role", flat=True)) == {"owner"}


@pytest.mark.usefixtures("demo")
def test_second_seed_changes_nothing():
    seed_market()
    before = every_row()
    seed_market()
    assert every_row() == before


@pytest.mark.usefixtures("demo")
def test_second_seed_loses_nothing_that_people_did():
    seed_market()
    ad = Ad.objects.first()
    Bid.objects.create(ad=ad, amount_micros=7)
    Ad.objects.filter(pk=ad.pk).update(title="Renamed Since Then", title_skeleton="renamed since then", status="paused")
    Campaign.objects.update(daily_budget_micros=5)
    admin = authenticate(username="admin", password=DEMO_PASSWORD)
    admin.set_password("a better one")
    admin.save()
    before = every_row()
    seed_market()
    assert every_row() == before


@pytest.mark.usefixtures("demo")
def test_seed_completes_a_market_that_lost_a_person():
    seed_market()
    authenticate(username="hobnook", password=DEMO_PASSWORD).delete()
    seed_market()
    assert authenticate(username="hobnook", password=DEMO_PASSWORD).memberships.get().advertiser.slug == "hobnook"


def test_seed_is_refused_outside_a_demo(settings):
    settings.DEMO = False
    before = every_row()
    with pytest.raises(SeedRefused, match="DEMO=1"):
        seed_market()
    assert every_row() == before


@pytest.mark.usefixtures("demo")
def test_real_market_is_never_marked_as_demo():
    Advertiser.objects.create(name="Acme", slug="acme")
    before = every_row()
    with pytest.raises(SeedRefused, match="not a demo"):
        seed_market()
    assert every_row() == before


@pytest.mark.usefixtures("demo")
def test_money_and_bids_are_older_than_any_simulated_visit():
    seed_market()
    month_ago = database_now() - timedelta(days=31)
    for model in (Advertiser, Campaign, Ad, Bid, Transfer):
        assert not model.objects.filter(created_at__gt=month_ago).exists(), model
    (line,) = statement_lines(Advertiser.objects.get(slug="brewbright").wallet)
    assert line.balance_micros == line.signed_micros == 24_000 * MICROS
