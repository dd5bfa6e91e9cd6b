"""The demo's first rows: people who can log in, and the market of data/catalogue.json.

Only what is missing is added, so a second run changes nothing: bids, budgets and titles that somebody changed since
stay as they are. Knows nothing of chat; refuses a database that holds a real market.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from campaigns import billing
from campaigns.access import ANALYST_GROUP
from campaigns.auction.candidates import MICROS
from campaigns.auction.validation import (
    MAX_BALANCE_MICROS,
    MAX_BID_MICROS,
    MIN_BID_MICROS,
    clean_ad_id,
    clean_landing_url,
    clean_title,
    parse_amount,
    title_skeleton,
)
from campaigns.bidding import set_bid
from campaigns.clock import database_now
from campaigns.models import Ad, Advertiser, Campaign, DatabaseMark, Membership

CATALOGUE = Path(__file__).parent / "data" / "catalogue.json"
DEMO_PASSWORD = "demo"
STAKEHOLDER_GROUP = "stakeholder"
OPEN_SINCE = timedelta(days=60)  # deposits and bids precede the visits that simulate_traffic dates back
ADVERTISER_LOGINS = 3  # the first advertisers of the catalogue get a log-in of their own


class SeedRefused(Exception):
    """The demo's rows must not be added here; the message says why."""


@dataclass(frozen=True)
class Login:
    """A demo log-in, as the start page and the command print it."""

    username: str
    purpose: str


def seed_market() -> list[Login]:
    """Mark the database as demo and add what is missing. Returns the log-ins, all with the password DEMO_PASSWORD."""
    if not settings.DEMO:
        raise SeedRefused("The demo has known passwords and play money: it is only loaded with DEMO=1.")
    catalogue = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    with transaction.atomic():
        if not DatabaseMark.objects.exists() and Advertiser.objects.exists():
            raise SeedRefused("This database holds a market that is not a demo. Use another one (DATABASE_URL).")
        DatabaseMark.objects.get_or_create(kind="demo")
        opened = database_now() - OPEN_SINCE
        owners = [_advertiser(entry, opened) for entry in catalogue]
        return _people(owners[:ADVERTISER_LOGINS])


def _people(owners: list[Advertiser]) -> list[Login]:
    _user("admin", is_staff=True, is_superuser=True)
    _user("staff", is_staff=True).groups.add(_group(STAKEHOLDER_GROUP))
    _user("analyst").groups.add(_group(ANALYST_GROUP))
    for owner in owners:
        user = _user(owner.slug)
        Membership.objects.get_or_create(user=user, advertiser=owner, defaults={"role": Membership.Role.OWNER})
    return demo_logins()


def demo_logins() -> list[Login]:
    """Who can log in to a demo: what the command prints and the log-in page shows."""
    owners = json.loads(CATALOGUE.read_text(encoding="utf-8"))[:ADVERTISER_LOGINS]
    return [
        Login("admin", "everything, with the admin pages"),
        Login("staff", "all advertisers, and what stands behind each answer"),
        Login("analyst", "the figures of all advertisers"),
        *(Login(owner["slug"], f"the ads and the wallet of {owner['name']}") for owner in owners),
    ]


def _user(username: str, **rights: bool):
    user, created = get_user_model().objects.get_or_create(username=username, defaults=rights)
    if created:
        user.set_password(DEMO_PASSWORD)
        user.save(update_fields=["password"])
    return user


def _group(name: str) -> Group:
    return Group.objects.get_or_create(name=name)[0]


def _advertiser(entry: dict, opened: datetime) -> Advertiser:
    advertiser, _ = Advertiser.objects.get_or_create(
        slug=entry["slug"],
        defaults={"name": entry["name"], "time_zone": entry["time_zone"], "created_at": opened},
    )
    billing.deposit(
        advertiser=advertiser,
        amount_micros=_micros(entry["deposit"]),
        external_ref=f"demo-deposit-{advertiser.slug}",
        note="Play money to begin with",
        at=opened,
    )
    for plan in entry["campaigns"]:
        campaign, _ = Campaign.objects.get_or_create(
            advertiser=advertiser,
            name=plan["name"],
            defaults={
                "daily_budget_micros": _micros(plan["daily_budget"]),
                "total_budget_micros": _micros(plan["total_budget"]),
                "created_at": opened,
            },
        )
        for ad in plan["ads"]:
            _ad(campaign, ad, opened)
    return advertiser


def _ad(campaign: Campaign, entry: dict, opened: datetime) -> None:
    title = clean_title(entry["title"])
    ad, created = Ad.objects.get_or_create(
        public_id=clean_ad_id(entry["id"]),
        defaults={
            "campaign": campaign,
            "title": title,
            "title_skeleton": title_skeleton(title),
            "landing_url": clean_landing_url(entry["landing_url"]),
            "description": entry["description"],
            "category": entry["category"],
            "review_state": Ad.Review.APPROVED,
            "created_at": opened,
        },
    )
    if created:
        bid = parse_amount(str(entry["bid"]), minimum=MIN_BID_MICROS, maximum=MAX_BID_MICROS)
        set_bid(ad=ad, amount_micros=bid, at=opened)


def _micros(units: int) -> int:
    return parse_amount(str(units), minimum=MICROS, maximum=MAX_BALANCE_MICROS)
