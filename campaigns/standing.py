"""Whether an ad takes part in auctions right now and, if not, the first reason why not, in words for its owner.

Says the same as serving.eligible_ads, which decides; here the reason is kept instead of dropped.
"""

from dataclasses import dataclass
from datetime import date, datetime

from campaigns.clock import local_day
from campaigns.models import Ad, Advertiser, Campaign


@dataclass(frozen=True)
class Standing:
    """tone is "good", "wait" (somebody can change it) or "bad"."""

    label: str
    reason: str
    tone: str


def spent_today_micros(campaign: Campaign, *, today: date) -> int:
    """What today's clicks have cost so far; `today` is the date in the advertiser's time zone."""
    return campaign.day_spent_micros if campaign.day == today else 0


def standing(*, ad: Ad, bid_micros: int | None, wallet_micros: int, today: date) -> Standing:
    """Needs ad.campaign.advertiser loaded."""
    campaign = ad.campaign
    bid = bid_micros or 0
    daily_left = campaign.daily_budget_micros - spent_today_micros(campaign, today=today)
    reasons = [
        (campaign.advertiser.status == Advertiser.Status.SUSPENDED, "Suspended", "The account is suspended.", "bad"),
        (ad.review_state == Ad.Review.REJECTED, "Rejected", ad.review_reason or "Please edit the ad.", "bad"),
        (ad.review_state == Ad.Review.DRAFT, "Draft", "Not sent to review yet.", "wait"),
        (ad.review_state == Ad.Review.PENDING, "In review", "It takes part once it is approved.", "wait"),
        (campaign.status == Campaign.Status.PAUSED, "Campaign paused", "Resume the campaign to show it.", "wait"),
        (ad.status == Ad.Status.PAUSED, "Paused", "Resume the ad to show it.", "wait"),
        (bid_micros is None, "No bid", "Set a bid to take part.", "wait"),
        (wallet_micros < bid, "Wallet empty", "The wallet holds less than one click costs.", "bad"),
        (
            campaign.total_budget_micros - campaign.spent_micros < bid,
            "Limited by budget",
            "The total budget holds less than one click costs.",
            "wait",
        ),
        (daily_left < bid, "Limited by budget", "Today's budget holds less than one click costs.", "wait"),
    ]
    for applies, label, reason, tone in reasons:
        if applies:
            return Standing(label, reason, tone)
    return Standing("Active", "", "good")


def standing_now(*, ad: Ad, bid_micros: int | None, now: datetime) -> Standing:
    """The same for a single ad, with its wallet and its day looked up."""
    advertiser = ad.campaign.advertiser
    return standing(
        ad=ad,
        bid_micros=bid_micros,
        wallet_micros=wallet_micros(advertiser),
        today=local_day(now, advertiser.time_zone),
    )


def wallet_micros(advertiser: Advertiser) -> int:
    """What the wallet holds; an advertiser that was never paid for has no wallet yet."""
    return advertiser.wallet.balance_micros if hasattr(advertiser, "wallet") else 0
