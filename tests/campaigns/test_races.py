"""Everybody at once: threads behind a barrier, several processes, dying connections. The ledger says what must hold."""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import InterfaceError, OperationalError, connection, connections, transaction

from campaigns.auction.validation import InvalidInput
from campaigns.bidding import set_bid, set_budgets
from campaigns.billing import credit_charge, deposit, withdraw
from campaigns.models import Account, Bid, Campaign, Click, Impression, Transfer
from tests.market import acme, check, click, make_ad, make_advertiser, make_campaign, serve

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _books_hold(transactional_db):
    yield
    check()


def at_once(*tasks) -> list:
    """Starts every task at the same moment, each in its own thread with its own connection; returns their results."""
    barrier = threading.Barrier(len(tasks))

    def run(task):
        try:
            connection.ensure_connection() if connection.vendor == "sqlite" else None
            barrier.wait(timeout=30)
            return task()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return [future.result() for future in [pool.submit(run, task) for task in tasks]]


def clicks_at_once(tokens: list[str]) -> Counter:
    tasks = [lambda token=token: click(token, visitor="").outcome for token in tokens]
    return Counter(at_once(*tasks))


def test_fifty_clicks_on_one_link_are_charged_once():  # M1
    ad = acme(bid=50)
    for _ in range(5):
        assert clicks_at_once([serve(ad, visitor="")] * 50) == {"billed": 1, "duplicate": 49}
    assert Transfer.objects.filter(kind="charge").count() == 5


@pytest.mark.parametrize("limit", ["total", "daily", "wallet"])
def test_fifty_clicks_race_for_the_last_175_micros(limit):  # M2
    ad = acme(bid=50, **{limit: 175})
    tokens = [serve(ad, visitor="") for _ in range(50)]
    assert clicks_at_once(tokens) == {"billed": 3, "over_budget": 47}
    assert Campaign.objects.get().spent_micros == 150


def test_two_campaigns_race_for_one_wallet():  # M2
    mug = acme(bid=50, wallet=175)
    glass = make_ad(make_campaign(mug.campaign.advertiser, "Summer"), title="Acme Glass", bid=50)
    tokens = [serve(ad, visitor="") for ad in (mug, glass) * 25]
    assert clicks_at_once(tokens) == {"billed": 3, "over_budget": 47}
    assert Account.objects.get(kind="wallet").balance_micros == 25


CHILD = """
import os, sys, threading
os.environ["DJANGO_SETTINGS_MODULE"] = "auction_site.settings"
import django
django.setup()
from campaigns.billing import record_click
from django.db import connections
tokens = sys.stdin.readline().split()
print("ready", flush=True)
sys.stdin.readline()
outcomes = []
def follow(token):
    outcomes.append(record_click(token=token, visitor_hash="").outcome)
    connections.close_all()
threads = [threading.Thread(target=follow, args=(token,)) for token in tokens]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(*outcomes, flush=True)
"""


def clicks_from_processes(*tokens_of_each: list[str]) -> Counter:
    """One operating-system process per list; all begin when all are ready."""
    where = connection.settings_dict
    url = (
        f"sqlite:///{where['NAME']}"
        if connection.vendor == "sqlite"
        else f"postgres://{where['USER']}:{where['PASSWORD']}@{where['HOST']}:{where['PORT']}/{where['NAME']}"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD],
            env={**os.environ, "DATABASE_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in tokens_of_each
    ]
    try:
        for child, tokens in zip(children, tokens_of_each, strict=True):
            child.stdin.write(" ".join(tokens) + "\n")
            child.stdin.flush()
        assert [child.stdout.readline() for child in children] == ["ready\n"] * len(children)
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        return Counter(outcome for child in children for outcome in child.communicate(timeout=60)[0].split())
    finally:
        for child in children:
            child.kill()


def test_clicks_from_two_processes_are_charged_once():  # M1
    token = serve(acme(bid=50), visitor="")
    assert clicks_from_processes([token] * 25, [token] * 25) == {"billed": 1, "duplicate": 49}


def test_two_processes_race_for_the_last_175_micros():  # M2
    ad = acme(bid=50, total=175)
    tokens = [serve(ad, visitor="") for _ in range(50)]
    assert clicks_from_processes(tokens[:25], tokens[25:]) == {"billed": 3, "over_budget": 47}


def test_bids_change_while_clicks_are_in_flight():  # M5
    ad = acme(bid=50)
    tokens = [serve(ad, visitor="") for _ in range(20)]
    tasks = [lambda token=token: click(token, visitor="").charged_micros for token in tokens]
    bids = [lambda amount=amount: set_bid(ad=ad, amount_micros=amount).pk for amount in range(51, 61)]
    assert at_once(*tasks, *bids)[:20] == [50] * 20
    assert Bid.objects.count() == 11


def test_pausing_a_campaign_races_with_clicks():  # M6
    ad = acme(bid=50)
    tokens = [serve(ad, visitor="") for _ in range(20)]
    tasks = [lambda token=token: click(token, visitor="").outcome for token in tokens]
    outcomes = Counter(at_once(*tasks, lambda: Campaign.objects.update(status="paused"))[:20])
    assert set(outcomes) <= {"billed", "inactive"}
    assert Campaign.objects.get().spent_micros == 50 * outcomes["billed"]


def test_lowering_a_budget_races_with_clicks():  # M6
    ad = acme(bid=50, total=1000)
    tokens = [serve(ad, visitor="") for _ in range(20)]

    def lower():
        try:
            return set_budgets(campaign=ad.campaign, daily_budget_micros=300, total_budget_micros=300)
        except InvalidInput:
            return None

    outcomes = at_once(*[lambda token=token: click(token, visitor="").outcome for token in tokens], lower)
    billed = outcomes.count("billed")
    assert (billed <= 6) if outcomes[-1] else (billed > 6)


def test_twenty_identical_deposits_are_booked_once():  # M13
    advertiser = make_advertiser(wallet=0)

    def pay():
        return deposit(advertiser=advertiser, amount_micros=500, external_ref="invoice-1").pk

    assert len(set(at_once(*[pay] * 20))) == 1
    assert Account.objects.get(kind="wallet").balance_micros == 500


def test_ten_withdrawals_race_for_one_wallet():
    advertiser = make_advertiser(wallet=175)

    def take(reference):
        try:
            return withdraw(advertiser=advertiser, amount_micros=50, external_ref=reference)
        except InvalidInput:
            return None

    taken = at_once(*[lambda reference=f"out-{i}": take(reference) for i in range(10)])
    assert sum(transfer is not None for transfer in taken) == 3


def test_ten_credits_of_one_charge_give_back_one():  # M9
    click(serve(acme(bid=50)))
    charge = Transfer.objects.get(kind="charge")

    def give_back():
        try:
            return credit_charge(charge=charge)
        except InvalidInput:
            return None

    assert sum(credit is not None for credit in at_once(*[give_back] * 10)) == 1


def test_caps_hold_when_a_robot_clicks_everything_at_once():  # M9
    ad = acme(bid=1)
    tokens = [serve(ad, visitor="") for _ in range(50)]
    tasks = [lambda token=token: click(token, visitor="", network_hash="n" * 64).outcome for token in tokens]
    assert Counter(at_once(*tasks)) == {"billed": 20, "invalid": 30}


def test_everything_at_once_ends_without_a_deadlock():  # M16
    ad = acme(bid=50)
    wallet_owner, campaign = ad.campaign.advertiser, ad.campaign
    for token in [serve(ad, visitor="") for _ in range(8)]:
        click(token, visitor="")
    charges = list(Transfer.objects.filter(kind="charge"))
    tokens = [serve(ad, visitor="") for _ in range(8)]
    at_once(
        *[lambda token=token: click(token, visitor="") for token in tokens],
        *[lambda charge=charge: credit_charge(charge=charge) for charge in charges],
        *[lambda i=i: deposit(advertiser=wallet_owner, amount_micros=5, external_ref=f"in-{i}") for i in range(8)],
        *[lambda i=i: withdraw(advertiser=wallet_owner, amount_micros=5, external_ref=f"out-{i}") for i in range(8)],
        *[lambda: set_budgets(campaign=campaign, daily_budget_micros=10**9, total_budget_micros=10**9)] * 4,
    )
    assert Campaign.objects.get().spent_micros == 8 * 50


def test_click_that_loses_a_deadlock_is_tried_again():  # M16
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer and no deadlocks")
    token = serve(acme(bid=50), visitor="")
    wallet_is_locked = threading.Event()

    def lock_in_the_wrong_order():
        with transaction.atomic():
            Account.objects.filter(kind="wallet").update(
                balance_micros=Account.objects.get(kind="wallet").balance_micros
            )
            wallet_is_locked.set()
            time.sleep(0.3)  # the click now holds the campaign and waits for the wallet
            Campaign.objects.update(name="Autumn")

    def follow():
        with connection.cursor() as cursor:
            cursor.execute("SET deadlock_timeout = '600ms'")  # its own check comes before the other side's
        wallet_is_locked.wait(timeout=10)
        try:
            return click(token, visitor="").outcome
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET deadlock_timeout")

    assert at_once(lock_in_the_wrong_order, follow)[1] == "billed"


def test_connections_that_die_charge_nobody_twice():  # M3
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections that die alone")
    ad = acme(bid=50)
    tokens = [serve(ad, visitor="") for _ in range(300)]
    stop, seed = threading.Event(), random.randrange(10**6)
    print(f"seed {seed}")
    killed, lost = [], []

    def kill_now_and_then():
        dice = random.Random(seed)
        while not stop.is_set():
            time.sleep(dice.uniform(0.01, 0.05))
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%record_click%'"
                    " ORDER BY random() LIMIT 1) one"
                )
                killed.append(cursor.fetchone()[0])
        connections.close_all()

    def follow_until_answered(token):
        while True:
            try:
                return click(token, visitor="").outcome
            except (OperationalError, InterfaceError):
                lost.append(token)  # nobody knows whether it was charged: the visitor clicks again
                connection.close()

    def follow_all(mine):
        try:
            return [follow_until_answered(token) for token in mine]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(7) as pool:
        killer = pool.submit(kill_now_and_then)
        outcomes = Counter(
            outcome for each in pool.map(follow_all, [tokens[i::6] for i in range(6)]) for outcome in each
        )
        stop.set()
        killer.result()
    connection.close()
    connection.close_pool()  # it may hold connections that were killed
    assert sum(killed) > 0
    assert set(outcomes) <= {"billed", "duplicate"}  # duplicate: it was charged, and only the answer was lost
    assert Click.objects.count() == Impression.objects.count() == 300
    assert Campaign.objects.get().spent_micros == 300 * 50
    assert outcomes["duplicate"] <= len(lost)
