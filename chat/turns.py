"""A turn's row: how it begins, how it moves forward, how it is read back. Every function here is one short transaction.

Its status only moves forward, by conditional updates: whoever comes second changes nothing. Knows nothing of engines.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import DatabaseError, connections, transaction
from django.urls import reverse
from django.utils import timezone

from campaigns.auction.validation import InvalidInput, clean_profile, clean_query
from campaigns.models import Auction
from campaigns.serving import OpenedAuction, ServedAd, open_auction, served_ads
from chat import registry
from chat.adllm.markup import AdMention, Segment, Text
from chat.adllm.rendering import plain_text, visible
from chat.models import Conversation, HiddenAd, ModelVersion, Turn

logger = logging.getLogger(__name__)

STALE_AFTER = timedelta(seconds=150)  # a heartbeat older than this: whoever wrote the answer is gone

NO_ANSWER = "The model gave no answer. Please try again."
UNWATCHED = "Nobody was reading any more, so the answer ended here."
CUT_OFF = "The answer was cut off. What was written so far stays."
NEVER_BEGUN = "The question was never answered. Please try again."

Status = Turn.Status


@dataclass(frozen=True)
class Frame:
    """What a page may show of a turn at one moment. `seq` never shrinks; every process counts it alike."""

    seq: int
    segments: tuple[Segment, ...]
    served: Mapping[str, ServedAd]  # by ad_id, of every ad in the segments
    status: str
    error: str = ""

    @property
    def is_final(self) -> bool:
        return self.status in Turn.FINAL


async def in_thread(step: Callable, /, *args, **kwargs):
    """Run database work off the event loop, and hold no connection afterwards."""

    def work():
        try:
            return step(*args, **kwargs)
        finally:
            connections.close_all()

    return await asyncio.to_thread(work)


# --- forward ---


def start_turn(
    *,
    visitor_hash: str,
    query: str,
    profile: str = "",
    conversation: Conversation | None = None,
    idempotency_key: str,
    retry_of: Turn | None = None,
    origin: str = Auction.Origin.LIVE,
    model_version: ModelVersion | None = None,
    at: datetime | None = None,
) -> Turn:
    """The queued turn for this question; the same key gives the same turn. Raises InvalidInput.

    Without a conversation it begins one, whose id follows from visitor and key, so that a repeated POST finds it.
    `model_version` asks for another than the live one; `at` is for demo traffic alone.
    """
    query, profile = clean_query(query), clean_profile(profile)
    if not 1 <= len(idempotency_key) <= 64:
        raise InvalidInput("The idempotency key needs 1 to 64 characters.")
    moment = {} if at is None else {"created_at": at}
    with transaction.atomic():
        if conversation is None:
            conversation, _ = Conversation.objects.get_or_create(
                id=uuid.uuid5(uuid.NAMESPACE_OID, f"{visitor_hash}:{idempotency_key}"),
                defaults={"visitor_hash": visitor_hash, "title": " ".join(query.split())[:120], **moment},
            )
        turn, _ = Turn.objects.get_or_create(
            conversation=conversation,
            idempotency_key=idempotency_key,
            defaults={
                "query": query,
                "profile": profile,
                "retry_of": retry_of,
                "origin": origin,
                "model_version": model_version,
                **moment,
            },
        )
    return turn


def open_turn(turn: Turn) -> OpenedAuction | None:
    """Claim a queued turn and open its auction, both or neither. None when somebody else claimed it."""
    with transaction.atomic():
        queued = Turn.objects.filter(pk=turn.pk, status=Status.QUEUED)
        if not queued.update(status=Status.STREAMING, updated_at=timezone.now()):
            return None
        turn.refresh_from_db()
        turn.model_version = turn.model_version or registry.live()
        visitor_hash = turn.conversation.visitor_hash
        hidden = HiddenAd.objects.filter(visitor_hash=visitor_hash).exclude(visitor_hash="")
        opened = open_auction(
            query=turn.query,
            visitor_hash=visitor_hash,
            model_version=turn.model_version.name,
            origin=turn.origin,
            hidden_ads=tuple(hidden.values_list("ad_id", flat=True)),
            at=moment(turn),
        )
        turn.auction_id = opened.id
        turn.save(update_fields=["model_version", "auction", "updated_at"])
    return opened


def moment(turn: Turn) -> datetime | None:
    """Demo visitors come at the moment their turn says; live ones now, by the database's clock."""
    return turn.created_at if turn.origin == Auction.Origin.DEMO else None


def save_so_far(turn: Turn, segments: list[dict]) -> bool:
    """False when the visitor asked to stop (or somebody gave the turn up): no more is wanted."""
    try:
        going_on = Turn.objects.filter(pk=turn.pk, status=Status.STREAMING, stop_requested=False)
        return going_on.update(text=turn.text, segments=segments, updated_at=timezone.now()) == 1
    except DatabaseError:
        logger.warning("turn %s: the text so far could not be saved", turn.pk, exc_info=True)
        return True  # the answer goes on; the next save comes soon


_FINAL_FIELDS = (
    *("status", "error", "text", "segments", "format_errors"),
    *("first_token_ms", "duration_ms", "prompt_tokens", "completion_tokens"),
)


def save_final(turn: Turn) -> None:
    """Where the database is gone, the turn is found later by `mark_stale_turns`."""
    try:
        going_on = Turn.objects.filter(pk=turn.pk).exclude(status__in=Turn.FINAL)
        going_on.update(**{field: getattr(turn, field) for field in _FINAL_FIELDS}, updated_at=timezone.now())
    except DatabaseError:
        logger.exception("turn %s: its end could not be saved", turn.pk)


def request_stop(turn_id: uuid.UUID) -> bool:
    """Ask for the end of a turn, wherever it is being answered. False when it has ended already."""
    turn = Turn.objects.filter(pk=turn_id)
    return (
        turn.filter(status=Status.QUEUED).update(status=Status.STOPPED, updated_at=timezone.now())
        or turn.filter(status=Status.STREAMING).update(stop_requested=True)
    ) > 0


def watch_until(turn_id: uuid.UUID, until: datetime) -> None:
    """Somebody reads along whom the writer cannot see; where there is no sign of anybody the answer ends."""
    Turn.objects.filter(pk=turn_id).exclude(status__in=Turn.FINAL).update(watched_until=until)


def is_watched(turn_id: uuid.UUID, *, now: datetime) -> bool:
    return Turn.objects.filter(pk=turn_id, watched_until__gt=now).exists()


def answers_today(*, now: datetime) -> int:
    """How many questions of real visitors went to a model since midnight UTC? What failed cost next to nothing."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    asked = Turn.objects.filter(created_at__gte=midnight, origin=Auction.Origin.LIVE, auction__isnull=False)
    return asked.exclude(status=Status.FAILED).count()


def mark_stale_turns(*, now: datetime) -> int:
    """End the turns whose writer is gone, for instance killed by a restart; the text so far stays. Returns how many."""
    stale = Turn.objects.filter(updated_at__lt=now - STALE_AFTER)
    streaming, queued = stale.filter(status=Status.STREAMING), stale.filter(status=Status.QUEUED)
    return (
        streaming.exclude(segments=[]).update(status=Status.INTERRUPTED, error=CUT_OFF, updated_at=now)
        + streaming.update(status=Status.FAILED, error=NO_ANSWER, updated_at=now)
        + queued.update(status=Status.FAILED, error=NEVER_BEGUN, updated_at=now)
    )


# --- read back ---


def stored_segments(segments: Sequence[Segment], served: Mapping[str, ServedAd]) -> list[dict]:
    return [
        {"text": part.text}
        if isinstance(part, Text)
        else {"ad_id": part.ad_id, "title": part.title, "first": part.first, "token": served[part.ad_id].token}
        for part in segments
    ]


def turn_segments(turn: Turn) -> list[Segment]:
    """What was shown, rebuilt from the stored turn."""
    return [
        Text(part["text"]) if "text" in part else AdMention(part["ad_id"], part["title"], part["first"])
        for part in turn.segments
    ]


def frame_of(turn: Turn, segments: Sequence[Segment], served: Mapping[str, ServedAd]) -> Frame:
    seq = (turn.status != Status.QUEUED) + len(turn.text) + (turn.status in Turn.FINAL)
    return Frame(seq, tuple(segments), dict(served), turn.status, turn.error)


def stored_frame(turn: Turn) -> Frame:
    served = {ad.ad_id: ad for ad in served_ads(turn.auction_id)} if turn.auction_id else {}
    return frame_of(turn, turn_segments(turn), served)


def finished_turn(turn: Turn, base_url: str = "") -> dict:
    """The turn as the API and `manage.py ask --json` give it. Click addresses are paths unless a base_url is given."""
    served = served_ads(turn.auction_id) if turn.auction_id else []
    click_urls = {ad.ad_id: base_url + reverse("click", args=[ad.token]) for ad in served}
    segments = turn_segments(turn)
    return {
        "id": str(turn.pk),
        "conversation": str(turn.conversation_id),
        "status": turn.status,
        "error": turn.error,
        "query": turn.query,
        "profile": turn.profile,
        "text": plain_text(segments),
        "segments": [
            {"type": "text", "text": visible(part.text)}
            if isinstance(part, Text)
            else {"type": "ad", "ad_id": part.ad_id, "title": part.title, "click_url": click_urls[part.ad_id]}
            for part in segments
        ],
        "ads": [
            {
                "ad_id": ad.ad_id,
                "title": ad.title,
                "advertiser": ad.advertiser,
                "category": ad.category,
                "position": ad.position,
                "click_url": click_urls[ad.ad_id],
            }
            for ad in served
        ],
        "auction": str(turn.auction_id) if turn.auction_id else None,
        "model_version": turn.model_version.name if turn.model_version else None,
        "format_errors": turn.format_errors,
        "prompt_tokens": turn.prompt_tokens,
        "completion_tokens": turn.completion_tokens,
        "first_token_ms": turn.first_token_ms,
        "duration_ms": turn.duration_ms,
        "created_at": turn.created_at.isoformat(),
    }
