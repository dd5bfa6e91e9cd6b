"""Proves the books: every invariant of the ledger as one query that finds what breaks it.

Each query is one snapshot, so the check may run while clicks are charged. It reads facts and says what is wrong; it
never repairs, because a silent repair would hide the cause.
"""

from dataclasses import dataclass

from django.db import connection

SHOWN = 20  # violations of one invariant; more would not help anybody


@dataclass(frozen=True)
class Invariant:
    """sql returns one row per violation; its column names are what the report prints."""

    code: str
    claim: str
    sql: str


# Every click with its price, its campaign and its charge and credit: what several invariants sum over.
_CLICKS = """
    clicks AS (
        SELECT c.impression_id AS click, c.charged_micros, c.created_at, p.id AS campaign, v.time_zone,
            t.id AS charge, t.amount_micros AS charge_micros, coalesce(r.amount_micros, 0) AS credit_micros
        FROM campaigns_click c
        JOIN campaigns_impression i ON i.id = c.impression_id
        JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
        JOIN campaigns_ad ad ON ad.id = k.ad_id
        JOIN campaigns_campaign p ON p.id = ad.campaign_id
        JOIN campaigns_advertiser v ON v.id = p.advertiser_id
        LEFT JOIN campaigns_transfer t ON t.click_id = c.impression_id AND t.kind = 'charge'
        LEFT JOIN campaigns_transfer r ON r.reverses_id = t.id
    )"""

INVARIANTS = [
    Invariant(
        "I1",
        "every transfer moves a positive amount between two accounts, the ones its kind names",
        """
        SELECT t.id AS transfer, t.kind, d.kind AS debit, c.kind AS credit, t.amount_micros
        FROM campaigns_transfer t
        JOIN campaigns_account d ON d.id = t.debit_id
        JOIN campaigns_account c ON c.id = t.credit_id
        WHERE t.amount_micros <= 0 OR t.debit_id = t.credit_id OR d.kind || ' to ' || c.kind <> CASE t.kind
            WHEN 'deposit' THEN 'clearing to wallet' WHEN 'withdrawal' THEN 'wallet to clearing'
            WHEN 'charge' THEN 'wallet to revenue' WHEN 'credit' THEN 'revenue to wallet' ELSE '' END
        """,
    ),
    Invariant("I2", "facts are append-only: every guard of the database stands", "{missing_guards}"),
    Invariant(
        "I3",
        "a link is charged at most once, a charge credited at most once and by no more than it was",
        """
        SELECT 'charges of one click' AS what, click_id AS id, count(*) AS times, sum(amount_micros) AS micros
        FROM campaigns_transfer WHERE click_id IS NOT NULL GROUP BY click_id HAVING count(*) > 1
        UNION ALL
        SELECT 'credits of one charge', t.id, count(*), sum(r.amount_micros)
        FROM campaigns_transfer t JOIN campaigns_transfer r ON r.reverses_id = t.id
        GROUP BY t.id, t.amount_micros, t.kind
        HAVING count(*) > 1 OR sum(r.amount_micros) > t.amount_micros OR t.kind <> 'charge'
        """,
    ),
    Invariant(
        "I4",
        "a click costs the bid that was frozen when its auction opened",
        """
        SELECT c.impression_id AS click, c.charged_micros, k.bid_micros
        FROM campaigns_click c
        JOIN campaigns_impression i ON i.id = c.impression_id
        JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
        WHERE c.charged_micros <> k.bid_micros
        """,
    ),
    Invariant(
        "I5",
        "a wallet holds what was credited to it less what was debited, and never less than nothing",
        """
        WITH moved AS (
            SELECT credit_id AS account, amount_micros AS micros FROM campaigns_transfer
            UNION ALL SELECT debit_id, -amount_micros FROM campaigns_transfer
        ), sums AS (SELECT account, sum(micros) AS micros FROM moved GROUP BY account)
        SELECT a.id AS account, a.balance_micros, coalesce(s.micros, 0) AS transfers_say
        FROM campaigns_account a LEFT JOIN sums s ON s.account = a.id
        WHERE a.kind = 'wallet' AND (a.balance_micros <> coalesce(s.micros, 0) OR a.balance_micros < 0)
        """,
    ),
    Invariant(
        "I6",
        "a campaign has spent its charges less its credits, and no more than its total budget",
        f"""
        WITH {_CLICKS}, sums AS (
            SELECT campaign, sum(charge_micros - credit_micros) AS micros FROM clicks GROUP BY campaign
        )
        SELECT p.id AS campaign, p.spent_micros, coalesce(s.micros, 0) AS transfers_say, p.total_budget_micros
        FROM campaigns_campaign p LEFT JOIN sums s ON s.campaign = p.id
        WHERE p.spent_micros <> coalesce(s.micros, 0) OR p.spent_micros > p.total_budget_micros
        """,
    ),
    Invariant(
        "I7",
        "a campaign's spend of its day is that day's charges, and no more than its daily budget",
        f"""
        WITH {_CLICKS}, sums AS (
            SELECT c.campaign, sum(c.charged_micros) AS micros
            FROM clicks c JOIN campaigns_campaign p ON p.id = c.campaign
            WHERE {{local_day}} = p.day GROUP BY c.campaign
        )
        SELECT p.id AS campaign, p.day, p.day_spent_micros, coalesce(s.micros, 0) AS clicks_say, p.daily_budget_micros
        FROM campaigns_campaign p LEFT JOIN sums s ON s.campaign = p.id
        WHERE p.day_spent_micros <> coalesce(s.micros, 0) OR p.day_spent_micros > p.daily_budget_micros
        """,
    ),
    Invariant(
        "I8",
        "a billed click has its transfer of the same amount",
        f"""
        WITH {_CLICKS}
        SELECT click, charged_micros, charge, charge_micros FROM clicks
        WHERE charge_micros IS NULL OR charge_micros <> charged_micros
        """,
    ),
    Invariant(
        "I9",
        "money moves for live auctions, or in a database marked as demo",
        """
        SELECT c.impression_id AS click, a.id AS auction, a.origin
        FROM campaigns_click c
        JOIN campaigns_impression i ON i.id = c.impression_id
        JOIN campaigns_auctioncandidate k ON k.id = i.candidate_id
        JOIN campaigns_auction a ON a.id = k.auction_id
        LEFT JOIN campaigns_databasemark m ON m.kind = a.demo_mark_id
        WHERE NOT (a.origin = 'live' AND a.demo_mark_id IS NULL OR a.origin = 'demo' AND m.kind IS NOT NULL)
        """,
    ),
    Invariant(
        "I10",
        "no click was billed after its link expired",
        """
        SELECT c.impression_id AS click, c.created_at, i.expires_at
        FROM campaigns_click c JOIN campaigns_impression i ON i.id = c.impression_id
        WHERE c.created_at > i.expires_at
        """,
    ),
    Invariant(
        "I11",
        "all wallets together hold deposits less withdrawals less revenue",
        """
        WITH wallets AS (
            SELECT coalesce(sum(balance_micros), 0) AS micros FROM campaigns_account WHERE kind = 'wallet'
        ), flows AS (
            SELECT coalesce(sum(CASE WHEN kind IN ('deposit', 'credit') THEN amount_micros ELSE -amount_micros END), 0)
                AS micros
            FROM campaigns_transfer
        )
        SELECT wallets.micros AS wallets_hold, flows.micros AS transfers_say
        FROM wallets, flows WHERE wallets.micros <> flows.micros
        """,
    ),
    Invariant(
        "I12",
        "every measured click is billed or has a reason that its link bears out",
        """
        SELECT r.id AS rejected_click, r.impression_id AS impression, r.reason
        FROM campaigns_rejectedclick r
        JOIN campaigns_impression i ON i.id = r.impression_id
        LEFT JOIN campaigns_click c ON c.impression_id = i.id
        WHERE r.reason NOT IN
                ('duplicate', 'bot', 'prefetch', 'expired', 'over_budget', 'inactive', 'invalid')
            OR (r.reason = 'duplicate' AND c.impression_id IS NULL)
            OR (r.reason = 'expired' AND r.created_at <= i.expires_at)
        """,
    ),
]

# What differs between the two databases: how a moment becomes an advertiser's date, and where triggers are listed.
_LOCAL_DAY = {
    "postgresql": "(c.created_at AT TIME ZONE c.time_zone)::date",
    "sqlite": "django_datetime_cast_date(c.created_at, c.time_zone, 'UTC')",
}
_TRIGGERS = {
    "postgresql": "SELECT tgname::text FROM pg_trigger WHERE tgenabled IN ('O', 'A')",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
}
_FACTS = ["bid", "auction", "auctioncandidate", "impression", "click", "rejectedclick", "transfer"]
_PATHS = ["ad_keeps_its_campaign", "campaign_keeps_its_advertiser", "advertiser_keeps_its_time_zone"]
_GUARDS = {
    "postgresql": [f"{fact}_is_{guard}" for fact in _FACTS for guard in ("append_only", "never_truncated")]
    + ["click_costs_the_frozen_bid", "transfer_fits_its_cause", *_PATHS],
    "sqlite": [f"{fact}_is_{guard}" for fact in _FACTS for guard in ("never_updated", "never_deleted")]
    + [f"{table}_is_in_micros" for table in ("account", "campaign", "bid", "auctioncandidate", "transfer")]
    + ["account_stays_in_micros", "campaign_stays_in_micros", "click_costs_the_frozen_bid"]
    + ["transfer_fits_its_kind", "charge_fits_its_click", "credit_fits_its_charge", *_PATHS],
}


def check_books() -> list[str]:
    """One sentence per violation; an empty list means that every micro is explained."""
    violations = []
    for invariant in INVARIANTS:
        with connection.cursor() as cursor:
            cursor.execute(_dialect(invariant.sql))
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchmany(SHOWN)
        for row in rows:
            facts = ", ".join(f"{name}={value}" for name, value in zip(names, row, strict=True))
            violations.append(f"{invariant.code} broken ({invariant.claim}): {facts}")
    return violations


def _dialect(sql: str) -> str:
    guards = ", ".join(f"('{name}')" for name in _GUARDS[connection.vendor])
    missing = f"WITH guards(guard) AS (VALUES {guards}) SELECT guard AS missing FROM guards WHERE guard NOT IN ({{}})"
    sql = sql.replace("{missing_guards}", missing.format(_TRIGGERS[connection.vendor]))
    return sql.replace("{local_day}", _LOCAL_DAY[connection.vendor])
