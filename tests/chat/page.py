"""Browsers that visit the chat, and finished answers without a model, for the tests of the chat's pages."""

from dataclasses import dataclass
from uuid import uuid4

from django.test import Client, RequestFactory

from campaigns import visitors
from campaigns.models import Ad
from chat.models import Conversation, ModelVersion, Turn
from tests.market import open_auction, show

HTMX = {"HX-Request": "true"}


@dataclass(frozen=True)
class Browser:
    client: Client
    visitor: str  # the digest of its cookie


def browser(*, user=None) -> Browser:
    """A browser that has been here before: it sends a visitor cookie."""
    visitor, cookie = visitors.ensure_visitor(RequestFactory().get("/"))
    client = Client()
    client.cookies[visitors.COOKIE] = cookie
    if user:
        client.force_login(user)
    return Browser(client, visitor)


def question(query: str = "Which mug is best?", **fields) -> dict[str, str]:
    """What the form on the page sends."""
    return {"query": query, "idempotency_key": uuid4().hex, "conversation": "", **fields}


def answered(
    visitor: str,
    *parts: str | Ad,
    query: str = "Which mug is best?",
    conversation: Conversation | None = None,
    retry_of: Turn | None = None,
    status: str = Turn.Status.COMPLETE,
    **fields,
) -> Turn:
    """A turn of this visitor whose answer is made of these parts, each an ad that was shown or a piece of text."""
    version, _ = ModelVersion.objects.get_or_create(
        name="test model", defaults={"base_url": "http://127.0.0.1:9/v1", "model": "test"}
    )
    auction = open_auction(query, visitor=visitor)
    segments, text = [], ""
    for part in parts:
        if isinstance(part, Ad):
            served = show(auction.id, part, position=1 + sum("token" in s for s in segments), visitor=visitor)
            segments.append({"ad_id": served.ad_id, "title": served.title, "first": True, "token": served.token})
            text += f"@{served.title}@[{served.ad_id}]"
        else:
            segments.append({"text": part})
            text += part
    return Turn.objects.create(
        conversation=conversation or Conversation.objects.create(visitor_hash=visitor, title=query),
        retry_of=retry_of,
        idempotency_key=uuid4().hex,
        query=query,
        status=status,
        text=text,
        segments=segments,
        model_version=version,
        auction_id=auction.id,
        first_token_ms=120,
        duration_ms=2300,
        **fields,
    )
