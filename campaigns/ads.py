"""Writing and changing ads. Every change of what people read goes back to review; bids and money live elsewhere."""

import secrets

from django.db import IntegrityError, transaction

from campaigns.auction.validation import InvalidInput, title_skeleton
from campaigns.bidding import set_bid
from campaigns.models import Ad, Campaign

TITLE_TAKEN = "Another ad has this title, or one that looks just like it. Please choose a different one."


def create_ad(
    *,
    campaign: Campaign,
    title: str,
    landing_url: str,
    description: str,
    category: str,
    bid_micros: int,
    created_by=None,
) -> Ad:
    """A new ad with its first bid, waiting for review. The texts must be clean already (auction/validation)."""
    ad = Ad(campaign=campaign, public_id=_free_public_id(), review_state=Ad.Review.PENDING)
    with transaction.atomic():
        _write(ad, title=title, landing_url=landing_url, description=description, category=category)
        set_bid(ad=ad, amount_micros=bid_micros, set_by=created_by)
    return ad


def edit_ad(*, ad: Ad, title: str, landing_url: str, description: str, category: str) -> Ad:
    """Changes an ad and sends it back to review; the same texts again change nothing."""
    new = {"title": title, "landing_url": landing_url, "description": description, "category": category}
    if any(getattr(ad, name) != value for name, value in new.items()):
        ad.review_state, ad.review_reason = Ad.Review.PENDING, ""
        _write(ad, **new)
    return ad


def _write(ad: Ad, *, title: str, landing_url: str, description: str, category: str) -> None:
    ad.title, ad.title_skeleton = title, title_skeleton(title)
    ad.landing_url, ad.description, ad.category = landing_url, description, category
    if Ad.objects.filter(title_skeleton=ad.title_skeleton).exclude(pk=ad.pk).exists():
        raise InvalidInput(TITLE_TAKEN)
    try:
        with transaction.atomic():
            ad.save()
    except IntegrityError:  # a rival's ad was saved between the question and the answer
        if Ad.objects.filter(title_skeleton=ad.title_skeleton).exclude(pk=ad.pk).exists():
            raise InvalidInput(TITLE_TAKEN) from None
        raise


def _free_public_id() -> str:
    """Drawn, not counted: an id must not tell how many ads there are. Four digits while most of them are free."""
    digits = 4
    while True:
        for _ in range(5):
            number = 10 ** (digits - 1) + secrets.randbelow(9 * 10 ** (digits - 1))
            if not Ad.objects.filter(public_id=f"Ad-{number}").exists():
                return f"Ad-{number}"
        digits += 1
