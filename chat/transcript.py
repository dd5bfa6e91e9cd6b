"""What a page shows of a conversation: each question with one of its answers, and the ads in it.

Everything here belongs to one visitor: what is another's does not exist (404). Knows nothing of bids: what visitors see
must never hold one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID, uuid5

from django.http import Http404
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.utils.html import escape

from campaigns.auction.categories import CATEGORIES
from campaigns.serving import ServedAd, served_ads_of
from chat.adllm.markup import AdMention, Segment
from chat.adllm.rendering import render
from chat.models import Conversation, HiddenAd, Turn
from chat.turns import turn_segments

CONVERSATIONS_LISTED = 50


@dataclass(frozen=True)
class ShownTurn:
    """One question with one of its answers. `siblings` are all the answers, oldest first, this one among them."""

    turn: Turn
    body: str  # safe HTML
    ads: tuple[ServedAd, ...]
    hidden_ads: tuple[ServedAd, ...]  # in the answer, but the visitor asked not to see them
    siblings: tuple[UUID, ...]

    @property
    def is_final(self) -> bool:
        return self.turn.status in Turn.FINAL

    @property
    def seconds(self) -> str:
        return f"{(self.turn.duration_ms or 0) / 1000:.1f}"

    @property
    def number(self) -> int:
        return self.siblings.index(self.turn.pk) + 1

    @property
    def previous(self) -> UUID | None:
        return self.siblings[self.number - 2] if self.number > 1 else None

    @property
    def next(self) -> UUID | None:
        return self.siblings[self.number] if self.number < len(self.siblings) else None

    @property
    def retry_key(self) -> str:
        """The same for two clicks on Retry, and another one once there is a new answer."""
        return uuid5(self.siblings[0], str(len(self.siblings))).hex


def visitors_turn(*, turn_id: UUID, visitor: str) -> Turn:
    """The turn, if this visitor asked it. A browser without a visitor cookie has asked nothing."""
    if not visitor:
        raise Http404
    turns = Turn.objects.select_related("conversation", "model_version")
    return get_object_or_404(turns, pk=turn_id, conversation__visitor_hash=visitor)


def visitors_conversation(*, conversation_id: UUID, visitor: str) -> Conversation:
    if not visitor:
        raise Http404
    return get_object_or_404(Conversation, pk=conversation_id, visitor_hash=visitor)


def visitors_conversations(*, visitor: str) -> Sequence[Conversation]:
    return Conversation.objects.filter(visitor_hash=visitor)[:CONVERSATIONS_LISTED] if visitor else ()


def hidden_ad_ids(*, visitor: str) -> set[str]:
    return set(HiddenAd.objects.filter(visitor_hash=visitor).values_list("ad__public_id", flat=True))


def conversation_turns(*, conversation: Conversation, chosen: str = "") -> list[ShownTurn]:
    """The questions in order, each with its newest answer, or with the one whose id is `chosen`."""
    families = _siblings(list(conversation.turns.select_related("conversation", "model_version"))).values()
    turns = [next((turn for turn in family if str(turn.pk) == chosen), family[-1]) for family in families]
    return _shown(turns, families=families, visitor=conversation.visitor_hash)


def shown_turn(turn: Turn) -> ShownTurn:
    """One turn as its conversation shows it."""
    families = _siblings(list(turn.conversation.turns.only("retry_of_id", "conversation_id", "created_at"))).values()
    family = next(family for family in families if turn in family)
    return _shown([turn], families=[family], visitor=turn.conversation.visitor_hash)[0]


def answer_html(
    segments: Sequence[Segment],
    *,
    served: Mapping[str, ServedAd],
    hidden: Collection[str] = (),
    turn_id: UUID | None = None,
) -> str:
    """Safe HTML of an answer. An ad is a link only if it was served and is not hidden; with turn_id it has its menu."""

    def link(mention: AdMention) -> str:
        ad = served.get(mention.ad_id)
        if ad is None or mention.ad_id in hidden:
            return escape(mention.title)
        return render_to_string("chat/_ad_link.html", {"ad": ad, "turn_id": turn_id, "first": mention.first}).strip()

    return render(segments, link=link)


def _shown(turns: Sequence[Turn], *, families: Iterable[Sequence[Turn]], visitor: str) -> list[ShownTurn]:
    hidden = hidden_ad_ids(visitor=visitor)
    served_of = served_ads_of(turn.auction_id for turn in turns if turn.auction_id)
    shown = []
    for turn, family in zip(turns, families, strict=True):
        served = [_with_category_name(ad) for ad in served_of.get(turn.auction_id, [])]
        menus_of = turn.pk if turn.status in Turn.FINAL else None
        links = {ad.ad_id: ad for ad in served}
        shown.append(
            ShownTurn(
                turn=turn,
                body=answer_html(turn_segments(turn), served=links, hidden=hidden, turn_id=menus_of),
                ads=tuple(ad for ad in served if ad.ad_id not in hidden),
                hidden_ads=tuple(ad for ad in served if ad.ad_id in hidden),
                siblings=tuple(sibling.pk for sibling in family),
            )
        )
    return shown


def _with_category_name(ad: ServedAd) -> ServedAd:
    return replace(ad, category=CATEGORIES.get(ad.category, ad.category))


def _siblings(turns: Sequence[Turn]) -> dict[UUID, list[Turn]]:
    """Turns by the question's first turn, both in order. A retry of a retry belongs to the same question."""
    first_of: dict[UUID, UUID] = {}
    families: dict[UUID, list[Turn]] = {}
    for turn in turns:
        first = first_of.setdefault(turn.pk, first_of.get(turn.retry_of_id, turn.pk))
        families.setdefault(first, []).append(turn)
    return families
