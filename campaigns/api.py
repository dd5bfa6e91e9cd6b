"""The market through the API: what the pages show, for the same people.

Members of an advertiser see its rows, staff see all, and anybody else's rows do not exist (404). The report of the
whole market is for analysts. Amounts are read from JSON strings only: a JSON number has lost digits before it is seen.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import django_filters
from django.core.validators import MaxValueValidator
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.decorators import api_view, permission_classes
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from campaigns import reporting
from campaigns.access import is_analyst, may_edit
from campaigns.auction.validation import MAX_BID_MICROS, MIN_BID_MICROS, InvalidInput, parse_amount
from campaigns.bidding import set_bid
from campaigns.models import Ad, Advertiser, Bid, Campaign, Transfer
from campaigns.statement import statement_lines

Value = TypeVar("Value")


def read_field(request: Request, name: str, clean: Callable[[Any], Value], default: Any = None) -> Value:
    """One field of a JSON object, read by the domain's own strict reader; its complaint becomes the field's error."""
    if not isinstance(request.data, dict):
        raise ValidationError({"detail": "Send a JSON object."})
    try:
        return clean(request.data.get(name, default))
    except InvalidInput as complaint:
        raise ValidationError({name: [str(complaint)]}) from None


class IsAnalyst(BasePermission):
    message = "The figures of the whole market are for analysts."

    def has_permission(self, request: Request, view: Any) -> bool:
        return is_analyst(request.user)


def clean_bid(text: Any) -> int:
    return parse_amount(text, minimum=MIN_BID_MICROS, maximum=MAX_BID_MICROS)


# --- what is read ---


class AdvertiserSerializer(serializers.ModelSerializer):
    balance_micros = serializers.IntegerField(source="wallet.balance_micros", default=0, read_only=True)

    class Meta:
        model = Advertiser
        fields = ("slug", "name", "status", "time_zone", "balance_micros")


class CampaignSerializer(serializers.ModelSerializer):
    advertiser = serializers.SlugRelatedField("slug", read_only=True)

    class Meta:
        model = Campaign
        fields = ("id", "advertiser", "name", "status", "total_budget_micros", "spent_micros", "daily_budget_micros")
        fields += ("day", "day_spent_micros")


class AdSerializer(serializers.ModelSerializer):
    id = serializers.CharField(source="public_id")
    advertiser = serializers.SlugField(source="campaign.advertiser.slug")
    bid_micros = serializers.IntegerField(allow_null=True)

    class Meta:
        model = Ad
        fields = ("id", "advertiser", "campaign", "title", "landing_url", "description", "category", "status")
        fields += ("review_state", "review_reason", "bid_micros", "created_at")


class BidSerializer(serializers.ModelSerializer):
    ad = serializers.SlugRelatedField("public_id", read_only=True)
    set_by = serializers.SlugRelatedField("username", read_only=True)

    class Meta:
        model = Bid
        fields = ("ad", "amount_micros", "set_by", "created_at")


class StatementLineSerializer(serializers.ModelSerializer):
    """signed_micros is what the wallet gained or lost; balance_micros what it held afterwards."""

    signed_micros = serializers.IntegerField()
    balance_micros = serializers.IntegerField()
    ad = serializers.SerializerMethodField()

    class Meta:
        model = Transfer
        fields = ("id", "kind", "signed_micros", "balance_micros", "ad", "reverses", "note", "created_at")

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_ad(self, line: Transfer) -> str | None:
        click = line.click or (line.reverses and line.reverses.click)
        return click.impression.candidate.ad.public_id if click else None


class CampaignFilter(django_filters.FilterSet):
    advertiser = django_filters.CharFilter("advertiser__slug")
    status = django_filters.ChoiceFilter(choices=Campaign.Status.choices)


class AdFilter(django_filters.FilterSet):
    advertiser = django_filters.CharFilter("campaign__advertiser__slug")
    campaign = django_filters.NumberFilter("campaign_id", validators=[MaxValueValidator(2**63 - 1)])
    category = django_filters.CharFilter("category")
    status = django_filters.ChoiceFilter(choices=Ad.Status.choices)
    review_state = django_filters.ChoiceFilter(choices=Ad.Review.choices)


class AdvertiserList(generics.ListAPIView):
    """The advertisers you belong to, with what is in their wallets."""

    serializer_class = AdvertiserSerializer
    queryset = Advertiser.objects.none()

    def get_queryset(self) -> QuerySet[Advertiser]:
        return Advertiser.objects.for_user(self.request.user).select_related("wallet")


class StatementList(generics.ListAPIView):
    """Every movement of money of one wallet, newest first. The lines sum to the balance, exactly."""

    serializer_class = StatementLineSerializer
    queryset = Transfer.objects.none()

    def get_queryset(self) -> QuerySet[Transfer]:
        advertisers = Advertiser.objects.for_user(self.request.user)
        return statement_lines(get_object_or_404(advertisers, slug=self.kwargs["slug"], wallet__isnull=False).wallet)


class CampaignList(generics.ListAPIView):
    """Your campaigns: budgets, and what is spent of them."""

    serializer_class = CampaignSerializer
    filterset_class = CampaignFilter
    queryset = Campaign.objects.none()

    def get_queryset(self) -> QuerySet[Campaign]:
        advertisers = Advertiser.objects.for_user(self.request.user)
        return Campaign.objects.filter(advertiser__in=advertisers).select_related("advertiser")


class AdList(generics.ListAPIView):
    """Your ads, each with its current bid."""

    serializer_class = AdSerializer
    filterset_class = AdFilter
    queryset = Ad.objects.none()

    def get_queryset(self) -> QuerySet[Ad]:
        return Ad.objects.for_user(self.request.user).with_bid().select_related("campaign__advertiser")


class AdDetail(generics.RetrieveAPIView):
    """One ad with its current bid."""

    serializer_class = AdSerializer
    queryset = Ad.objects.none()
    lookup_field, lookup_url_kwarg = "public_id", "ad_id"
    get_queryset = AdList.get_queryset


class BidList(generics.ListAPIView):
    """Every bid an ad ever had, newest first. POST sets a new one: the next auction sees it, older answers do not."""

    serializer_class = BidSerializer
    queryset = Bid.objects.none()

    def get_ad(self) -> Ad:
        ads = Ad.objects.for_user(self.request.user).select_related("campaign__advertiser")
        return get_object_or_404(ads, public_id=self.kwargs["ad_id"])

    def get_queryset(self) -> QuerySet[Bid]:
        return self.get_ad().bids.select_related("ad", "set_by")

    @extend_schema(
        request={"application/json": {"type": "object", "required": ["amount"], "properties": {
            "amount": {"type": "string", "example": "2.50", "description": "Currency units per click, as a string."}}}},
        responses={201: BidSerializer},
    )  # fmt: skip
    def post(self, request: Request, ad_id: str) -> Response:
        ad = self.get_ad()
        if not may_edit(request.user, ad.campaign.advertiser):
            raise PermissionDenied("A viewer may not change bids.")
        amount = read_field(request, "amount", clean_bid)
        bid = set_bid(ad=ad, amount_micros=amount, set_by=request.user)
        return Response(BidSerializer(bid).data, status=201)


# --- reports ---

MOST_DAYS = 366
BREAKDOWNS = {
    "day": reporting.by_day,
    "ad": reporting.by_ad,
    "advertiser": reporting.by_advertiser,
    "model_version": reporting.by_model_version,
}


class FiguresSerializer(serializers.Serializer):
    queries = serializers.IntegerField(help_text="Questions that went to an Ad-LLM.")
    simulated_queries = serializers.IntegerField(help_text="Those of them that came from simulated visitors.")
    impressions = serializers.IntegerField(help_text="Ads shown in answers.")
    clicks = serializers.IntegerField(help_text="Clicks that were billed.")
    revenue_micros = serializers.IntegerField()
    rejected_clicks = serializers.IntegerField()
    ads_per_answer = serializers.FloatField(allow_null=True)
    ctr = serializers.FloatField(allow_null=True)
    ecpm_micros = serializers.IntegerField(allow_null=True)
    cpc_micros = serializers.IntegerField(allow_null=True)


class ReportRowSerializer(FiguresSerializer):
    key = serializers.CharField(help_text="The day, ad, advertiser or model version.")


class ReportSerializer(serializers.Serializer):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    by = serializers.ChoiceField(list(BREAKDOWNS))
    total = FiguresSerializer()
    rows = ReportRowSerializer(many=True)


def report_parameters(*breakdowns: str) -> list[OpenApiParameter]:
    return [
        OpenApiParameter("days", description=f"Today and the days before: 1 to {MOST_DAYS}, or all; 30 unless told."),
        OpenApiParameter("by", str, enum=breakdowns, description=f"{breakdowns[0]} unless told."),
        OpenApiParameter("model_version", str, description="Only what this model version answered."),
    ]


@extend_schema(parameters=report_parameters("day", "advertiser", "model_version"), responses=ReportSerializer)
@api_view()
@permission_classes([IsAuthenticated, IsAnalyst])
def market_report(request: Request) -> Response:
    """The whole market's figures, as the analytics page shows them. For analysts."""
    return _report(request, None, ("day", "advertiser", "model_version"))


@extend_schema(parameters=report_parameters("day", "ad", "model_version"), responses=ReportSerializer)
@api_view()
def advertiser_report(request: Request, slug: str) -> Response:
    """One advertiser's figures, as its own page shows them; days begin at midnight in its time zone."""
    advertiser = get_object_or_404(Advertiser.objects.for_user(request.user), slug=slug)
    return _report(request, advertiser, ("day", "ad", "model_version"))


def _report(request: Request, advertiser: Advertiser | None, breakdowns: tuple[str, ...]) -> Response:
    by = request.query_params.get("by", breakdowns[0])
    if by not in breakdowns:
        raise ValidationError({"by": [f"Choose one of: {', '.join(breakdowns)}."]})
    zone = ZoneInfo(advertiser.time_zone) if advertiser else UTC
    period = _period(request.query_params.get("days", "30"), zone=zone)
    scope = reporting.Scope(advertiser=advertiser, model_version=request.query_params.get("model_version"))
    found = BREAKDOWNS[by](scope, period)
    if by == "ad":
        public_ids = dict(Ad.objects.filter(pk__in=found).values_list("pk", "public_id"))
        found = {public_ids[pk]: figures for pk, figures in found.items()}
    total = reporting.total(reporting.by_day(scope, period).values())
    rows = [{"key": str(key), **_figures(figures)} for key, figures in found.items()]
    report = {"start": period.start, "end": period.end, "by": by, "total": _figures(total), "rows": rows}
    return Response(ReportSerializer(report).data)


def _period(days: str, *, zone: tzinfo) -> reporting.Period:
    now = timezone.now()
    if days == "all":
        return reporting.all_days(now=now, zone=zone)
    if not (days.isascii() and days.isdigit() and len(days) <= 3 and 1 <= int(days) <= MOST_DAYS):
        raise ValidationError({"days": [f"A whole number from 1 to {MOST_DAYS}, or all."]})
    return reporting.last_days(int(days), now=now, zone=zone)


def _figures(figures: reporting.Figures) -> dict[str, Any]:
    rates = ("ads_per_answer", "ctr", "ecpm_micros", "cpc_micros")
    return asdict(figures) | {rate: getattr(figures, rate) for rate in rates}
