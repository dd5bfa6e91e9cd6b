"""The books' own check: silent over true books, loud over each kind of corruption. Only a superuser can plant one."""

import json
from contextlib import nullcontext
from datetime import date, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F

from campaigns.billing import credit_charge, deposit, withdraw
from campaigns.books import INVARIANTS, check_books
from campaigns.models import (
    Account,
    Campaign,
    Click,
    Impression,
    RejectedClick,
    Transfer,
)
from tests.ledger_flush import unguarded
from tests.market import acme, click, mark_demo, serve, zenith

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _history(db):
    """Two advertisers; billed, credited and rejected clicks; deposits and a withdrawal."""
    mark_demo()
    acmes, zeniths = acme(bid=50), zenith(bid=30)
    for ad in (acmes, acmes, zeniths):
        token = serve(ad)
        click(token)
        click(token)
    charge = Transfer.objects.filter(kind="charge").first()
    credit_charge(charge=charge, amount_micros=20)
    deposit(advertiser=zeniths.campaign.advertiser, amount_micros=500, external_ref="second")
    withdraw(advertiser=zeniths.campaign.advertiser, amount_micros=40, external_ref="back")


def test_true_books_are_silent():
    assert check_books() == []


def test_there_are_twelve_invariants():
    assert [invariant.code for invariant in INVARIANTS] == [f"I{number}" for number in range(1, 13)]


def _first(kind: str) -> Transfer:
    return Transfer.objects.filter(kind=kind).first()


def _execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what is pending would keep the table from being altered
        for statement in statements:
            cursor.execute(statement)


def _drop_a_guard() -> None:
    if connection.vendor == "postgresql":
        _execute("DROP TRIGGER transfer_is_append_only ON campaigns_transfer")
    else:
        _execute("DROP TRIGGER transfer_is_never_updated")


def _put_a_guard_to_sleep() -> None:
    if connection.vendor == "postgresql":
        _execute("ALTER TABLE campaigns_click DISABLE TRIGGER click_is_append_only")
    else:  # which knows no sleep
        _execute("DROP TRIGGER click_is_never_updated")


def _simulate_in_the_live_books() -> None:
    simulate = "UPDATE campaigns_auction SET origin = 'sim'"
    if connection.vendor == "postgresql":
        _execute("ALTER TABLE campaigns_auction DROP CONSTRAINT auction_demo_needs_a_demo_database", simulate)
    else:
        _execute("PRAGMA ignore_check_constraints = ON", simulate, "PRAGMA ignore_check_constraints = OFF")


def _erase_clicks() -> None:
    for kind in ("credit", "charge"):
        Transfer.objects.filter(kind=kind).delete()
    Click.objects.all().delete()


def _copy(transfer: Transfer, **changes) -> None:
    fields = {field.attname: getattr(transfer, field.attname) for field in Transfer._meta.fields if field.name != "id"}
    Transfer.objects.create(**(fields | changes))


def _change(model, where: dict, **changes):
    return lambda: model.objects.filter(**where).update(**changes)


ACMES, ZENITHS = {"advertiser__name": "Acme"}, {"advertiser__name": "Zenith"}
TURNED = {"debit": F("credit"), "credit": F("debit")}
MORE, LESS = {}, {}
for column in ("balance_micros", "spent_micros", "day_spent_micros", "amount_micros", "charged_micros"):
    MORE[column], LESS[column] = {column: F(column) + 1}, {column: F(column) - 1}

PLANTED = [
    ("I1", "money went the wrong way", _change(Transfer, {"kind": "deposit"}, **TURNED)),
    ("I2", "a guard was dropped", _drop_a_guard),
    ("I2", "a guard was put to sleep", _put_a_guard_to_sleep),
    ("I3", "a credit larger than its charge", _change(Transfer, {"kind": "credit"}, amount_micros=51)),
    ("I3", "a credit of a deposit", lambda: _copy(_first("credit"), reverses_id=_first("deposit").pk)),
    ("I4", "clicks at another price", _change(Click, {}, **MORE["charged_micros"])),
    ("I5", "one micro appeared in a wallet", _change(Account, ACMES, **MORE["balance_micros"])),
    ("I5", "one micro vanished from a wallet", _change(Account, ZENITHS, **LESS["balance_micros"])),
    ("I5", "a deposit was erased", lambda: Transfer.objects.filter(external_ref="second").delete()),
    ("I5", "charges were made smaller", _change(Transfer, {"kind": "charge"}, **LESS["amount_micros"])),
    ("I5", "a deposit came from nowhere", lambda: _copy(_first("deposit"), external_ref="invented")),
    ("I6", "a campaign forgot a charge", _change(Campaign, {}, **LESS["spent_micros"])),
    ("I6", "a campaign spent what nobody was charged", _change(Campaign, {}, **MORE["spent_micros"])),
    ("I7", "a day forgot a charge", _change(Campaign, {}, **LESS["day_spent_micros"])),
    ("I7", "a day was moved", _change(Campaign, {}, day=date(2020, 1, 1))),
    ("I8", "charges were disguised", _change(
        Transfer, {"kind": "charge"}, kind="deposit", click=None, external_ref=F("click"), **TURNED)),
    ("I8", "a charge is not the click's", _change(Transfer, {"kind": "charge"}, **MORE["amount_micros"])),
    ("I9", "a simulated auction in the live books", _simulate_in_the_live_books),
    ("I10", "a click after its link expired", _change(
        Impression, {}, expires_at=F("created_at") - timedelta(seconds=1))),
    ("I11", "all wallets gained a micro", _change(Account, {"kind": "wallet"}, **MORE["balance_micros"])),
    ("I12", "a duplicate of nothing", _erase_clicks),
    ("I12", "a reason nobody knows", _change(RejectedClick, {}, reason="because")),
    ("I12", "expired before its time", _change(RejectedClick, {}, reason="expired")),
]  # fmt: skip


@pytest.mark.parametrize(("code", "what", "plant"), PLANTED, ids=[what.replace(" ", "-") for _, what, _ in PLANTED])
def test_corruption_is_found(code, what, plant):  # M15
    with nullcontext() if code == "I2" else unguarded():
        plant()
    violations = check_books()
    assert any(violation.startswith(f"{code} ") for violation in violations), violations


def test_command_is_quiet_about_true_books(capsys):
    call_command("check_books")
    assert "The books hold: 12 invariants" in capsys.readouterr().out


def test_command_fails_over_false_books(capsys):
    Account.objects.filter(advertiser__name="Acme").update(balance_micros=F("balance_micros") + 1)
    with pytest.raises(CommandError) as error:
        call_command("check_books")
    assert error.value.returncode == 1
    assert "I5 broken" in capsys.readouterr().err
    with pytest.raises(CommandError):
        call_command("check_books", "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["invariants"], len(report["violations"])) == (12, 2)  # I5 for acme, I11 for all


def test_task_is_loud_about_false_books(caplog):
    from campaigns.tasks import check_books as task

    task()
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    Account.objects.filter(advertiser__name="Acme").update(balance_micros=F("balance_micros") + 1)
    task()
    assert "I5 broken" in caplog.text


def test_many_violations_are_cut_short():
    with unguarded():
        for number in range(30):
            _copy(_first("deposit"), kind="withdrawal", external_ref=f"wrong-{number}")
    assert len([violation for violation in check_books() if violation.startswith("I1 ")]) == 20
