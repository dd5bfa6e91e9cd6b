"""The analyst's charts as plain tables: what is drawn, what its title finds, how each value reads in words.

One Chart feeds the drawing (JSON), the table beside it and its CSV, so the three cannot disagree. Knows nothing of
requests; the drawing itself is static/campaigns/charts.js.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from campaigns.auction.candidates import format_micros
from campaigns.reporting import Figures, total
from campaigns.templatetags.money import exact_amount, to_readable

BARS = 12  # as many as can be read; the table has all
ENOUGH_IMPRESSIONS = 30  # fewer say nothing about a rate, so no title boasts of it


@dataclass(frozen=True)
class Metric:
    """One thing an analyst asks. `value` is micros of "money" and "average", a fraction of "share"."""

    key: str
    label: str
    unit: str  # money, average (of money), count, ratio or share
    question: str
    value: Callable[[Figures], int | float | None]
    finding: str  # over time: {overall}, {per_day}, {peak}

    @property
    def is_money(self) -> bool:
        return self.unit in ("money", "average")

    def text(self, value: float | None, currency: str) -> str:
        if value is None:
            return "–"
        if self.is_money:
            shown = exact_amount(int(value) if self.unit == "money" else to_readable(int(value)))
            return f"{shown}\u00a0{currency}".strip()
        return {"count": f"{value:,.0f}", "ratio": f"{value:.2f}", "share": f"{value:.2%}"}[self.unit]


METRICS = {
    metric.key: metric
    for metric in (
        Metric(
            key="revenue",
            label="Revenue",
            unit="money",
            question="What did billed clicks earn?",
            value=lambda figures: figures.revenue_micros,
            finding="Clicks earned {per_day} a day, most on {peak}",
        ),
        Metric(
            key="queries",
            label="Questions",
            unit="count",
            question="How many questions went to an Ad-LLM?",
            value=lambda figures: figures.queries,
            finding="Visitors asked {per_day} questions a day, most on {peak}",
        ),
        Metric(
            key="clicks",
            label="Clicks",
            unit="count",
            question="How many clicks were billed?",
            value=lambda figures: figures.clicks,
            finding="Visitors made {per_day} billed clicks a day, most on {peak}",
        ),
        Metric(
            key="ads-per-answer",
            label="Ads per answer",
            unit="ratio",
            question="How many ads does an answer hold on average?",
            value=lambda figures: figures.ads_per_answer,
            finding="An answer holds {overall} ads on average",
        ),
        Metric(
            key="ctr",
            label="CTR",
            unit="share",
            question="What share of the shown ads was clicked and billed?",
            value=lambda figures: figures.ctr,
            finding="{overall} of the shown ads were clicked",
        ),
        Metric(
            key="ecpm",
            label="eCPM",
            unit="average",
            question="What did 1,000 shown ads earn?",
            value=lambda figures: figures.ecpm_micros,
            finding="1,000 shown ads earn {overall}",
        ),
    )
}


@dataclass(frozen=True)
class Line:
    """One row of a chart's table and one point or bar of its drawing."""

    label: str
    value: int | float | None
    text: str
    before: int | float | None = None
    before_text: str = ""
    note: str = ""  # what the value rests on


@dataclass(frozen=True)
class Chart:
    """kind is "time" or "bars". Without lines there is nothing to draw, and the page says so."""

    key: str
    kind: str
    title: str
    question: str
    metric: Metric
    label_heading: str
    lines: list[Line]
    compared: bool = False  # the lines hold the days before

    @property
    def hidden_bars(self) -> int:
        return max(0, len(self.lines) - BARS) if self.kind == "bars" else 0


def over_time(metric: Metric, days: dict[date, Figures], before: dict[date, Figures] | None, currency: str) -> Chart:
    """A metric by day, and the same number of days before it when there is something to compare."""
    earlier = [metric.value(figures) for figures in (before or {}).values()]
    compared = any(earlier)
    lines = []
    for number, (day, figures) in enumerate(days.items()):
        value = metric.value(figures)
        then = earlier[number] if compared and number < len(earlier) else None
        lines.append(
            Line(
                label=f"{day:%-d %b}" if len(days) <= 366 else day.isoformat(),
                value=value,
                text=metric.text(value, currency),
                before=then,
                before_text=metric.text(then, currency),
                note=_basis(figures),
            )
        )
    return Chart(
        key=metric.key,
        kind="time",
        title=_finding(metric, days, currency),
        question=metric.question,
        metric=metric,
        label_heading="Day",
        lines=lines if total(days.values()).queries or total(days.values()).impressions else [],
        compared=compared,
    )


def by_group(metric: Metric, groups: dict[str, Figures], *, key: str, heading: str, currency: str) -> Chart:
    """A metric by advertiser or by model version, the highest first."""
    ranked = sorted(groups.items(), key=lambda item: -(metric.value(item[1]) or 0))
    lines = [
        Line(
            label=name,
            value=metric.value(figures),
            text=metric.text(metric.value(figures), currency),
            note=_basis(figures),
        )
        for name, figures in ranked
    ]
    return Chart(
        key=key,
        kind="bars",
        title=_leader(metric, ranked, heading, currency),
        question=f"{metric.label} by {heading.lower()}",
        metric=metric,
        label_heading=heading,
        lines=lines,
    )


def as_json(chart: Chart, currency: str) -> dict[str, Any]:
    """What charts.js draws: values as numbers to place them, texts to read them."""
    lines = chart.lines[:BARS] if chart.kind == "bars" else chart.lines
    series = [
        {"name": chart.metric.label, "values": [line.value for line in lines], "texts": [line.text for line in lines]}
    ]
    if chart.compared:
        before = {"values": [line.before for line in lines], "texts": [line.before_text for line in lines]}
        series.append({"name": "The days before", "dashed": True, **before})
    return {
        "kind": chart.kind,
        "unit": "money" if chart.metric.is_money else chart.metric.unit,
        "currency": currency,
        "title": chart.title,
        "labels": [line.label for line in lines],
        "series": series,
    }


def as_rows(chart: Chart) -> list[list]:
    """The chart's CSV: amounts in units of the currency, rates as fractions."""
    header = [chart.label_heading.lower(), chart.metric.label.lower(), *(["the days before"] if chart.compared else [])]
    return [header] + [
        [line.label, _plain(chart.metric, line.value), *([_plain(chart.metric, line.before)] if chart.compared else [])]
        for line in chart.lines
    ]


def _plain(metric: Metric, value: int | float | None) -> str | int | None:
    if value is None:
        return None
    if metric.is_money:
        return format_micros(int(value))
    return value if metric.unit == "count" else f"{value:.6f}"


def _basis(figures: Figures) -> str:
    counts = ((figures.queries, "question"), (figures.impressions, "shown ad"), (figures.clicks, "click"))
    return ", ".join(f"{number:,} {what}{'' if number == 1 else 's'}" for number, what in counts)


def _finding(metric: Metric, days: dict[date, Figures], currency: str) -> str:
    whole = total(days.values())
    overall = metric.value(whole)
    if not overall:
        return metric.question
    per_day = overall / len(days)
    peak = max(days, key=lambda day: metric.value(days[day]) or 0)
    decimals = 0 if metric.unit == "count" and per_day >= 10 else 1
    return metric.finding.format(
        overall=metric.text(overall, currency),
        per_day=f"{per_day:,.{decimals}f}"
        if metric.unit == "count"
        else f"{exact_amount(to_readable(round(per_day)))} {currency}",
        peak=f"{peak:%-d %B}",
    )


def _leader(metric: Metric, ranked: list[tuple[str, Figures]], heading: str, currency: str) -> str:
    known = [(name, figures) for name, figures in ranked if figures.impressions >= ENOUGH_IMPRESSIONS]
    if len(known) < 2:
        return f"{metric.label} by {heading.lower()}"
    name, best = known[0]
    value = metric.value(best)
    if metric.key == "revenue" and value:
        share = value / (sum(figures.revenue_micros for _, figures in ranked) or 1)
        return f"{name} brings {share:.0%} of the revenue"
    return f"{name} has the highest {metric.label}: {metric.text(value, currency)}"
