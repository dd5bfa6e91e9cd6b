"""Setting bids and budgets. Both refuse nonsense with a sentence for the person; the database refuses it again."""

import logging
from datetime import datetime

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from campaigns.auction.candidates import format_micros
from campaigns.auction.validation import MAX_BALANCE_MICROS, MAX_BID_MICROS, MIN_BID_MICROS, InvalidInput
from campaigns.clock import local_day, simulated
from campaigns.models import Ad, Bid, Campaign

log = logging.getLogger(__name__)


def set_bid(*, ad: Ad, amount_micros: int, set_by=None, at: datetime | None = None) -> Bid:
    """Appends a bid, for the next auctions; answers already given keep the old one. The same one again is no news."""
    _check_range(amount_micros, MIN_BID_MICROS, MAX_BID_MICROS, "A bid")
    current = ad.bids.first()
    if current and current.amount_micros == amount_micros:
        return current
    moment = {"created_at": at} if simulated(at) else {}
    return Bid.objects.create(ad=ad, amount_micros=amount_micros, set_by=set_by, **moment)


def set_budgets(*, campaign: Campaign, daily_budget_micros: int, total_budget_micros: int, set_by=None) -> Campaign:
    """Sets both budgets; refuses one below what is already spent of it. Returns the campaign as it now stands."""
    for amount, what in ((daily_budget_micros, "A daily budget"), (total_budget_micros, "A total budget")):
        _check_range(amount, MIN_BID_MICROS, MAX_BALANCE_MICROS, what)
    with transaction.atomic():
        campaign = (
            Campaign.objects.select_for_update(of=("self",))  # SQLite holds its only write lock already
            .annotate(database_now=Now(), time_zone=F("advertiser__time_zone"))
            .get(pk=campaign.pk)
        )
        today = local_day(campaign.database_now, campaign.time_zone)
        if campaign.day is None or campaign.day < today:
            campaign.day, campaign.day_spent_micros = today, 0
        if total_budget_micros < campaign.spent_micros:
            raise InvalidInput(f"{format_micros(campaign.spent_micros)} of the total budget is already spent.")
        if daily_budget_micros < campaign.day_spent_micros:
            raise InvalidInput(f"{format_micros(campaign.day_spent_micros)} of today's budget is already spent.")
        campaign.daily_budget_micros, campaign.total_budget_micros = daily_budget_micros, total_budget_micros
        campaign.save(update_fields=["day", "day_spent_micros", "daily_budget_micros", "total_budget_micros"])
    log.info(
        "campaign %s: daily budget %s, total budget %s, set by %s",
        campaign.pk,
        format_micros(daily_budget_micros),
        format_micros(total_budget_micros),
        set_by or "the system",
    )
    return campaign


def _check_range(amount: int, minimum: int, maximum: int, what: str) -> None:
    if type(amount) is not int or not minimum <= amount <= maximum:
        raise InvalidInput(f"{what} is between {format_micros(minimum)} and {format_micros(maximum)}.")
