"""The stream of an answer: it only follows. A real generation runs behind it, by the scripted engine."""

import re
from collections.abc import AsyncIterator

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient
from django.urls import reverse

from campaigns.models import Auction, Impression
from campaigns.visitors import COOKIE
from chat import streams, views_stream
from chat.adllm.scripted_engine import ScriptedEngine
from chat.models import Turn
from chat.turns import start_turn
from tests.chat.page import Browser, answered, browser
from tests.market import acme, check, zenith

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_thread_left_behind():
    yield
    streams.shutdown()


def asked(alice: Browser, query: str = "Which mug is best?") -> Turn:
    return start_turn(visitor_hash=alice.visitor, query=query, idempotency_key="f" * 32)


async def open_stream(alice: Browser, turn: Turn, *, last_event_id: str = ""):
    client = AsyncClient()
    client.cookies[COOKIE] = alice.client.cookies[COOKIE].value
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    return await client.get(reverse("turn_stream", args=[turn.pk]), headers=headers)


async def events(response) -> AsyncIterator[tuple[str, str, str]]:
    """(name, id, data) as a browser reads them; comments are left out."""
    text = ""
    async for chunk in response.streaming_content:
        text += chunk.decode()
        *whole, text = text.split("\n\n")
        for event in whole:
            fields = [line.split(": ", 1) for line in event.split("\n") if not line.startswith(":")]
            if fields:
                data = "\n".join(value for name, value in fields if name == "data")
                yield dict(fields)["event"], dict(fields)["id"], data


@async_to_sync
async def read(alice: Browser, turn: Turn, *, last_event_id: str = "", at_most: int = 10_000) -> list:
    found = []
    response = await open_stream(alice, turn, last_event_id=last_event_id)
    stream = events(response)
    async for event in stream:
        found.append(event)
        if len(found) >= at_most:
            break
    await stream.aclose()
    await response.streaming_content.aclose()
    return found


def words(html: str) -> str:
    """What a reader sees of the body."""
    body = re.search(r"data-body>(.*?)</div>", html, re.S)
    return " ".join(re.sub(r"<[^>]*>", "", body[1] if body else html).split())


def test_answer_streams_and_ends_with_the_finished_turn():
    alice, mug = browser(), acme()
    turn = asked(alice)
    streams.start(
        turn.pk, engine=ScriptedEngine([f"Take @Acme Mug@[{mug.public_id}], **stir**. " + "Wait. " * 60], delay=0.03)
    )
    *before, (name, number, html) = read(alice, turn)
    assert name == "done"
    assert {name for name, _, _ in before} == {"answer"}
    numbers = [int(number) for _, number, _ in before] + [int(number)]
    assert numbers == sorted(set(numbers))
    assert "<strong>stir</strong>" in html
    assert "This answer contains 1 ad" in html
    assert html.startswith("<article") or html.strip().startswith("<article")
    check()


def test_link_in_the_stream_is_an_impression_already():
    alice, mug = browser(), acme()
    turn = asked(alice)
    streams.start(turn.pk, engine=ScriptedEngine([f"Take @Acme Mug@[{mug.public_id}] and " + "stir " * 40], delay=0.03))
    seen = read(alice, turn)
    first = next(html for name, _, html in seen if name == "answer" and "/c/" in html)
    assert Impression.objects.count() == 1
    assert ">Sponsored</span>" in first
    assert 'rel="sponsored nofollow noopener"' in first


def test_half_a_marker_is_never_seen():
    alice, mug = browser(), acme()
    turn = asked(alice)
    engine = ScriptedEngine([f"Take @Acme Mug@[{mug.public_id}] or @Acme Mug@[Ad-"], chunk_size=1, delay=0.01)
    streams.start(turn.pk, engine=engine)
    for _, _, html in read(alice, turn):
        assert "@" not in words(html)
        assert "[Ad" not in words(html)


def test_reconnecting_reads_the_same_answer_and_generates_nothing():
    alice, mug = browser(), acme()
    turn = asked(alice)
    engine = ScriptedEngine(["One two three. " * 10 + f"@Acme Mug@[{mug.public_id}]"], delay=0.03)
    streams.start(turn.pk, engine=engine)
    last = ""
    for _ in range(5):
        cut = read(alice, turn, last_event_id=last, at_most=1)
        last = cut[-1][1]
    finished = [read(alice, turn, last_event_id=last)[-1] for _ in range(3)]
    assert len({words(html) for _, _, html in finished}) == 1
    assert "One two three. " * 10 in words(finished[0][2]) + " "
    assert len(engine.calls) == Auction.objects.count() == 1


def test_stream_of_a_queued_turn_does_not_generate(monkeypatch):
    monkeypatch.setattr(views_stream, "LIFE_SECONDS", 0.6)
    alice = browser()
    acme()
    turn = asked(alice)
    assert read(alice, turn) == []
    turn.refresh_from_db()
    assert turn.status == Turn.Status.QUEUED
    assert not Auction.objects.exists()


def test_quiet_stream_is_kept_alive_by_comments(monkeypatch):
    monkeypatch.setattr(views_stream, "LIFE_SECONDS", 0.5)
    monkeypatch.setattr(views_stream, "PING_SECONDS", 0.1)
    alice = browser()
    turn = asked(alice)

    @async_to_sync
    async def raw() -> str:
        response = await open_stream(alice, turn)
        return "".join([chunk.decode() async for chunk in response.streaming_content])

    assert raw().count(": ping\n\n") >= 2


def test_stream_is_not_cached_or_buffered():
    alice = browser()
    turn = answered(alice.visitor, "Yes.")

    @async_to_sync
    async def headers() -> dict:
        response = await open_stream(alice, turn)
        await response.streaming_content.aclose()
        return response.headers

    found = headers()
    assert found["Content-Type"] == "text/event-stream"
    assert found["Cache-Control"] == "no-cache"
    assert found["X-Accel-Buffering"] == "no"


def test_hidden_ad_is_plain_text_in_the_stream_too():
    alice, mug, shoes = browser(), acme(), zenith()
    earlier = answered(alice.visitor, mug)
    turn = asked(alice)
    script = [f"@Acme Mug@[{mug.public_id}] or @{shoes.title}@[{shoes.public_id}]. " + "Well. " * 30]
    alice.client.post(reverse("ad_hide", args=[earlier.pk, mug.public_id]))
    streams.start(turn.pk, engine=ScriptedEngine(script, delay=0.02))
    for _, _, html in read(alice, turn):
        assert "<bdi>Acme Mug</bdi>" not in html.split("data-body>")[-1].split("</div>")[0]
    assert Impression.objects.filter(candidate__auction=Turn.objects.get(pk=turn.pk).auction).count() == 1


def test_stopping_ends_the_stream_with_the_text_so_far():
    alice = browser()
    acme()
    turn = asked(alice)
    engine = ScriptedEngine(["Slowly. " * 200], delay=0.05)
    streams.start(turn.pk, engine=engine)
    read(alice, turn, at_most=2)
    alice.client.post(reverse("turn_stop", args=[turn.pk]))
    name, _, html = read(alice, turn)[-1]
    assert name == "done"
    assert "You stopped this answer." in html
    assert "Slowly." in words(html)


@pytest.mark.parametrize("last_event_id", ["", "0", "-1", "x", "999999999", "9" * 400, "²"])
def test_any_last_event_id_leads_to_the_end(last_event_id):
    alice = browser()
    turn = answered(alice.visitor, "Yes.")
    (event,) = read(alice, turn, last_event_id=last_event_id)
    assert event[0] == "done"


@pytest.mark.parametrize("whose", ["another browser", "no browser"])
def test_stream_of_another_visitor_is_not_found(whose):
    alice, mallory = browser(), browser()
    turn = answered(alice.visitor if whose == "another browser" else "", "My secret.")
    if whose == "no browser":
        mallory.client.cookies[COOKIE] = "forged.x"
    response = async_to_sync(open_stream)(mallory, turn)
    assert response.status_code == 404


def test_reader_who_leaves_is_forgotten():
    alice = browser()
    acme()
    turn = asked(alice)
    streams.start(turn.pk, engine=ScriptedEngine(["Slowly. " * 100], delay=0.02))
    for _ in range(5):
        read(alice, turn, at_most=1)
    stream = streams._streams[turn.pk]
    assert not stream._readers
