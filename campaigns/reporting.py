"""Figures for advertisers and analysts, read straight from the facts: auctions, impressions, clicks, refusals, credits.

Every event counts in the period in which it happened, so charges by day agree with the ledger by day. What was credited
back is taken off the day of its click: it corrects the figures of the past. Knows nothing of requests and pages.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from django.db.models import BigIntegerField, Count, Exists, F, Min, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Cast, TruncDate

from campaigns.models import Advertiser, Auction, AuctionCandidate, Click, Impression, RejectedClick, Transfer


@dataclass(frozen=True)
class Period:
    """A half-open span of time [start, end). Its days begin at midnight in `zone`."""

    start: datetime
    end: datetime
    zone: tzinfo = UTC

    @property
    def days(self) -> list[date]:
        first, last = self.start.astimezone(self.zone).date(), self.end.astimezone(self.zone).date()
        return [first + timedelta(days=number) for number in range((last - first).days + 1)]

    def before(self) -> "Period":
        """The span of as many days just before, cut off at the same time of day: a fair comparison."""
        length = timedelta(days=len(self.days))
        return replace(self, start=_midnight(self.days[0] - length, self.zone), end=self.end - length)


def last_days(number: int, *, now: datetime, zone: tzinfo = UTC) -> Period:
    """Today so far and the number - 1 days before it."""
    first = now.astimezone(zone).date() - timedelta(days=number - 1)
    return Period(start=_midnight(first, zone), end=now, zone=zone)


def has_figures_since(start: datetime) -> bool:
    """Was the market already open on the day that begins at `start`?"""
    return Auction.objects.filter(created_at__lt=start + timedelta(days=1)).exists()


def all_days(*, now: datetime, zone: tzinfo = UTC) -> Period:
    """From the day of the first question until now; today when nothing was ever asked."""
    first = Auction.objects.aggregate(first=Min("created_at"))["first"] or now
    return Period(start=_midnight(min(first, now).astimezone(zone).date(), zone), end=now, zone=zone)


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time.min, zone)


@dataclass(frozen=True)
class Scope:
    """Which part of the market is looked at; None is all of it."""

    advertiser: Advertiser | None = None
    model_version: str | None = None


@dataclass(frozen=True)
class Figures:
    """What happened; counts and micros add up over days, ads and model versions. A rate without a base is None."""

    queries: int = 0  # questions that went to an Ad-LLM, answered or not
    simulated_queries: int = 0  # those of them that came from simulated visitors
    impressions: int = 0  # ads shown in answers
    clicks: int = 0  # clicks that were billed
    revenue_micros: int = 0  # what these clicks cost, less what was credited back
    rejected_clicks: int = 0  # clicks that were not billed

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def ads_per_answer(self) -> float | None:
        """How many ads does an answer hold on average?"""
        return self.impressions / self.queries if self.queries else None

    @property
    def ctr(self) -> float | None:
        """Of 1 shown ad, how many were clicked and billed?"""
        return self.clicks / self.impressions if self.impressions else None

    @property
    def ecpm_micros(self) -> int | None:
        """What did 1,000 shown ads earn? Micros, rounded to the nearest."""
        return _rounded(self.revenue_micros * 1000, self.impressions)

    @property
    def cpc_micros(self) -> int | None:
        """What did a billed click cost on average? Micros, rounded to the nearest."""
        return _rounded(self.revenue_micros, self.clicks)


def _rounded(amount: int, parts: int) -> int | None:
    return (amount + parts // 2) // parts if parts else None


def total(figures: Iterable[Figures]) -> Figures:
    return sum(figures, Figures())


def by_day(scope: Scope, period: Period) -> dict[date, Figures]:
    """What happened on each day of the period? Days without events are there too, with zeros."""
    found = _grouped(scope, period, lambda event, candidate: TruncDate(f"{event}created_at", tzinfo=period.zone))
    queries = _queries(scope, period, TruncDate("created_at", tzinfo=period.zone))
    return {day: found.get(day, Figures()) + queries.get(day, Figures()) for day in period.days}


def by_model_version(scope: Scope, period: Period) -> dict[str, Figures]:
    """What did each Ad-LLM earn? Sorted by name. Their total is the total of the period."""
    found = _grouped(scope, period, lambda event, candidate: F(f"{candidate}auction__model_version"))
    queries = _queries(scope, period, F("model_version"))
    names = sorted(found.keys() | queries.keys())
    return {name: found.get(name, Figures()) + queries.get(name, Figures()) for name in names}


def by_advertiser(scope: Scope, period: Period) -> dict[str, Figures]:
    """Who pays, and for what? The highest revenue first.

    `queries` is the same for each, all questions in scope: ads_per_answer says how many of *its* ads an answer holds.
    """
    found = _grouped(scope, period, lambda event, candidate: F(f"{candidate}ad__campaign__advertiser__name"))
    asked = total(_queries(scope, period, F("model_version")).values())
    ranked = sorted(found.items(), key=lambda item: (-item[1].revenue_micros, -item[1].impressions, item[0]))
    return {name: figures + asked for name, figures in ranked}


def by_ad(scope: Scope, period: Period) -> dict[int, Figures]:
    """How did each ad do? By primary key; ads that were never shown are missing. Questions are not counted by ad."""
    return _grouped(scope, period, lambda event, candidate: F(f"{candidate}ad_id"))


def rejections(scope: Scope, period: Period) -> dict[str, int]:
    """Why were clicks not billed? Reason in words -> number, the most frequent first."""
    rows = _in_scope(RejectedClick.objects.all(), "impression__candidate__", scope, period)
    counted = rows.values("reason").annotate(number=Count("pk")).order_by("-number", "reason")
    return {str(RejectedClick.Reason(row["reason"]).label): row["number"] for row in counted}


def model_versions() -> list[str]:
    """Every Ad-LLM that was ever asked."""
    return list(Auction.objects.order_by("model_version").values_list("model_version", flat=True).distinct())


def _sum(amount: str) -> Cast:
    return Cast(Sum(amount), BigIntegerField())  # PostgreSQL sums bigints to a decimal


def _grouped(scope: Scope, period: Period, key: Callable[[str, str], Any]) -> dict[Any, Figures]:
    """Impressions, clicks, refusals and credits by a key: an expression over the paths to event and auction candidate.

    Credits are read apart: joined to the clicks, SQLite may look through all transfers for each click.
    """
    credits = Transfer.objects.filter(kind=Transfer.Kind.CREDIT)
    click = "reverses__click__"
    counted = [  # facts, path to the event that dates them, path to the candidate, what is summed
        (Impression.objects.all(), "", "candidate__", {"impressions": Count("pk")}),
        (
            Click.objects.all(),
            "",
            "impression__candidate__",
            {"clicks": Count("pk"), "revenue_micros": _sum("charged_micros")},
        ),
        (RejectedClick.objects.all(), "", "impression__candidate__", {"rejected_clicks": Count("pk")}),
        (credits, click, f"{click}impression__candidate__", {"revenue_micros": -_sum("amount_micros")}),
    ]
    groups: dict[Any, Figures] = {}
    for facts, event, candidate, sums in counted:
        happened = _in_scope(facts, candidate, scope, period, event=event)
        for row in happened.values(key=key(event, candidate)).annotate(**sums).order_by():
            group = row.pop("key")
            groups[group] = groups.get(group, Figures()) + Figures(**row)
    return groups


def _queries(scope: Scope, period: Period, key: Any) -> dict[Any, Figures]:
    """Questions by a key. For one advertiser: those in which an ad of theirs stood among the candidates."""
    auctions = Auction.objects.filter(created_at__gte=period.start, created_at__lt=period.end)
    if scope.model_version is not None:
        auctions = auctions.filter(model_version=scope.model_version)
    if scope.advertiser is not None:
        theirs = AuctionCandidate.objects.filter(auction=OuterRef("pk"), ad__campaign__advertiser=scope.advertiser)
        auctions = auctions.filter(Exists(theirs))
    simulated = Count("pk", filter=Q(origin=Auction.Origin.DEMO))
    rows = auctions.values(key=key).annotate(queries=Count("pk"), simulated_queries=simulated).order_by()
    return {row.pop("key"): Figures(**row) for row in rows}


def _in_scope(facts: QuerySet, candidate: str, scope: Scope, period: Period, *, event: str = "") -> QuerySet:
    facts = facts.filter(**{f"{event}created_at__gte": period.start, f"{event}created_at__lt": period.end})
    if scope.model_version is not None:
        facts = facts.filter(**{f"{candidate}auction__model_version": scope.model_version})
    if scope.advertiser is not None:
        facts = facts.filter(**{f"{candidate}ad__campaign__advertiser": scope.advertiser})
    return facts
