"""Put somebody's catalogue on the market: ads of one campaign, each with its landing page and first bid.

All of them or none, so that a file can be mended and brought again. Every ad waits for review, as any new one does.
"""

from dataclasses import dataclass

from django.db import transaction

from campaigns.ads import create_ad
from campaigns.auction.categories import CATEGORIES
from campaigns.auction.validation import MAX_BID_MICROS, MIN_BID_MICROS, InvalidInput, clean_landing_url, parse_amount
from campaigns.models import Ad, Campaign
from training.simulation.catalogues import Catalogue, GivenAd

MAX_DESCRIPTION = Ad._meta.get_field("description").max_length
_BY_NAME = {name.casefold(): slug for slug, label in CATEGORIES.items() for name in (slug, label)}


class NotStocked(ValueError):
    """Nothing was put on the market; `problems` has a line for every entry that stood in the way."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"{len(problems)} ads cannot go on the market, so none did")
        self.problems = problems


@dataclass(frozen=True)
class Defaults:
    """For entries that say nothing of their own: what a click costs, in units as typed, and the category."""

    bid: str = ""
    category: str = ""


def stock(catalogue: Catalogue, *, campaign: Campaign, defaults: Defaults = Defaults(), created_by=None) -> list[Ad]:
    """New ads of the campaign, in the file's order. Ids are the market's own. Raises NotStocked."""
    problems = [f"{problem}" for problem in catalogue.problems if problem.done != "cleaned"]
    made: list[Ad] = []
    with transaction.atomic():
        for where, given in catalogue.entries:
            try:
                made.append(create_ad(campaign=campaign, created_by=created_by, **_texts(given, defaults)))
            except InvalidInput as error:
                problems.append(f"{where}: {error}")
        if problems:
            raise NotStocked(problems)
    return made


def _texts(given: GivenAd, defaults: Defaults) -> dict[str, str | int]:
    named = given.category or defaults.category
    if (category := _BY_NAME.get(named.casefold())) is None:
        raise InvalidInput(f"The category {named!r} is none of the market's {len(CATEGORIES)}. Name one for all.")
    if len(given.description) > MAX_DESCRIPTION:
        raise InvalidInput(f"The description has {len(given.description)} characters; {MAX_DESCRIPTION} is the most.")
    bid = str(given.bid) if given.bid != "" else defaults.bid
    return {
        "title": given.title,
        "landing_url": clean_landing_url(given.url),
        "description": given.description,
        "category": category,
        "bid_micros": parse_amount(bid, minimum=MIN_BID_MICROS, maximum=MAX_BID_MICROS),
    }
