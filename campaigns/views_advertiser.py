"""What an advertiser's people look at: the table of ads and the statement. Changing things is views_ads."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from campaigns import reporting
from campaigns.access import visible_advertiser
from campaigns.auction.candidates import format_micros
from campaigns.clock import local_day
from campaigns.exports import csv_response
from campaigns.models import Ad, Advertiser
from campaigns.periods import DAY_CHOICES, chosen_period
from campaigns.reporting import Figures, Period, Scope
from campaigns.standing import Standing, spent_today_micros, standing, wallet_micros
from campaigns.statement import about, statement_lines, sums_by_kind

ADS_PER_PAGE = 100
LINES_PER_PAGE = 50


# --- the page of all ads ---


@dataclass(frozen=True)
class AdRow:
    """One line of the table of ads."""

    ad: Ad
    bid_micros: int | None
    standing: Standing
    figures: Figures


SORTS = {
    "title": lambda row: row.ad.title.casefold(),
    "status": lambda row: row.standing.label,
    "bid": lambda row: row.bid_micros or 0,
    "impressions": lambda row: row.figures.impressions,
    "clicks": lambda row: row.figures.clicks,
    "ctr": lambda row: row.figures.ctr or 0,
    "cpc": lambda row: row.figures.cpc_micros or 0,
    "spend": lambda row: row.figures.revenue_micros,
}


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """On to the advertiser this person looked at last, or the first one."""
    mine = Advertiser.objects.for_user(request.user)
    advertiser = mine.filter(slug=request.session.get("advertiser", "")).first() or mine.first()
    if advertiser:
        return redirect("advertiser_ads", advertiser.slug)
    if not request.user.is_staff:
        raise PermissionDenied("Your account belongs to no advertiser yet. Ask an administrator to add you to one.")
    return render(request, "campaigns/no_advertisers.html")


@login_required
def ads(request: HttpRequest, slug: str) -> HttpResponse:
    advertiser = visible_advertiser(request, slug)
    period, days = chosen_period(request, zone=ZoneInfo(advertiser.time_zone))
    sort = request.GET.get("sort", "-spend")
    rows = _rows(advertiser, period, sort)
    today = local_day(timezone.now(), advertiser.time_zone)
    campaigns = list(advertiser.campaigns.all())
    for campaign in campaigns:
        campaign.spent_today_micros = spent_today_micros(campaign, today=today)
    context = {
        "advertiser": advertiser,
        "advertisers": Advertiser.objects.for_user(request.user),
        "page": Paginator(rows, ADS_PER_PAGE).get_page(request.GET.get("page")),
        "total": reporting.total(row.figures for row in rows),
        "campaigns": campaigns,
        "wallet_micros": wallet_micros(advertiser),
        "rejections": reporting.rejections(Scope(advertiser=advertiser), period),
        "days": days,
        "day_choices": DAY_CHOICES,
        "sort": sort if sort.removeprefix("-") in SORTS else "-spend",
        "columns": COLUMNS,
        "now": timezone.now(),
    }
    return render(request, "campaigns/ads.html", context)


COLUMNS = [  # key in SORTS, heading, whether it is a number
    ("title", "Ad", False),
    ("status", "Status", False),
    ("bid", "Bid per click", True),
    ("impressions", "Impressions", True),
    ("clicks", "Clicks", True),
    ("ctr", "CTR", True),
    ("cpc", "Average CPC", True),
    ("spend", "Spend", True),
]


def _rows(advertiser: Advertiser, period: Period, sort: str) -> list[AdRow]:
    figures = reporting.by_ad(Scope(advertiser=advertiser), period)
    wallet, today = wallet_micros(advertiser), local_day(timezone.now(), advertiser.time_zone)
    ads = Ad.objects.filter(campaign__advertiser=advertiser).with_bid().select_related("campaign__advertiser")
    rows = [
        AdRow(
            ad=ad,
            bid_micros=ad.bid_micros,
            standing=standing(ad=ad, bid_micros=ad.bid_micros, wallet_micros=wallet, today=today),
            figures=figures.get(ad.pk, Figures()),
        )
        for ad in ads
    ]
    key = SORTS.get(sort.removeprefix("-"))
    return sorted(rows, key=key or SORTS["spend"], reverse=sort.startswith("-") or not key)


@login_required
def ads_csv(request: HttpRequest, slug: str) -> HttpResponse:
    advertiser = visible_advertiser(request, slug)
    period, days = chosen_period(request, zone=ZoneInfo(advertiser.time_zone))
    header = ["ad", "title", "campaign", "status", "bid", "daily budget", "total budget", "impressions", "clicks",
              "clicks not billed", "ctr", "average cpc", "spend"]  # fmt: skip
    lines = [
        [
            row.ad.public_id,
            row.ad.title,
            row.ad.campaign.name,
            row.standing.label,
            None if row.bid_micros is None else format_micros(row.bid_micros),
            format_micros(row.ad.campaign.daily_budget_micros),
            format_micros(row.ad.campaign.total_budget_micros),
            row.figures.impressions,
            row.figures.clicks,
            row.figures.rejected_clicks,
            None if row.figures.ctr is None else f"{row.figures.ctr:.6f}",
            None if row.figures.cpc_micros is None else format_micros(row.figures.cpc_micros),
            format_micros(row.figures.revenue_micros),
        ]
        for row in _rows(advertiser, period, request.GET.get("sort", "-spend"))
    ]
    return csv_response(filename=f"{advertiser.slug}-ads-{days}.csv", header=header, rows=lines)


# --- money ---


@login_required
def statement(request: HttpRequest, slug: str) -> HttpResponse:
    """The wallet: what came in, what clicks took, what was not billed and why."""
    advertiser = visible_advertiser(request, slug)
    zone = ZoneInfo(advertiser.time_zone)
    wallet = getattr(advertiser, "wallet", None)
    period = reporting.all_days(now=timezone.now(), zone=zone)
    lines = statement_lines(wallet) if wallet else []
    page = Paginator(lines, LINES_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "advertiser": advertiser,
        "wallet_micros": wallet_micros(advertiser),
        "lines": [(line, about(line)) for line in page],
        "page": page,
        "sums": sums_by_kind(wallet) if wallet else {},
        "rejections": reporting.rejections(Scope(advertiser=advertiser), period),
        "zone": zone,
    }
    return render(request, "campaigns/statement.html", context)


@login_required
def statement_csv(request: HttpRequest, slug: str) -> HttpResponse:
    advertiser = visible_advertiser(request, slug)
    zone = ZoneInfo(advertiser.time_zone)
    rows = [
        [
            line.pk,
            line.created_at.astimezone(zone).isoformat(timespec="seconds"),
            line.kind,
            about(line),
            format_micros(line.signed_micros),
            format_micros(line.balance_micros),
        ]
        for line in (statement_lines(advertiser.wallet) if hasattr(advertiser, "wallet") else [])
    ]
    header = ["line", "time", "kind", "about", "amount", "balance after"]
    return csv_response(filename=f"{advertiser.slug}-statement.csv", header=header, rows=rows)
