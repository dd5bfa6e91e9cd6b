"""One measured click, decided and written: the same story for PostgreSQL and SQLite.

The order of the reasons stands in billing.py. On PostgreSQL the story is a function in the database, told in one round
trip (migrations/sql/record_click_postgresql.sql). On SQLite it is told here, under the one write lock that BEGIN
IMMEDIATE takes: what is read cannot change before the commit. Knows nothing of tokens or requests.
"""

import threading
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import connection, transaction

from campaigns.clock import local_day

BILLED = "billed"

# Billed clicks per hour: a person compares a few offers; an office or a mobile network shares one address.
VISITOR_LIMIT, VISITOR_AD_LIMIT = 40, 5
NETWORK_LIMIT, NETWORK_AD_LIMIT = 200, 20


@dataclass(frozen=True)
class ClickOutcome:
    """outcome is "billed" or a RejectedClick.Reason; the visitor goes to landing_url in either case."""

    outcome: str
    landing_url: str
    charged_micros: int


def decide_and_charge(
    *, token_id: str, visitor_hash: str, network_hash: str, suspicion: str | None, simulated_at: datetime | None
) -> ClickOutcome | None:
    """None, and nothing written, when no link has this token id."""
    if connection.vendor == "postgresql":
        return _on_postgresql(token_id, visitor_hash, network_hash, suspicion, simulated_at)
    # Threads of one process take turns here, because SQLite would let them poll for its lock.
    with _turn if not connection.in_atomic_block else nullcontext(), transaction.atomic():
        return _on_sqlite(token_id, visitor_hash, network_hash, suspicion, simulated_at)


_turn = threading.Lock()

_CALL = "SELECT outcome, landing_url, charged_micros FROM campaigns_record_click(%s, %s, %s, %s, %s, %s, %s, %s, %s)"


def _on_postgresql(token_id, visitor_hash, network_hash, suspicion, simulated_at) -> ClickOutcome | None:
    limits = [VISITOR_LIMIT, VISITOR_AD_LIMIT, NETWORK_LIMIT, NETWORK_AD_LIMIT]
    with connection.cursor() as cursor:
        cursor.execute(_CALL, [token_id, visitor_hash, network_hash, suspicion, simulated_at, *limits])
        row = cursor.fetchone()
    return row and ClickOutcome(*row)


# --- the same on SQLite ---

_LINK = """
    SELECT i.id, i.visitor_hash, i.expires_at, a.origin, k.ad_id, k.bid_micros, ad.landing_url, ad.campaign_id,
        v.time_zone, w.id, w.balance_micros,
        p.total_budget_micros - p.spent_micros, p.daily_budget_micros, p.day, p.day_spent_micros,
        ad.status = 'active' AND ad.review_state = 'approved' AND p.status = 'active' AND v.status = 'active',
        EXISTS (SELECT 1 FROM campaigns_click c WHERE c.impression_id = i.id),
        strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')
    FROM campaigns_impression i
    JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
    JOIN campaigns_auction a ON a.id = k.auction_id
    JOIN campaigns_ad ad ON ad.id = k.ad_id
    JOIN campaigns_campaign p ON p.id = ad.campaign_id
    JOIN campaigns_advertiser v ON v.id = p.advertiser_id
    LEFT JOIN campaigns_account w ON w.advertiser_id = v.id
    WHERE i.token_id = %s
"""
_CLICKS_FROM_ONE_PLACE = """
    SELECT count(*), coalesce(sum(k.ad_id = %s), 0)
    FROM campaigns_click c
    JOIN campaigns_impression i ON i.id = c.impression_id
    JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
    WHERE c.{place} = %s AND c.{place} <> '' AND c.created_at > %s AND c.created_at <= %s
"""
_SPENT_ON_A_DAY = """
    SELECT coalesce(sum(c.charged_micros), 0)
    FROM campaigns_click c
    JOIN campaigns_impression i ON i.id = c.impression_id
    JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
    JOIN campaigns_ad ad ON ad.id = k.ad_id
    WHERE ad.campaign_id = %s AND c.created_at >= %s AND c.created_at < %s
"""


def _on_sqlite(token_id, visitor_hash, network_hash, suspicion, simulated_at) -> ClickOutcome | None:
    with connection.cursor() as cursor:
        link = cursor.execute(_LINK, [token_id]).fetchone()
        if link is None:
            return None
        impression, served_to, expires_at, origin, ad, price, landing_url, campaign = link[:8]
        time_zone, wallet, balance, total_left, daily_budget, day, day_spent, active, clicked, clock = link[8:]
        moment = datetime.fromisoformat(clock).replace(tzinfo=UTC)
        if origin == "demo" and simulated_at is not None:
            moment = simulated_at
        today = local_day(moment, time_zone)

        def too_many(place: str, who: str, limit: int, ad_limit: int) -> bool:
            hour = [_stored(moment - timedelta(hours=1)), _stored(moment)]
            everywhere, here = cursor.execute(_CLICKS_FROM_ONE_PLACE.format(place=place), [ad, who, *hour]).fetchone()
            return everywhere >= limit or here >= ad_limit

        def spent_today() -> int:
            if day is None or day < today:
                return 0
            if day == today:
                return day_spent
            # Midnight passed while this click waited: its own day is over and must be counted afresh.
            midnight = datetime(today.year, today.month, today.day, tzinfo=ZoneInfo(time_zone))
            whole_day = [_stored(midnight), _stored(midnight + timedelta(days=1))]  # wall-clock: 23 or 25 hours, too
            return cursor.execute(_SPENT_ON_A_DAY, [campaign, *whole_day]).fetchone()[0]

        if suspicion is not None:
            outcome = suspicion
        elif clicked:
            outcome = "duplicate"
        elif moment > expires_at.replace(tzinfo=UTC):
            outcome = "expired"
        elif served_to not in ("", visitor_hash):
            outcome = "invalid"
        elif not active:
            outcome = "inactive"
        elif (visitor_hash and too_many("visitor_hash", visitor_hash, VISITOR_LIMIT, VISITOR_AD_LIMIT)) or (
            network_hash and too_many("network_hash", network_hash, NETWORK_LIMIT, NETWORK_AD_LIMIT)
        ):
            outcome = "invalid"
        elif wallet is None or price > min(balance, total_left, daily_budget - spent_today()):
            outcome = "over_budget"
        else:
            outcome = BILLED

        if outcome != BILLED:
            cursor.execute(
                "INSERT INTO campaigns_rejectedclick (impression_id, reason, created_at) VALUES (%s, %s, %s)",
                [impression, outcome, _stored(moment)],
            )
            return ClickOutcome(outcome, landing_url, 0)

        cursor.execute(
            "INSERT INTO campaigns_click (impression_id, charged_micros, visitor_hash, network_hash, created_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            [impression, price, visitor_hash, network_hash, _stored(moment)],
        )
        cursor.execute(
            "INSERT INTO campaigns_transfer (kind, debit_id, credit_id, amount_micros, click_id, note, created_at)"
            " SELECT 'charge', %s, r.id, %s, %s, '', %s FROM campaigns_account r WHERE r.kind = 'revenue'",
            [wallet, price, impression, _stored(moment)],
        )
        if day is None or day < today:
            day, day_spent = today, price
        elif day == today:
            day_spent += price
        cursor.execute(
            "UPDATE campaigns_campaign SET spent_micros = spent_micros + %s, day = %s, day_spent_micros = %s"
            " WHERE id = %s",
            [price, day, day_spent, campaign],
        )
        cursor.execute(
            "UPDATE campaigns_account SET balance_micros = balance_micros - %s WHERE id = %s", [price, wallet]
        )
        return ClickOutcome(BILLED, landing_url, price)


def _stored(moment: datetime) -> str:
    """As Django writes it into SQLite; such texts sort like the moments they name."""
    return str(connection.ops.adapt_datetimefield_value(moment))
