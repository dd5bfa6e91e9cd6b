"""The ledger under random histories: whatever happens in whatever order, a small model in memory agrees, and so do the
books. Hypothesis prints the shortest history that breaks them.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from campaigns.auction.validation import InvalidInput
from campaigns.bidding import set_bid, set_budgets
from campaigns.billing import credit_charge, deposit, withdraw
from campaigns.books import check_books
from campaigns.models import Account, Ad, Advertiser, Campaign, Transfer
from campaigns.serving import NotACandidate
from tests.market import click, make_ad, make_advertiser, make_campaign, mark_demo, serve

ZONE = "Pacific/Auckland"
amounts = st.integers(1, 400)


class Ledger(RuleBasedStateMachine):
    """Two campaigns share one wallet. Time is simulated, so that days pass; it may also jump back a little."""

    links = Bundle("links")

    def __init__(self):
        super().__init__()
        self.savepoint = transaction.atomic()
        self.savepoint.__enter__()
        mark_demo()
        self.now = datetime(2026, 4, 4, 6, tzinfo=UTC)
        self.references = 0

    @initialize(wallet=st.integers(0, 2000), budgets=st.lists(st.tuples(amounts, amounts), min_size=2, max_size=2))
    def begin(self, wallet, budgets):
        self.advertiser = make_advertiser(wallet=wallet, time_zone=ZONE)
        self.ads, self.spent, self.by_day, self.daily, self.total = [], [0, 0], {}, [], []
        self.wallet = wallet
        for number, (daily, total) in enumerate(budgets):
            campaign = make_campaign(self.advertiser, f"Campaign {number}", total=total * 3, daily=daily)
            self.ads.append(make_ad(campaign, title=f"Mug {number}", bid=50))
            self.daily.append(daily)
            self.total.append(total * 3)
        self.bids = [50, 50]
        self.running = [True, True]
        self.billed, self.credited = {}, set()

    def _day(self):
        return self.now.astimezone(ZoneInfo(ZONE)).date()

    @rule(target=links, which=st.integers(0, 1))
    def ask(self, which):
        try:
            return which, serve(self.ads[which], origin="demo", at=self.now, visitor=""), self.bids[which], self.now
        except NotACandidate:
            assert not self.running[which] or not self._could_pay(which, self.bids[which])
            return None

    def _could_pay(self, which, price) -> bool:
        return (
            self.wallet >= price
            and self.spent[which] + price <= self.total[which]
            and self.by_day.get((which, self._day()), 0) + price <= self.daily[which]
        )

    @rule(link=links)
    def follow(self, link):
        if link is None:
            return
        which, token, price, served_at = link
        if token in self.billed:
            expected = "duplicate"
        elif self.now > served_at + timedelta(hours=24):
            expected = "expired"
        elif not self.running[which]:
            expected = "inactive"
        elif not self._could_pay(which, price):
            expected = "over_budget"
        else:
            expected = "billed"
            self.wallet -= price
            self.spent[which] += price
            self.by_day[which, self._day()] = self.by_day.get((which, self._day()), 0) + price
        outcome = click(token, visitor="", at=self.now)
        assert (outcome.outcome, outcome.charged_micros) == (expected, price if expected == "billed" else 0)
        if expected == "billed":
            self.billed[token] = (which, price)

    @rule(which=st.integers(0, 1), amount=amounts)
    def bid(self, which, amount):
        set_bid(ad=self.ads[which], amount_micros=amount)
        self.bids[which] = amount

    @rule(which=st.integers(0, 1), model=st.sampled_from([Ad, Campaign]))
    def stop_or_start(self, which, model):
        self.running[which] = not self.running[which]
        status = "active" if self.running[which] else "paused"
        Ad.objects.filter(pk=self.ads[which].pk).update(status=status)
        if model is Campaign or self.running[which]:
            Campaign.objects.filter(pk=self.ads[which].campaign_id).update(status=status)

    @rule(which=st.integers(0, 1), total=st.integers(1, 1200))
    def change_total_budget(self, which, total):
        campaign = Campaign.objects.get(pk=self.ads[which].campaign_id)
        try:
            set_budgets(campaign=campaign, daily_budget_micros=10**6, total_budget_micros=total)
        except InvalidInput:
            assert total < self.spent[which]
        else:
            assert total >= self.spent[which]
            self.total[which], self.daily[which] = total, 10**6

    @rule(amount=amounts)
    def fill(self, amount):
        self.references += 1
        for _ in range(2):  # the payment provider calls twice
            deposit(advertiser=self.advertiser, amount_micros=amount, external_ref=f"in-{self.references}")
        self.wallet += amount

    @rule(amount=amounts)
    def take(self, amount):
        if not Account.objects.filter(kind="wallet").exists():
            return
        self.references += 1
        try:
            withdraw(advertiser=self.advertiser, amount_micros=amount, external_ref=f"out-{self.references}")
        except InvalidInput:
            assert amount > self.wallet
        else:
            self.wallet -= amount

    @rule(link=links, share=st.integers(1, 3))
    def credit(self, link, share):
        if link is None or link[1] not in self.billed:
            return
        which, price = self.billed[link[1]]
        charge = Transfer.objects.get(click__impression__token_id=link[1].split(".")[0])
        amount = max(1, price // share)
        try:
            credit_charge(charge=charge, amount_micros=amount)
        except InvalidInput:
            assert charge.pk in self.credited
        else:
            assert charge.pk not in self.credited
            self.credited.add(charge.pk)
            self.wallet += amount
            self.spent[which] -= amount

    @rule(hours=st.integers(-3, 15))
    def pass_time(self, hours):
        self.now += timedelta(hours=hours)

    @rule(status=st.sampled_from(["suspended", "active"]))
    def suspend(self, status):
        """Suspends and takes it back at once: the flag alone must leave no trace in the books."""
        Advertiser.objects.update(status=status)
        Advertiser.objects.update(status="active")

    @invariant()
    def model_agrees(self):
        if not hasattr(self, "ads"):
            return
        rows = Campaign.objects.order_by("pk").values_list("spent_micros", "advertiser__wallet__balance_micros")
        assert [(spent, balance or 0) for spent, balance in rows] == [(spent, self.wallet) for spent in self.spent]

    def teardown(self):
        try:
            assert check_books() == []
        finally:
            transaction.set_rollback(True)
            self.savepoint.__exit__(None, None, None)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.django_db
def test_random_histories_keep_the_books_true():
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
