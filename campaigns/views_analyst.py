"""What analysts see: the whole market's figures, or a part of it, over time, by advertiser and by model version."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, wraps

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render

from campaigns import charts, reporting
from campaigns.access import is_analyst
from campaigns.charts import METRICS, Chart, Metric
from campaigns.exports import csv_response
from campaigns.models import Advertiser
from campaigns.periods import DAY_CHOICES, chosen_period
from campaigns.reporting import Figures, Period, Scope

GROUPINGS = {"by-advertiser": "Advertiser", "by-model": "Model version"}


def analysts_only(view: Callable) -> Callable:
    @login_required
    @wraps(view)
    def guarded(request: HttpRequest, *args, **kwargs) -> HttpResponse:
        if not is_analyst(request.user):
            raise PermissionDenied(
                "The figures of all advertisers are for analysts. An administrator can make you one."
            )
        return view(request, *args, **kwargs)

    return guarded


@dataclass
class Selection:
    """What the page's address asks for, and the figures of it, each read at most once."""

    period: Period
    days: str
    scope: Scope
    metric: Metric  # of the charts by advertiser and by model version

    @classmethod
    def of(cls, request: HttpRequest) -> "Selection":
        period, days = chosen_period(request)
        slug, model_version = request.GET.get("advertiser"), request.GET.get("model")
        scope = Scope(
            advertiser=get_object_or_404(Advertiser, slug=slug) if slug else None, model_version=model_version or None
        )
        return cls(period, days, scope, METRICS.get(request.GET.get("metric"), METRICS["revenue"]))

    @cached_property
    def compares(self) -> bool:
        """Is there a whole period before this one? Half of one would make everything look like growth."""
        return self.days != "all" and reporting.has_figures_since(self.period.before().start)

    @cached_property
    def by_day(self) -> dict:
        return reporting.by_day(self.scope, self.period)

    @cached_property
    def by_day_before(self) -> dict | None:
        return reporting.by_day(self.scope, self.period.before()) if self.compares else None

    @cached_property
    def by_advertiser(self) -> dict[str, Figures]:
        return reporting.by_advertiser(self.scope, self.period)

    @cached_property
    def by_model_version(self) -> dict[str, Figures]:
        return reporting.by_model_version(self.scope, self.period)

    @property
    def total(self) -> Figures:
        return reporting.total(self.by_day.values())

    @property
    def total_before(self) -> Figures | None:
        return reporting.total(self.by_day_before.values()) if self.compares else None

    def chart(self, key: str) -> Chart:
        currency = settings.CURRENCY
        if key in METRICS:
            return charts.over_time(METRICS[key], self.by_day, self.by_day_before, currency)
        if key not in GROUPINGS:
            raise Http404(f"No chart is called {key}.")
        groups = self.by_advertiser if key == "by-advertiser" else self.by_model_version
        return charts.by_group(self.metric, groups, key=key, heading=GROUPINGS[key], currency=currency)


@dataclass(frozen=True)
class Tile:
    """One figure of the period, what it was before, and how far it moved."""

    label: str
    text: str
    before_text: str
    is_money: bool
    change: float | None  # 0.1 is ten percent more
    chart: str  # where it is drawn


@analysts_only
def home(request: HttpRequest) -> HttpResponse:
    selection = Selection.of(request)
    context = {
        "selection": selection,
        "total": selection.total,
        "tiles": _tiles(selection.total, selection.total_before),
        "time_charts": [selection.chart(key) for key in METRICS],
        "group_charts": [selection.chart(key) for key in GROUPINGS],
        "metrics": METRICS.values(),
        "advertisers": Advertiser.objects.order_by("name").values_list("slug", "name"),
        "model_versions": reporting.model_versions(),
        "rejections": reporting.rejections(selection.scope, selection.period),
        "day_choices": DAY_CHOICES,
        "days": selection.days,
    }
    return render(request, "campaigns/analytics.html", context)


@analysts_only
def chart_json(request: HttpRequest, chart: str) -> HttpResponse:
    """What one chart draws."""
    answer = JsonResponse(charts.as_json(Selection.of(request).chart(chart), settings.CURRENCY))
    answer["Cache-Control"] = "no-store"
    return answer


@analysts_only
def chart_csv(request: HttpRequest, chart: str) -> HttpResponse:
    """The same figures as a file."""
    selection = Selection.of(request)
    header, *rows = charts.as_rows(selection.chart(chart))
    return csv_response(filename=f"{chart}-{selection.days}.csv", header=header, rows=rows)


def _tiles(now: Figures, before: Figures | None) -> list[Tile]:
    tiles = [_tile(metric, now, before, chart=metric.key) for metric in METRICS.values()]
    not_billed = replace(METRICS["clicks"], label="Clicks not billed", value=lambda figures: figures.rejected_clicks)
    return [*tiles, _tile(not_billed, now, before, chart="not-billed")]


def _tile(metric: Metric, now: Figures, before: Figures | None, *, chart: str) -> Tile:
    current, earlier = metric.value(now), metric.value(before) if before else None
    change = (current - earlier) / earlier if earlier and current is not None else None
    return Tile(metric.label, metric.text(current, ""), metric.text(earlier, ""), metric.is_money, change, chart)
