"""The answer while it is written, as Server-Sent Events. Only subscribes: nothing here starts, stops or bills anything.

Events: `answer` holds the HTML of the answer so far, `done` the finished turn. Each carries its number as the event's
id, so a browser that lost the connection goes on where it was.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET

from campaigns.visitors import visitor_hash
from chat import streams
from chat.models import Turn
from chat.transcript import answer_html, hidden_ad_ids, visitors_turn
from chat.turns import in_thread
from chat.views import turn_context

PING_SECONDS = 15.0  # keeps proxies from closing a quiet connection
LIFE_SECONDS = 300.0  # then the browser connects anew


@require_GET
async def turn_stream(request: HttpRequest, turn_id: UUID) -> HttpResponse:
    hidden = await in_thread(_hidden_ads_of_own_turn, request, turn_id)  # which holds no connection while we stream
    events = _events(request, turn_id=turn_id, after=_last_seen(request), hidden=hidden)
    return StreamingHttpResponse(
        events,
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _events(request: HttpRequest, *, turn_id: UUID, after: int, hidden: set[str]) -> AsyncIterator[str]:
    clock = asyncio.get_running_loop().time
    ends_at = clock() + LIFE_SECONDS
    frames = aiter(streams.follow(turn_id, after=after))
    coming = asyncio.ensure_future(anext(frames, None))
    try:
        while clock() < ends_at:
            ready, _ = await asyncio.wait({coming}, timeout=min(PING_SECONDS, ends_at - clock()))
            if not ready:
                yield ": ping\n\n"
                continue
            frame = coming.result()
            if frame is None:
                return
            if frame.status in Turn.FINAL:
                yield _event("done", frame.seq, await in_thread(_finished_turn, request, turn_id))
                return
            if frame.segments:
                yield _event("answer", frame.seq, answer_html(frame.segments, served=frame.served, hidden=hidden))
            coming = asyncio.ensure_future(anext(frames, None))
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError):
            await coming
        await frames.aclose()


def _event(name: str, number: int, html: str) -> str:
    lines = "".join(f"data: {line}\n" for line in html.splitlines() or [""])
    return f"event: {name}\nid: {number}\n{lines}\n"


def _last_seen(request: HttpRequest) -> int:
    number = request.headers.get("Last-Event-ID", "")
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0


def _hidden_ads_of_own_turn(request: HttpRequest, turn_id: UUID) -> set[str]:
    """Refuses another visitor's turn (404)."""
    visitor = visitor_hash(request)
    visitors_turn(turn_id=turn_id, visitor=visitor)
    return hidden_ad_ids(visitor=visitor)


def _finished_turn(request: HttpRequest, turn_id: UUID) -> str:
    turn = visitors_turn(turn_id=turn_id, visitor=visitor_hash(request))
    return render_to_string("chat/_turn.html", turn_context(request, turn), request)
