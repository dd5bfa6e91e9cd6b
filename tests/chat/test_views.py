"""The chat page, asking, asking again, the profile: what a visitor sees, and what others cannot do to it."""

import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from campaigns.visitors import COOKIE
from chat import streams
from chat.models import Conversation, Turn, VisitorProfile
from tests.chat.page import HTMX, answered, browser, question
from tests.market import acme, zenith

pytestmark = pytest.mark.django_db


@pytest.fixture
def started(monkeypatch) -> list:
    """The generations that were handed over, instead of running."""
    handed_over = []
    monkeypatch.setattr(streams, "start", handed_over.append)
    return handed_over


def ask(client: Client, *args, htmx: bool = True, **fields):
    return client.post(reverse("turn_create"), question(*args, **fields), headers=HTMX if htmx else {})


# --- the page ---


def test_first_visit_offers_six_examples(client):
    page = client.get("/").content.decode()
    assert page.count('name="example"') == 6
    assert "What would you like to know?" in page


def test_page_says_that_the_built_in_model_is_small(client, settings):
    settings.AD_LLM_MODEL = str(settings.LAB_MODEL_DIR)
    page = client.get("/").content.decode()
    assert "small lab model built into this project" in page
    assert "Bring your own model" in page


def test_page_names_another_model_without_calling_it_small(client, settings):
    settings.AD_LLM_MODEL = "Qwen/Qwen3-4B"
    page = client.get("/").content.decode()
    assert "Qwen3-4B" in page
    assert "small lab model" not in page
    assert "built-in" not in page


def test_page_runs_no_inline_script_or_style(client):
    alice = browser()
    turn = answered(alice.visitor, "A mug: ", acme())
    page = alice.client.get(reverse("conversation", args=[turn.conversation_id])).content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|hx-on|javascript:", page)


def test_history_lists_only_own_conversations():
    alice, mallory = browser(), browser()
    answered(alice.visitor, "Yes.", query="Is my secret safe?")
    assert "Is my secret safe?" in alice.client.get("/").content.decode()
    assert "Is my secret safe?" not in mallory.client.get("/").content.decode()


def test_long_conversation_takes_as_many_queries_as_a_short_one(django_assert_num_queries):
    alice, mug, shoes = browser(), acme(), zenith()
    first = answered(alice.visitor, "A mug: ", mug)
    address = reverse("conversation", args=[first.conversation_id])
    alice.client.get(address)
    with django_assert_num_queries(7):
        alice.client.get(address)
    for _ in range(5):
        answered(alice.visitor, "Shoes: ", shoes, " and ", mug, conversation=first.conversation)
    with django_assert_num_queries(7):
        alice.client.get(address)


# --- asking ---


def test_question_begins_a_conversation_and_a_generation(client, started):
    response = ask(client)
    turn = Turn.objects.get()
    assert started == [turn.pk]
    assert response.headers["HX-Push-Url"] == reverse("conversation", args=[turn.conversation_id])
    assert f'data-stream="{reverse("turn_stream", args=[turn.pk])}"' in response.content.decode()
    assert turn.conversation.visitor_hash
    assert client.cookies[COOKIE]["httponly"]


def test_second_question_stays_in_the_conversation(client, started):
    ask(client)
    ask(client, "And which is cheapest?", conversation=str(Conversation.objects.get().pk))
    assert Conversation.objects.count() == 1
    assert Turn.objects.count() == len(started) == 2


def test_form_sent_twice_asks_once(started):
    alice, form = browser(), question()
    for _ in range(2):
        assert alice.client.post(reverse("turn_create"), form, headers=HTMX).status_code == 200
    assert Turn.objects.count() == 1


def test_key_of_another_visitor_asks_anew(started):
    alice, mallory, form = browser(), browser(), question()
    alice.client.post(reverse("turn_create"), form, headers=HTMX)
    answer = mallory.client.post(reverse("turn_create"), form, headers=HTMX).content.decode()
    assert Turn.objects.count() == 2
    assert str(Turn.objects.get(conversation__visitor_hash=alice.visitor).pk) not in answer


def test_example_is_a_question(client, started):
    ask(client, "", example="How fine should I grind?")
    assert Turn.objects.get().query == "How fine should I grind?"


def test_without_script_the_answer_is_a_page_away(client, started):
    response = ask(client, htmx=False)
    turn = Turn.objects.get()
    assert response.status_code == 302
    page = client.get(response.url).content.decode()
    assert "Show what has been written by now" in page
    assert reverse("turn_stop", args=[turn.pk]) in page


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "Please write a question."),
        ("   \n ", "Please write a question."),
        ("\u200b\u2060", "Please write a question."),  # only what cannot be seen
        ("x" * 10_000, "10,000 characters"),
        ("x" * 2_001, "2,000 is the most"),
    ],
)
@pytest.mark.parametrize("htmx", [True, False])
def test_refused_question_says_why_in_place(client, started, query, says, htmx):
    response = ask(client, query, htmx=htmx)
    assert response.status_code == 422
    assert says in response.content.decode()
    assert not started
    assert not Turn.objects.exists()
    if htmx:
        assert response.headers["HX-Retarget"] == "#refusal"


def test_question_of_2000_characters_is_accepted(client, started):
    assert ask(client, "ä" * 2_000).status_code == 200


@pytest.mark.parametrize("fields", [{"idempotency_key": ""}, {"idempotency_key": "no-hex"}, {"conversation": "7"}])
def test_tampered_form_is_refused(client, started, fields):
    assert ask(client, **fields).status_code == 422
    assert not started


def test_crowd_is_told_to_wait_and_nothing_stays_behind(client, monkeypatch):
    def full(turn_id):
        raise streams.Busy("Many questions are being answered right now.")

    monkeypatch.setattr(streams, "start", full)
    response = ask(client)
    assert response.status_code == 503
    assert "Many questions" in response.content.decode()
    assert not Conversation.objects.exists()


# --- too many questions ---

one_minute = time_machine.travel(datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC), tick=False)


@one_minute
def test_visitor_over_the_limit_is_told_to_wait(settings, started):
    settings.QUESTIONS_PER_MINUTE = 3
    alice = browser()
    assert [ask(alice.client).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    assert len(started) == 3


def test_visitor_over_the_days_limit_is_told_to_come_back_tomorrow(settings, started):  # S7
    settings.QUESTIONS_PER_DAY = 3
    alice, answers = browser(), []
    for hour in range(8, 13):
        with time_machine.travel(datetime(2026, 11, 23, hour, tzinfo=UTC), tick=False):
            answers.append(ask(alice.client))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert "tomorrow" in answers[-1].content.decode()
    with time_machine.travel(datetime(2026, 11, 24, 0, 1, tzinfo=UTC), tick=False):
        assert ask(alice.client).status_code == 200
    assert len(started) == 4


@one_minute
def test_retry_counts_as_a_question(settings, started):
    settings.QUESTIONS_PER_DAY = 1
    alice = browser()
    turn = answered(alice.visitor, "Yes.")
    retry, fields = reverse("turn_retry", args=[turn.pk]), {"idempotency_key": uuid4().hex}
    assert [alice.client.post(retry, fields, headers=HTMX).status_code for _ in range(2)] == [200, 429]


@one_minute
def test_fresh_cookie_per_question_is_no_way_round_the_limit(settings, started):
    settings.QUESTIONS_PER_MINUTE = 1
    assert 429 in [ask(browser().client).status_code for _ in range(8)]


@one_minute
def test_forged_forwarding_header_is_no_way_round_the_limit(settings, started):
    settings.QUESTIONS_PER_MINUTE = 1
    forged = [{**HTMX, "X-Forwarded-For": f"203.0.113.{n}"} for n in range(8)]
    answers = [browser().client.post(reverse("turn_create"), question(), headers=headers) for headers in forged]
    assert 429 in [answer.status_code for answer in answers]


@one_minute
def test_change_of_ipv6_address_is_no_way_round_the_limit(settings, started):
    settings.QUESTIONS_PER_MINUTE = 1
    origins = [{"REMOTE_ADDR": f"2001:db8:1:2::{n}"} for n in range(8)]
    answers = [browser().client.post(reverse("turn_create"), question(), **origin) for origin in origins]
    assert 429 in [answer.status_code for answer in answers]


@one_minute
def test_proxy_of_ours_names_the_address(settings, started):
    settings.QUESTIONS_PER_MINUTE, settings.TRUSTED_PROXY_COUNT = 1, 1
    forwarded = [{**HTMX, "X-Forwarded-For": f"6.6.6.6, 203.0.113.{n}"} for n in range(8)]
    answers = [browser().client.post(reverse("turn_create"), question(), headers=headers) for headers in forwarded]
    assert {answer.status_code for answer in answers} == {200}


# --- asking again, stopping ---


def test_retry_is_a_sibling_and_the_first_answer_stays(started):
    alice = browser()
    first = answered(alice.visitor, "The blue one.")
    again = alice.client.post(reverse("turn_retry", args=[first.pk]), {"idempotency_key": uuid4().hex}, headers=HTMX)
    second = Turn.objects.exclude(pk=first.pk).get()
    assert again.status_code == 200
    assert "HX-Push-Url" in again.headers  # it was sent from an address that is not the conversation's
    assert (second.query, second.retry_of, second.conversation) == (first.query, first, first.conversation)
    assert started == [second.pk]


def test_address_bar_stays_where_the_conversation_is_already(started):
    alice = browser()
    first = answered(alice.visitor, "The blue one.")
    here = "http://testserver" + reverse("conversation", args=[first.conversation_id])
    response = alice.client.post(
        reverse("turn_create"),
        question(conversation=str(first.conversation_id)),
        headers={**HTMX, "HX-Current-URL": here},
    )
    assert "HX-Push-Url" not in response.headers


def test_retry_pressed_twice_asks_once(started):
    alice = browser()
    first = answered(alice.visitor, "The blue one.")
    page = alice.client.get(reverse("conversation", args=[first.conversation_id])).content.decode()
    key = re.search(rf'{reverse("turn_retry", args=[first.pk])}.*?idempotency_key" value="(\w+)"', page, re.S)[1]
    for _ in range(2):
        alice.client.post(reverse("turn_retry", args=[first.pk]), {"idempotency_key": key}, headers=HTMX)
    assert Turn.objects.count() == 2


def test_siblings_are_numbered_and_the_newest_is_shown():
    alice = browser()
    first = answered(alice.visitor, "The blue one.")
    second = answered(alice.visitor, "The red one.", conversation=first.conversation, retry_of=first)
    answered(alice.visitor, "The green one.", conversation=first.conversation, retry_of=second)
    page = alice.client.get(reverse("conversation", args=[first.conversation_id])).content.decode()
    assert "3/3" in page
    assert "The green one." in page
    assert "The blue one." not in page
    chosen = alice.client.get(reverse("turn", args=[first.pk]), headers=HTMX).content.decode()
    assert "1/3" in chosen
    assert "The blue one." in chosen
    without_script = alice.client.get(reverse("turn", args=[first.pk]), follow=True).content.decode()
    assert "The blue one." in without_script


def test_stop_ends_a_queued_turn():
    alice = browser()
    turn = answered(alice.visitor, status=Turn.Status.QUEUED)
    assert alice.client.post(reverse("turn_stop", args=[turn.pk]), headers=HTMX).status_code == 204
    turn.refresh_from_db()
    assert turn.status == Turn.Status.STOPPED


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (Turn.Status.STOPPED, "", "You stopped this answer."),
        (Turn.Status.INTERRUPTED, "The answer was cut off.", "The answer was cut off."),
        (Turn.Status.FAILED, "The model is not available right now.", "The model is not available right now."),
        (Turn.Status.FAILED, "", "Something went wrong."),
    ],
)
def test_answer_that_did_not_end_well_says_so_and_offers_retry(status, error, says):
    alice = browser()
    turn = answered(alice.visitor, status=status, error=error)
    page = alice.client.get(reverse("conversation", args=[turn.conversation_id])).content.decode()
    assert says in page
    assert reverse("turn_retry", args=[turn.pk]) in page


# --- what the model, the visitor and the advertiser write is never markup ---

PAYLOAD = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "payload", [PAYLOAD, '"><svg/onload=alert(1)>', "</textarea>" + PAYLOAD, "{{ 7 }}{% now 'Y' %}"]
)
def test_hostile_text_is_shown_as_text(payload, started):
    alice = browser()
    VisitorProfile.objects.create(name=payload[:80], basic_information=payload, interests=payload)
    own = {"choice": "own", "about": payload, "interests": payload}
    alice.client.post(reverse("visitor_profile"), own, headers=HTMX)
    turn = answered(alice.visitor, payload, query=payload)
    pages = [
        alice.client.get(reverse("conversation", args=[turn.conversation_id])),
        alice.client.get(reverse("turn", args=[turn.pk]), headers=HTMX),
        ask(alice.client, payload),
        ask(alice.client, payload * 500, htmx=False),  # refused: comes back in the text box
    ]
    for page in pages:
        html = page.content.decode()
        assert "<script>" not in html
        assert "<img" not in html
        assert "onload=alert(1)>" not in html.replace("&gt;", "")
        assert "alert(1)" in html or "{{ 7 }}" in html


# --- the profile ---


def test_chosen_profile_goes_into_the_next_question(started):
    alice = browser()
    ready = VisitorProfile.objects.create(name="Hiker", basic_information="A nurse of 35.", interests="hiking")
    saved = alice.client.post(reverse("visitor_profile"), {"choice": str(ready.pk)}, headers=HTMX)
    assert "Hiker" in saved.content.decode()
    ask(alice.client)
    assert Turn.objects.get().profile == "A nurse of 35. Interests: hiking"


def test_own_profile_is_remembered_in_this_browser_alone(started):
    alice, mallory = browser(), browser()
    own = {"choice": "own", "about": "A nurse of 35.", "interests": "hiking"}
    assert alice.client.post(reverse("visitor_profile"), own).status_code == 302
    assert "A nurse of 35." in alice.client.get("/").content.decode()
    assert "A nurse of 35." not in mallory.client.get("/").content.decode()
    ask(mallory.client)
    assert Turn.objects.get().profile == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"choice": "999"},  # no such profile
        {"choice": "own"},  # nothing written
        {"choice": "own", "about": "x" * 301},
        {"choice": "own", "interests": "x" * 10_000},
        {"choice": "99999999999999999999"},
        {"choice": "²"},
    ],
)
@pytest.mark.parametrize("headers", [HTMX, {}])
def test_refused_profile_says_why_and_changes_nothing(fields, headers):
    alice = browser()
    response = alice.client.post(reverse("visitor_profile"), fields, headers=headers)
    assert response.status_code == 422
    assert "visitor_profile" not in alice.client.session
