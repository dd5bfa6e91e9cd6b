"""What the database itself refuses, whoever asks: raw SQL, past every line of Python."""

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import ProtectedError

from campaigns.auction.validation import MAX_BALANCE_MICROS, MAX_BID_MICROS
from campaigns.billing import credit_charge
from campaigns.models import (
    Account,
    Ad,
    Advertiser,
    Auction,
    AuctionCandidate,
    Bid,
    Campaign,
    Click,
    Impression,
    RejectedClick,
    Transfer,
)
from tests.market import acme, check, click, mark_demo, serve, zenith

FACTS = [Bid, Auction, AuctionCandidate, Impression, Click, RejectedClick, Transfer]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _books_hold(db):
    yield
    check()


@pytest.fixture
def history():
    """One of everything: a billed click, a rejected one, a credit."""
    token = serve(acme(bid=50))
    click(token)
    click(token)
    credit_charge(charge=Transfer.objects.get(kind="charge"), amount_micros=20)


def refused(sql: str, params=(), error: type[Exception] = IntegrityError) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(error), transaction.atomic():
            cursor.execute(sql, params)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("model", FACTS, ids=lambda model: model.__name__)
def test_facts_are_never_changed(model):  # M14
    table, key = model._meta.db_table, model._meta.pk.column
    count = model.objects.count()
    assert count
    refused(f"UPDATE {table} SET {key} = {key}")
    refused(f"DELETE FROM {table}")
    if connection.vendor == "postgresql":
        refused(f"TRUNCATE {table} CASCADE")
    else:
        columns = ", ".join(field.column for field in model._meta.concrete_fields)
        refused(f"INSERT OR REPLACE INTO {table} ({columns}) SELECT {columns} FROM {table}")
    with pytest.raises(IntegrityError), transaction.atomic():
        model.objects.update(**{model._meta.pk.name: model.objects.first().pk})
    with pytest.raises((IntegrityError, ProtectedError)), transaction.atomic():
        model.objects.all().delete()
    assert model.objects.count() == count


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("model", [Ad, Campaign, Advertiser, Account], ids=lambda model: model.__name__)
def test_what_the_ledger_names_cannot_be_deleted(model):  # M14: no cascade reaches the books
    with pytest.raises((ProtectedError, IntegrityError)), transaction.atomic():
        model.objects.all().delete()
    refused(f"DELETE FROM {model._meta.db_table}") if connection.vendor == "postgresql" else None


NOT_A_BID = [
    ("0", "nothing"),
    ("-1", "negative"),
    (str(MAX_BID_MICROS + 1), "above the maximum"),
    (str(2**63), "beyond a bigint"),
    ("0.4", "less than a micro"),
    ("'abc'", "text; passes CHECK (x > 0) on SQLite"),
    ("'NaN'", "passes CHECK (x > 0) as a numeric on PostgreSQL"),
    ("'1e400'", "infinity"),
    ("9e999", "infinity"),
    ("'١٢'", "digits of another script"),
    ("'１２'", "full-width digits"),
    ("'1_000'", "Python's own notation"),
    ("'0x10'", "hexadecimal"),
    ("NULL", "no amount"),
    ("''", "empty"),
    ("'12 EUR'", "with a unit"),
]


@pytest.mark.parametrize(("amount", "reason"), NOT_A_BID)
def test_raw_sql_cannot_write_nonsense_for_a_bid(amount, reason):  # M10
    ad = acme()
    refused(
        f"INSERT INTO campaigns_bid (ad_id, amount_micros, created_at) VALUES ({ad.pk}, {amount}, CURRENT_TIMESTAMP)",
        error=DatabaseError,
    )
    assert Bid.objects.count() == 1


@pytest.mark.parametrize("value", ["-1", MAX_BALANCE_MICROS + 1, "'abc'", "'NaN'", "0.1", "NULL"])
def test_raw_sql_cannot_write_nonsense_for_a_balance(value):  # M10, M11
    acme(wallet=100)
    if value == "0.1" and connection.vendor == "postgresql":
        pytest.skip("PostgreSQL rounds it to whole micros: check_books finds the difference")
    refused(f"UPDATE campaigns_account SET balance_micros = {value} WHERE kind = 'wallet'", error=DatabaseError)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("spent_micros = -1", "negative"),
        ("spent_micros = total_budget_micros + 1", "overspent"),
        ("day_spent_micros = daily_budget_micros + 1", "overspent today"),
        ("total_budget_micros = 10", "below what is spent"),
        (f"total_budget_micros = {MAX_BALANCE_MICROS + 1}", "above the maximum"),
        (f"daily_budget_micros = {MAX_BALANCE_MICROS + 1}", "above the maximum"),
        ("total_budget_micros = 'abc'", "text"),
        ("total_budget_micros = NULL", "nothing"),
    ],
)
def test_raw_sql_cannot_overspend_a_campaign(change, reason):  # M6, M11
    click(serve(acme(bid=50)))
    refused(f"UPDATE campaigns_campaign SET {change}", error=DatabaseError)


def test_balance_at_its_maximum_is_accepted():  # M11: the bound itself is inside
    ad = acme(wallet=MAX_BALANCE_MICROS)
    assert ad.campaign.advertiser.wallet.pk
    assert Account.objects.get(kind="wallet").balance_micros == MAX_BALANCE_MICROS


def test_platform_accounts_keep_no_balance():
    refused("UPDATE campaigns_account SET balance_micros = 1 WHERE kind = 'revenue'")
    refused("INSERT INTO campaigns_account (kind, balance_micros) VALUES ('revenue', 0)")


def raw_transfer(kind, debit, credit, amount, **causes) -> None:
    columns = {"kind": kind, "debit_id": debit.pk, "credit_id": credit.pk, "amount_micros": amount, "note": ""} | causes
    refused(
        f"INSERT INTO campaigns_transfer ({', '.join(columns)}, created_at)"
        f" VALUES ({', '.join(['%s'] * len(columns))}, CURRENT_TIMESTAMP)",
        list(columns.values()),
    )


def test_raw_sql_cannot_move_money_without_cause():
    click(serve(acme(bid=50)))
    zenith()
    charge = Transfer.objects.get(kind="charge")
    acmes, revenue, zeniths = charge.debit, charge.credit, Account.objects.get(advertiser__name="Zenith")
    clearing = Account.objects.get(kind="clearing")
    raw_transfer("charge", acmes, revenue, 50)  # no click
    raw_transfer("charge", acmes, revenue, 50, click_id=charge.click_id)  # charged already
    raw_transfer("charge", zeniths, revenue, 50, click_id=charge.click_id)  # somebody else's wallet
    raw_transfer("deposit", clearing, acmes, 50)  # no reference
    raw_transfer("deposit", acmes, zeniths, 50, external_ref="x")  # from wallet to wallet
    raw_transfer("deposit", clearing, acmes, 0, external_ref="x")
    raw_transfer("deposit", clearing, acmes, -5, external_ref="x")
    raw_transfer("deposit", clearing, acmes, MAX_BALANCE_MICROS + 1, external_ref="x")
    raw_transfer("deposit", acmes, acmes, 5, external_ref="x")
    raw_transfer("deposit", clearing, acmes, 5, external_ref="opening-Acme")  # booked already
    raw_transfer("credit", revenue, acmes, 51, reverses_id=charge.pk)  # more than was charged
    raw_transfer("credit", revenue, zeniths, 50, reverses_id=charge.pk)  # to another wallet
    raw_transfer("credit", revenue, acmes, 50)  # reverses nothing
    raw_transfer("gift", revenue, acmes, 50, external_ref="x")


def test_raw_sql_cannot_charge_another_price():  # M5
    serve(acme(bid=50))
    impression = Impression.objects.get()
    for price in (49, 51, 0, -50):
        refused(
            "INSERT INTO campaigns_click (impression_id, charged_micros, visitor_hash, network_hash, created_at)"
            " VALUES (%s, %s, '', '', CURRENT_TIMESTAMP)",
            [impression.pk, price],
        )


def test_raw_sql_cannot_click_twice():  # M1
    click(serve(acme(bid=50)))
    refused(
        "INSERT INTO campaigns_click (impression_id, charged_micros, visitor_hash, network_hash, created_at)"
        " SELECT impression_id, charged_micros, '', '', CURRENT_TIMESTAMP FROM campaigns_click"
    )


def test_one_candidacy_and_one_impression_per_ad_and_auction():
    serve(acme())
    refused(
        "INSERT INTO campaigns_auctioncandidate (auction_id, ad_id, bid_micros, title)"
        " SELECT auction_id, ad_id, bid_micros, title FROM campaigns_auctioncandidate"
    )
    refused(
        "INSERT INTO campaigns_impression (candidate_id, position, token_id, visitor_hash, expires_at, created_at)"
        " SELECT candidate_id, position, 'another', '', expires_at, created_at FROM campaigns_impression"
    )


def test_simulated_auctions_need_a_demo_database():  # M20
    ad = acme()
    with pytest.raises(IntegrityError), transaction.atomic():
        serve(ad, origin="demo")
    with pytest.raises(IntegrityError), transaction.atomic():
        Auction.objects.create(model_version="sim", origin="demo")
    with pytest.raises(IntegrityError), transaction.atomic():
        Auction.objects.create(model_version="sim", origin="sim")
    mark_demo()
    assert click(serve(ad, origin="demo")).outcome == "billed"


def test_only_one_kind_of_mark_exists():  # M20
    refused("INSERT INTO campaigns_databasemark (kind, created_at) VALUES ('live', CURRENT_TIMESTAMP)")


def test_paths_from_a_click_to_its_payer_stay():
    ad, other = acme(bid=50), zenith()
    click(serve(ad))
    refused(f"UPDATE campaigns_ad SET campaign_id = {other.campaign_id} WHERE id = {ad.pk}")
    refused(f"UPDATE campaigns_campaign SET advertiser_id = {other.campaign.advertiser_id} WHERE id = {ad.campaign_id}")
    refused("UPDATE campaigns_advertiser SET time_zone = 'Asia/Tokyo' WHERE name = 'Acme'")
    Advertiser.objects.filter(name="Zenith").update(time_zone="Asia/Tokyo")  # no day of its was counted yet
