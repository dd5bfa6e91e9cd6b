"""A small market to test with: acme and zenith advertise, with a wallet, a campaign and an ad each.

Amounts are micros unless a name says otherwise. `check` is what every test that touches money ends with.
"""

from uuid import UUID

from campaigns import serving
from campaigns.auction.validation import title_skeleton
from campaigns.bidding import set_bid
from campaigns.billing import ClickOutcome, deposit, record_click
from campaigns.books import check_books
from campaigns.models import Ad, Advertiser, Campaign, DatabaseMark
from campaigns.serving import OpenedAuction, ServedAd

MUCH = 10**12  # micros: more than any test spends
ALICE = "a" * 64  # her browser's visitor hash
MALLORY = "e" * 64


def make_advertiser(name: str = "Acme", *, wallet: int = MUCH, time_zone: str = "UTC") -> Advertiser:
    advertiser = Advertiser.objects.create(name=name, slug=name.lower().replace(" ", "-"), time_zone=time_zone)
    if wallet:
        deposit(advertiser=advertiser, amount_micros=wallet, external_ref=f"opening-{name}")
    return advertiser


def make_campaign(advertiser: Advertiser, name: str = "Spring", *, total: int = MUCH, daily: int = MUCH) -> Campaign:
    return Campaign.objects.create(
        advertiser=advertiser, name=name, total_budget_micros=total, daily_budget_micros=daily
    )


def make_ad(
    campaign: Campaign,
    *,
    title: str = "Acme Mug",
    bid: int = 5_000_000,
    public_id: str = "",
    category: str = "coffee",
    description: str = "",
    landing_url: str = "https://acme.example/mug",
    review_state: str = Ad.Review.APPROVED,
) -> Ad:
    ad = Ad.objects.create(
        public_id=public_id or f"Ad-{1000 + Ad.objects.count()}",
        campaign=campaign,
        title=title,
        title_skeleton=title_skeleton(title),
        landing_url=landing_url,
        description=description,
        category=category,
        review_state=review_state,
    )
    if bid:
        set_bid(ad=ad, amount_micros=bid)
    return ad


def acme(
    *, bid: int = 5_000_000, wallet: int = MUCH, total: int = MUCH, daily: int = MUCH, time_zone: str = "UTC"
) -> Ad:
    """Acme's ad for a mug, ready to be shown and paid for."""
    campaign = make_campaign(make_advertiser("Acme", wallet=wallet, time_zone=time_zone), total=total, daily=daily)
    return make_ad(campaign, title="Acme Mug", bid=bid, description="A mug for coffee and tea.")


def zenith(
    *, bid: int = 3_000_000, wallet: int = MUCH, total: int = MUCH, daily: int = MUCH, time_zone: str = "UTC"
) -> Ad:
    """Zenith's ad for running shoes."""
    campaign = make_campaign(make_advertiser("Zenith", wallet=wallet, time_zone=time_zone), total=total, daily=daily)
    return make_ad(
        campaign,
        title="Zenith Trail Shoes",
        bid=bid,
        category="running",
        description="Light shoes for long runs.",
        landing_url="https://zenith.example/shoes",
    )


def mark_demo() -> None:
    """Makes this a database of play money, in which simulated times are allowed."""
    DatabaseMark.objects.get_or_create(kind="demo")


def open_auction(query: str = "Which mug is best?", *, visitor: str = ALICE, **options) -> OpenedAuction:
    return serving.open_auction(query=query, visitor_hash=visitor, model_version="test", **options)


def show(auction_id: UUID, ad: Ad, *, position: int = 1, visitor: str = ALICE, **options) -> ServedAd:
    return serving.record_impression(
        auction_id=auction_id, ad_id=ad.public_id, position=position, visitor_hash=visitor, **options
    )


def serve(ad: Ad, *, visitor: str = ALICE, **options) -> str:
    """Opens an auction, shows this ad, and returns the token of its link."""
    return show(open_auction(visitor=visitor, **options).id, ad, visitor=visitor, at=options.get("at")).token


def click(token: str, *, visitor: str = ALICE, **options) -> ClickOutcome:
    return record_click(token=token, visitor_hash=visitor, **options)


def check() -> None:
    """The books hold: every invariant of the ledger, over everything that is in the database."""
    violations = check_books()
    assert not violations, "\n".join(violations)
