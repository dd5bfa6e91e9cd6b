"""What was offered to the Ad-LLM and what was shown: auctions with their frozen bids, and impressions.

Nothing here charges anybody. Eligibility is decided when the auction opens and is only a promise to try: whether a
click can be paid is decided at the click (billing.py).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from campaigns import tokens
from campaigns.auction.candidates import Candidate
from campaigns.auction.categories import CATEGORIES
from campaigns.clock import local_day, simulated
from campaigns.models import Ad, Advertiser, Auction, AuctionCandidate, Campaign, DatabaseMark, Impression


@dataclass(frozen=True)
class OpenedAuction:
    """The candidates are ordered by public id, whatever they bid: their place in the prompt must tell nothing."""

    id: UUID
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class ServedAd:
    """One ad in an answer, with the token of its link. position counts from 1."""

    ad_id: str
    title: str
    advertiser: str
    token: str
    position: int
    landing_host: str
    description: str
    category: str


class NotACandidate(LookupError):
    """The ad did not stand in this auction's prompt, so it cannot be shown for it."""


def open_auction(
    *,
    query: str,
    visitor_hash: str,
    model_version: str,
    origin: str = Auction.Origin.LIVE,
    hidden_ads: tuple[int, ...] | list[int] = (),
    at: datetime | None = None,
) -> OpenedAuction:
    """Freezes the ads that may appear in one answer, with their bids, in one short transaction.

    hidden_ads are primary keys the visitor asked not to see; `at` is a simulated time, for demo auctions only.
    """
    is_demo = origin == Auction.Origin.DEMO
    if at is not None and not is_demo:
        raise ValueError("only demo auctions have a simulated time")
    moment = simulated(at) or timezone.now()
    chosen = select_candidates(eligible_ads(moment=moment, hidden_ads=hidden_ads), query=query)
    with transaction.atomic():
        auction = Auction(model_version=model_version, origin=origin, visitor_hash=visitor_hash)
        if is_demo:
            auction.demo_mark = DatabaseMark.objects.first()  # none: the database refuses the auction
            auction.created_at = moment
        auction.save(force_insert=True)
        AuctionCandidate.objects.bulk_create(
            [AuctionCandidate(auction=auction, ad_id=ad.pk, bid_micros=ad.bid_micros, title=ad.title) for ad in chosen]
        )
    return OpenedAuction(auction.pk, tuple(Candidate(ad.public_id, ad.title, ad.bid_micros) for ad in chosen))


def eligible_ads(*, moment: datetime, hidden_ads: tuple[int, ...] | list[int] = ()) -> list:
    """Rows (pk, public_id, title, description, category, bid_micros) of every ad that could pay for a click now."""
    can_pay = {}  # campaign -> micros left for one more click
    for row in Campaign.objects.filter(
        status=Campaign.Status.ACTIVE,
        advertiser__status=Advertiser.Status.ACTIVE,
        advertiser__wallet__balance_micros__gt=0,
    ).values_list(
        "pk",
        "total_budget_micros",
        "spent_micros",
        "daily_budget_micros",
        "day",
        "day_spent_micros",
        "advertiser__time_zone",
        "advertiser__wallet__balance_micros",
    ):
        pk, total, spent, daily, day, day_spent, time_zone, wallet = row
        spent_today = day_spent if day == local_day(moment, time_zone) else 0
        can_pay[pk] = min(total - spent, daily - spent_today, wallet)
    ads = Ad.objects.with_bid().filter(
        review_state=Ad.Review.APPROVED,
        status=Ad.Status.ACTIVE,
        campaign__in=[pk for pk, left in can_pay.items() if left],
        bid_micros__isnull=False,
    )
    hidden = set(hidden_ads)
    rows = ads.order_by().values_list(
        "pk", "public_id", "title", "description", "category", "bid_micros", "campaign_id", named=True
    )
    return [ad for ad in rows if ad.bid_micros <= can_pay[ad.campaign_id] and ad.pk not in hidden]


def select_candidates(ads: list, *, query: str) -> list:
    """At most MAX_CANDIDATES of them, ordered by public id: those that share most words with the query, then bid most.

    A higher bid never costs an ad its place, and nothing is random.
    """
    if len(ads) > settings.MAX_CANDIDATES:
        wanted = words(query)
        ads = sorted(
            ads,
            key=lambda ad: (
                -len(wanted & _words_of_ad(ad.title, ad.description, ad.category)),
                -ad.bid_micros,
                ad.public_id,
            ),
        )[: settings.MAX_CANDIDATES]
    return sorted(ads, key=attrgetter("public_id"))


_COMMON_WORDS = """
    and any are best can for from get good have how into like more need not our out some than that the their them they
    this want was what when where which who why will with you your
"""
_TOO_COMMON = frozenset(_COMMON_WORDS.split())


def words(text: str) -> frozenset[str]:
    """The telling words of a text, lower-case, plurals roughly folded: "The best running shoes" -> running, shoe."""
    found = re.findall(r"[^\W_]{3,}", text.lower())
    return frozenset(word.removesuffix("s") for word in found if word not in _TOO_COMMON)


@lru_cache(maxsize=20_000)
def _words_of_ad(title: str, description: str, category: str) -> frozenset[str]:
    return words(f"{title} {description} {CATEGORIES.get(category, category)}")


def record_impression(
    *, auction_id: UUID, ad_id: str, position: int, visitor_hash: str, at: datetime | None = None
) -> ServedAd:
    """Writes the served link of an ad that is about to be shown; committed on return, so the link may follow.

    Calling it again returns the first impression: an ad named twice in an answer is one impression.
    """
    try:
        candidate = _candidates().get(auction=auction_id, ad__public_id=ad_id)
    except AuctionCandidate.DoesNotExist:
        raise NotACandidate(f"{ad_id} is not in auction {auction_id}") from None
    if candidate.auction.origin == Auction.Origin.DEMO:
        at = at or candidate.auction.created_at
    elif at is not None:
        raise ValueError("only demo auctions have a simulated time")
    impression, _ = Impression.objects.get_or_create(
        candidate=candidate,
        defaults={
            "position": position,
            "token_id": tokens.new_token_id(),
            "visitor_hash": visitor_hash,
            "expires_at": (at or Now()) + timedelta(hours=settings.LINK_LIFETIME_HOURS),
            **({"created_at": at} if at else {}),
        },
    )
    return _served(candidate, impression)


def served_ads(auction_id: UUID) -> list[ServedAd]:
    """What one answer showed, in order: a page that is loaded again needs its links again."""
    return served_ads_of([auction_id]).get(auction_id, [])


def served_ads_of(auction_ids: Iterable[UUID]) -> dict[UUID, list[ServedAd]]:
    """The same for all answers of a conversation in one query; an answer without ads is left out."""
    shown = _candidates().filter(auction__in=list(auction_ids), impression__isnull=False).select_related("impression")
    served: dict[UUID, list[ServedAd]] = {}
    for candidate in shown.order_by("impression__position", "pk"):
        served.setdefault(candidate.auction_id, []).append(_served(candidate, candidate.impression))
    return served


def _candidates():
    return AuctionCandidate.objects.select_related("auction", "ad__campaign__advertiser")


def _served(candidate: AuctionCandidate, impression: Impression) -> ServedAd:
    ad = candidate.ad
    return ServedAd(
        ad_id=ad.public_id,
        title=candidate.title,
        advertiser=ad.campaign.advertiser.name,
        token=tokens.sign(impression.token_id),
        position=impression.position,
        landing_host=urlsplit(ad.landing_url).hostname or "",
        description=ad.description,
        category=ad.category,
    )
