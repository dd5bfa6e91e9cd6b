"""POST /api/v1/turns/: strict input, one finished answer, one generation per key, clear words when a model is down."""

import asyncio
import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
import time_machine
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.core.signing import Signer

from campaigns.visitors import hash_of_cookie
from chat import answering
from chat.models import Conversation, Turn
from tests import market
from tests.fake_openai import FakeOpenAI, Plan

URL = "/api/v1/turns/"
ANSWER = "For coffee, @Acme Mug@[Ad-1000] keeps warm. A broken one: @Nothing@[Ad-9999]."


@pytest.fixture
def fake(settings):
    with FakeOpenAI() as fake:
        fake.plan = Plan(text=ANSWER)
        settings.AD_LLM_BASE_URL, settings.AD_LLM_MODEL = fake.base_url, "fake"
        yield fake


def ask(client, body, **headers):
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(URL, content, content_type="application/json", headers=headers)


@pytest.mark.django_db(transaction=True)
def test_anyone_gets_a_finished_turn(client, fake):
    market.acme()
    response = ask(client, {"query": "Which mug is best?", "profile": "Interests: coffee"})
    assert response.status_code == 201, response.content
    turn = response.json()
    assert turn["status"] == "complete"
    assert turn["text"].startswith("For coffee, Acme Mug keeps warm.")
    assert [part["type"] for part in turn["segments"]] == ["text", "ad", "text"]
    [ad] = turn["ads"]
    assert (ad["ad_id"], ad["position"], ad["advertiser"]) == ("Ad-1000", 1, "Acme")
    assert sum(turn["format_errors"].values()) == 1
    assert turn["auction"]
    assert turn["model_version"]
    link = urlsplit(ad["click_url"])
    assert (link.scheme, link.netloc) == ("http", "testserver")
    assert client.get(link.path).headers["Location"] == "https://acme.example/mug"
    market.check()


@pytest.mark.django_db(transaction=True)
def test_same_key_is_one_generation_for_one_caller_only(client, fake):
    first = ask(client, {"query": "Which mug?"}, idempotency_key="1").json()
    again = ask(client, {"query": "Which mug?"}, idempotency_key="1").json()
    assert again == first
    assert fake.generations == 1
    other_question = ask(client, {"query": "Which shoes?"}, idempotency_key="1")
    assert other_question.status_code == 409
    mallory = client.post(
        URL, json.dumps({"query": "Which mug?"}), content_type="application/json", headers={"idempotency-key": "1"},
        REMOTE_ADDR="192.0.2.66",
    )  # fmt: skip
    assert mallory.json()["id"] != first["id"]
    assert fake.generations == 2


@pytest.mark.django_db(transaction=True)
def test_model_server_that_is_down_is_said_in_words(client, settings):
    settings.AD_LLM_BASE_URL = "http://127.0.0.1:9/v1"
    response = ask(client, {"query": "Which mug?"})
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert response.json()["detail"]
    assert "127.0.0.1" not in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_cut_answer_stays_and_is_marked(client, fake):
    fake.plan = Plan(text=ANSWER, fault="close", fault_after=6)
    response = ask(client, {"query": "Which mug?"})
    assert response.status_code == 201
    assert response.json()["status"] == "interrupted"
    assert response.json()["text"]


async def ask_and_hang_up(fake: FakeOpenAI, query: str, *, key: str) -> None:
    """Over ASGI, as uvicorn does it; returns when the site is done with the request."""
    body = json.dumps({"query": query}).encode()
    headers = {
        "host": "testserver",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "idempotency-key": key,
    }
    scope = {
        "type": "http", "method": "POST", "path": URL, "query_string": b"", "client": ["127.0.0.1", 1],
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    caller = ApplicationCommunicator(ASGIHandler(), scope)
    await caller.send_input({"type": "http.request", "body": body})
    async with asyncio.timeout(60):
        while not fake.open_streams:
            await asyncio.sleep(0.05)
    await caller.send_input({"type": "http.disconnect"})
    await caller.wait(timeout=60)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("plan", "begins"),
    [(Plan(text="Pour. ", endless=True, delay=0.05), "Pour."), (Plan(first_delay=3600), "")],
    ids=["while it is written", "before the first word"],
)
def test_hanging_up_stops_the_answer(client, fake, plan, begins):
    fake.plan = plan
    asyncio.run(ask_and_hang_up(fake, "Which mug?", key="1"))
    turn = Turn.objects.get()
    assert (turn.status, turn.error) == (Turn.Status.STOPPED, "")
    assert turn.text.startswith(begins)
    assert fake.closed_by_client == 1
    assert answering.places.taken == 0
    again = ask(client, {"query": "Which mug?"}, idempotency_key="1")
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (201, str(turn.pk), "stopped")
    assert fake.generations == 1


BAD_BODIES = [
    ("", "nothing"),
    ("{", "cut off"),
    (b"\xff\xfe\x00", "no UTF-8"),
    ("[" * 100_000, "deep nesting breaks a recursive reader"),
    ('{"query": ' * 5000 + "1" + "}" * 5000, "deep nesting of objects"),
    ('{"query": NaN}', "not JSON, though Python reads it"),
    ('{"query": 1e999}', "infinity, though Python reads it"),
    ('{"query": -1e999}', "infinity"),
    ('{"query": ' + "9" * 5000 + "}", "more digits than Python converts"),
    ("[]", "no object"),
    ('"Which mug?"', "no object"),
    ("null", "no object"),
    ("{}", "no question"),
    ('{"query": null}', "no text"),
    ('{"query": 12}', "no text"),
    ('{"query": true}', "no text"),
    ('{"query": ["Which mug?"]}', "no text"),
    ('{"query": ""}', "empty"),
    ('{"query": " \\u200b\\u0000 "}', "nothing visible"),
    ('{"query": "\\ud800"}', "half a character"),
    (json.dumps({"query": "a" * 10_000}), "too long"),
    (json.dumps({"query": "Which mug?", "profile": 7}), "profile is no text"),
    (json.dumps({"query": "Which mug?", "profile": "a" * 10_000}), "profile is too long"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("body", "reason"), BAD_BODIES, ids=[reason for _, reason in BAD_BODIES])
def test_bad_body_gets_400_and_asks_nobody(client, settings, body, reason):
    settings.AD_LLM_BASE_URL = "http://127.0.0.1:9/v1"
    response = ask(client, body)
    assert response.status_code == 400, reason
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()
    assert not Turn.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
)
def test_only_json_is_read(client, content_type):
    assert client.post(URL, "query=Which mug?", content_type=content_type).status_code == 415


@pytest.mark.django_db
def test_huge_body_is_refused(client):
    assert ask(client, json.dumps({"query": "a" * 2_000_000})).status_code == 413


@pytest.mark.django_db
def test_overlong_key_is_refused(client):
    assert ask(client, {"query": "Which mug?"}, idempotency_key="k" * 201).status_code == 400


@pytest.mark.django_db
def test_asking_is_throttled_and_a_forged_address_does_not_help(client, monkeypatch):
    from rest_framework.throttling import ScopedRateThrottle

    monkeypatch.setitem(ScopedRateThrottle.THROTTLE_RATES, "turns", "3/min")
    answers = [ask(client, {}, x_forwarded_for=f"192.0.2.{number}").status_code for number in range(4)]
    assert answers == [400, 400, 400, 429]


@pytest.mark.django_db
def test_days_questions_are_counted_together_with_those_of_the_page(client, settings):  # S7
    settings.QUESTIONS_PER_DAY = 1
    with time_machine.travel(datetime(2026, 11, 23, 18, tzinfo=UTC), tick=False):
        client.post("/chat/turns/", {"query": " ", "idempotency_key": "0" * 32})  # no question: not counted
        assert [ask(client, {}).status_code for _ in range(4)] == [400, 400, 400, 429]
        refused = client.post("/chat/turns/", {"query": "Which mug?", "idempotency_key": "0" * 32})
        assert refused.status_code == 429
        assert ask(client, {}).headers["Retry-After"] == str(6 * 3600)
    with time_machine.travel(datetime(2026, 11, 24, 0, 1, tzinfo=UTC), tick=False):
        assert ask(client, {}).status_code == 400


def kept_turn(visitor_hash: str) -> Turn:
    conversation = Conversation.objects.create(visitor_hash=visitor_hash)
    return Turn.objects.create(
        conversation=conversation, idempotency_key="k", query="Which mug?", status=Turn.Status.COMPLETE
    )


@pytest.mark.django_db
def test_turn_from_the_page_is_its_own_browsers_alone(client, alice, admin_user):
    cookie = Signer(salt="campaigns.visitor", sep=".").sign("ab" * 16)
    url = f"{URL}{kept_turn(hash_of_cookie(cookie)).pk}/"
    assert client.get(url).status_code == 404
    client.force_login(alice)
    assert client.get(url).status_code == 404
    client.cookies["visitor"] = cookie
    assert client.get(url).json()["query"] == "Which mug?"
    del client.cookies["visitor"]
    client.force_login(admin_user)
    assert client.get(url).status_code == 200


@pytest.mark.django_db
def test_turn_from_the_api_is_read_by_whoever_holds_its_id(client):
    assert client.get(f"{URL}{kept_turn('').pk}/").json()["status"] == "complete"
    assert client.get(f"{URL}00000000-0000-4000-8000-000000000000/").status_code == 404
