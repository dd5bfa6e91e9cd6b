"""Real answers and real clicks out of the database, as a file for the reward model. Writes nothing into the database.

What may teach is decided in training/export; here its facts are read: turns of the chat, impressions, clicks, charges
and refusals of the market, ads that visitors hid. Visitors stand in the file under another name than in the database.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from django.db.models import Prefetch, QuerySet

from campaigns.models import Ad as MarketAd
from campaigns.models import Auction, AuctionCandidate, Impression
from chat.models import HiddenAd, Turn
from training.dataset import jsonl
from training.dataset.records import Ad
from training.export.choosing import PER_USER, LiveTurn, ShownAd, Tally, choose
from training.export.rows import lines

AT_ONCE = 200  # turns, each with its candidates


class NothingToExport(ValueError):
    """No answer may be learned from; says why."""


def export_feedback(*, out: Path, now: datetime, per_user: int = PER_USER) -> Tally:
    """Write the file, newest answers first, or no file. Raises NothingToExport."""
    rows = MarketAd.objects.values_list("public_id", "title", "category", "description")
    ads = {ad_id: Ad(ad_id, title, category, description) for ad_id, title, category, description in rows}
    tally = Tally()
    samples = choose(live_turns(now=now), ads=ads, per_user=per_user, tally=tally)
    first = next(samples, None)
    if first is None:
        found = ", ".join(f"{reason} {count}" for reason, count in tally.left_out.most_common())
        raise NothingToExport(f"No answer can be exported; left out: {found or 'none, nobody has asked'}.")
    out.parent.mkdir(parents=True, exist_ok=True)
    jsonl.write(out, lines(_chained(first, samples), ads=ads))
    return tally


def _chained(first, rest) -> Iterator:
    yield first
    yield from rest


def live_turns(*, now: datetime) -> Iterator[LiveTurn]:
    """Every turn that went to a model, the newest first."""
    public = dict(MarketAd.objects.values_list("pk", "public_id"))
    hidden = set(HiddenAd.objects.values_list("visitor_hash", "ad_id"))
    for turn in _turns().iterator(chunk_size=AT_ONCE):
        visitor = turn.conversation.visitor_hash
        candidates = sorted(turn.auction.candidates.all(), key=lambda row: public[row.ad_id])
        shown = [row for row in candidates if hasattr(row, "impression")]
        yield LiveTurn(
            id=str(turn.pk),
            user=_other_name(visitor),
            simulated=Auction.Origin.DEMO in (turn.origin, turn.auction.origin),
            complete=turn.status == Turn.Status.COMPLETE,
            profile=turn.profile,
            query=turn.query,
            text=turn.text,
            tokens=turn.completion_tokens or 0,
            candidates=tuple((public[row.ad_id], row.bid_micros) for row in candidates),
            shown=tuple(
                _shown(row.impression, ad_id=public[row.ad_id], hidden=(visitor, row.ad_id) in hidden, now=now)
                for row in sorted(shown, key=lambda row: row.impression.position)
            ),
        )


def _turns() -> QuerySet[Turn]:
    impressions = Impression.objects.select_related("click__transfer__reversed_by").prefetch_related("rejected_clicks")
    candidates = AuctionCandidate.objects.prefetch_related(Prefetch("impression", impressions))
    return (
        Turn.objects.filter(auction__isnull=False)
        .select_related("auction", "conversation")
        .prefetch_related(Prefetch("auction__candidates", candidates))
        .order_by("-created_at", "-pk")
    )


def _shown(impression: Impression, *, ad_id: str, hidden: bool, now: datetime) -> ShownAd:
    click = getattr(impression, "click", None)
    charge = getattr(click, "transfer", None)
    credit = getattr(charge, "reversed_by", None)
    return ShownAd(
        ad_id=ad_id,
        billed=click is not None,
        credited=credit is not None and credit.amount_micros == charge.amount_micros,
        refused=tuple(refused.reason for refused in impression.rejected_clicks.all()),
        hidden=hidden,
        settled=impression.expires_at < now,
    )


def _other_name(visitor_hash: str) -> str:
    """The same for the same visitor, today and tomorrow; blank for none."""
    return visitor_hash and hashlib.sha256(f"feedback:{visitor_hash}".encode()).hexdigest()[:16]
