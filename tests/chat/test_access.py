"""Every address of the chat against everybody who has no business there: what is another visitor's does not exist."""

import pytest
from django.test import Client
from django.urls import get_resolver, reverse

from chat import urls
from chat.models import AdReport, HiddenAd, Turn
from tests.chat.page import HTMX, answered, browser
from tests.market import acme

pytestmark = pytest.mark.django_db

PUBLIC = {"home", "turn_create", "visitor_profile"}  # show nothing that belongs to somebody
ELSEWHERE = {"simulate_traffic", "cancel_traffic", "turn_stream", "model_version"}  # in tests of their own views
POST = {"turn_stop", "turn_retry", "ad_hide", "ad_report"}
FORM = {"idempotency_key": "a" * 32, "reason": "other"}


def private_addresses() -> list[str]:
    return sorted({pattern.name for pattern in urls.urlpatterns} - PUBLIC - ELSEWHERE)


def address(name: str, turn: Turn) -> str:
    if name == "conversation":
        return reverse(name, args=[turn.conversation_id])
    return reverse(name, args=[turn.pk, turn.segments[0]["ad_id"]] if name.startswith("ad_") else [turn.pk])


def call(client: Client, name: str, turn: Turn, headers: dict):
    method = client.post if name in POST else client.get
    return method(address(name, turn), FORM if name in POST else {}, headers=headers)


@pytest.mark.parametrize("name", private_addresses())
@pytest.mark.parametrize("headers", [HTMX, {}])
@pytest.mark.parametrize("who", ["no cookie", "another browser", "forged cookie", "another browser, logged in"])
def test_what_belongs_to_alice_is_not_found_by_mallory(who, name, headers, mallory):
    turn = answered(browser().visitor, acme())
    client = {
        "no cookie": Client,
        "another browser": lambda: browser().client,
        "forged cookie": Client,
        "another browser, logged in": lambda: browser(user=mallory).client,
    }[who]()
    if who == "forged cookie":
        client.cookies["visitor"] = turn.conversation.visitor_hash + ".x"
    assert call(client, name, turn, headers).status_code == 404
    turn.refresh_from_db()
    assert not turn.stop_requested
    assert Turn.objects.count() == 1
    assert not HiddenAd.objects.exists()
    assert not AdReport.objects.exists()


@pytest.mark.parametrize("name", private_addresses())
def test_turns_of_no_browser_are_found_by_no_browser(name):
    """The API's answers carry a blank visitor: a browser without a cookie must not inherit them."""
    assert call(Client(), name, answered("", acme()), {}).status_code == 404


def test_question_cannot_be_put_into_another_visitors_conversation():
    turn = answered(browser().visitor, "Yes.")
    form = {"query": "Mine now?", "idempotency_key": "a" * 32, "conversation": str(turn.conversation_id)}
    assert browser().client.post(reverse("turn_create"), form, headers=HTMX).status_code == 404
    assert Turn.objects.count() == 1


@pytest.mark.parametrize("name", sorted(POST))
def test_changes_need_a_post(name):
    alice = browser()
    turn = answered(alice.visitor, acme())
    assert alice.client.get(address(name, turn)).status_code == 405


@pytest.mark.parametrize("name", sorted(POST | {"turn_create", "visitor_profile"}))
def test_changes_need_the_csrf_token(name):
    alice = browser()
    turn = answered(alice.visitor, acme())
    client = Client(enforce_csrf_checks=True)
    client.cookies = alice.client.cookies
    where = address(name, turn) if name in POST else reverse(name)
    assert client.post(where, FORM).status_code == 403


def test_every_address_of_the_chat_is_in_the_table():
    names = {pattern.name for pattern in urls.urlpatterns}
    assert names >= PUBLIC | POST
    assert all(get_resolver().reverse_dict.getlist(name) for name in names)
