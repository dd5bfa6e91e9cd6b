"""The figures of both kinds of page: counted from the facts, in the right period, for the right part of the market."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from campaigns import reporting
from campaigns.billing import credit_charge
from campaigns.models import Transfer
from campaigns.reporting import Figures, Period, Scope, last_days
from tests import market

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WEEK = last_days(7, now=NOON + timedelta(hours=1))


@pytest.fixture
def sold(db):
    """Yesterday and today: two questions, three ads shown, one click billed at 5 and one refused twice."""
    market.mark_demo()
    acme, zenith = market.acme(), market.zenith()
    yesterday, today = NOON - timedelta(days=1), NOON
    first = market.open_auction(origin="demo", at=yesterday)
    market.show(first.id, acme, at=yesterday)
    second = market.open_auction(origin="demo", at=today)
    clicked = market.show(second.id, acme, at=today)
    market.show(second.id, zenith, position=2, at=today)
    market.click(clicked.token, at=today)
    market.click(clicked.token, at=today)
    market.click(clicked.token, at=today, suspicion="bot")
    return acme


def whole(scope=Scope(), period=WEEK) -> Figures:  # noqa: B008
    return reporting.total(reporting.by_day(scope, period).values())


def test_every_fact_is_counted_once(sold):
    assert whole() == Figures(
        queries=2, simulated_queries=2, impressions=3, clicks=1, revenue_micros=5_000_000, rejected_clicks=2
    )


def test_all_ways_to_group_have_the_same_total(sold):
    by_model = reporting.by_model_version(Scope(), WEEK)
    assert list(by_model) == ["test"]
    assert reporting.total(by_model.values()) == whole()
    for groups in (reporting.by_advertiser(Scope(), WEEK), reporting.by_ad(Scope(), WEEK)):
        parts = reporting.total(groups.values())
        assert (parts.impressions, parts.clicks, parts.revenue_micros, parts.rejected_clicks) == (3, 1, 5_000_000, 2)


def test_days_without_events_are_there_with_zeros(sold):
    days = reporting.by_day(Scope(), WEEK)
    assert list(days) == [date(2026, 11, 14 + number) for number in range(7)]
    assert days[date(2026, 11, 14)] == Figures()
    assert days[date(2026, 11, 19)].impressions == 1


def test_rates_say_what_their_names_say(sold):
    figures = whole()
    assert figures.ads_per_answer == 1.5
    assert figures.ctr == pytest.approx(1 / 3)
    assert figures.cpc_micros == 5_000_000
    assert figures.ecpm_micros == 1_666_666_667


def test_a_rate_without_a_base_is_unknown_not_zero():
    nothing = Figures()
    assert (nothing.ads_per_answer, nothing.ctr, nothing.cpc_micros, nothing.ecpm_micros) == (None, None, None, None)


def test_an_advertisers_figures_hold_nothing_of_others(sold):
    zenith = market.Advertiser.objects.get(slug="zenith")
    figures = whole(Scope(advertiser=zenith))
    assert (figures.queries, figures.impressions, figures.clicks, figures.revenue_micros) == (2, 1, 0, 0)
    assert reporting.by_ad(Scope(advertiser=zenith), WEEK).keys() == {zenith.campaigns.get().ads.get().pk}


def test_an_unknown_model_version_has_no_figures(sold):
    assert whole(Scope(model_version="never ran")) == Figures()


def test_a_period_begins_with_its_first_moment_and_ends_before_its_last(sold):
    day = timedelta(days=1)
    assert whole(period=Period(start=NOON, end=NOON + day)).queries == 1
    assert whole(period=Period(start=NOON - day, end=NOON)).queries == 1


def test_a_day_begins_at_midnight_of_its_zone(sold):
    auckland = ZoneInfo("Pacific/Auckland")  # 13 hours ahead: noon UTC is already tomorrow there
    period = last_days(2, now=NOON + timedelta(hours=1), zone=auckland)
    assert [figures.queries for figures in reporting.by_day(Scope(), period).values()] == [1, 1]
    assert list(reporting.by_day(Scope(), period)) == [date(2026, 11, 20), date(2026, 11, 21)]


def test_the_period_before_is_cut_off_at_the_same_time_of_day():
    before = WEEK.before()
    assert (before.start, before.end) == (datetime(2026, 11, 7, tzinfo=UTC), datetime(2026, 11, 13, 13, tzinfo=UTC))
    assert len(before.days) == len(WEEK.days)


@pytest.mark.parametrize(
    ("credited", "left"),
    [
        (5_000_000, 0),  # the whole charge
        (2_000_000, 3_000_000),  # a part of it
    ],
)
def test_what_was_credited_back_is_no_revenue(sold, credited, left):
    credit_charge(charge=Transfer.objects.get(kind="charge"), amount_micros=credited)
    figures = whole()
    assert (figures.clicks, figures.revenue_micros) == (1, left)
    for grouped in (reporting.by_advertiser, reporting.by_model_version, reporting.by_ad):
        assert reporting.total(grouped(Scope(), WEEK).values()).revenue_micros == left


def test_refused_clicks_are_counted_by_reason_in_words(sold):
    assert reporting.rejections(Scope(), WEEK) == {"already clicked": 1, "an automated visitor": 1}


def test_advertisers_are_ranked_by_revenue(sold):
    ranked = reporting.by_advertiser(Scope(), WEEK)
    assert list(ranked) == ["Acme", "Zenith"]
    assert ranked["Zenith"].ads_per_answer == 0.5  # one of its ads in two answers


@pytest.mark.django_db
def test_all_days_of_an_empty_market_is_today():
    period = reporting.all_days(now=NOON)
    assert period.days == [date(2026, 11, 20)]
    assert whole(period=period) == Figures()


def test_all_days_begin_with_the_first_question(sold):
    assert reporting.all_days(now=NOON).days == [date(2026, 11, 19), date(2026, 11, 20)]


def test_a_comparison_needs_a_whole_period_before(sold):
    assert not reporting.has_figures_since(WEEK.before().start)
    assert reporting.has_figures_since(NOON - timedelta(days=1))
