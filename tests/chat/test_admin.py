"""The chat in the admin: answers cannot be edited, one model is promoted at a time, reports are resolved once."""

import pytest
from django.urls import reverse

from chat.models import AdReport, ModelVersion
from tests.chat.page import answered, browser
from tests.market import acme

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", ["turn", "conversation", "trafficrun", "visitorprofile", "modelversion", "adreport"])
def test_every_list_opens(admin_client, model):
    turn = answered(browser().visitor, acme())
    AdReport.objects.create(turn=turn, ad=acme_ad(turn), reason="other")
    search = {"q": "mug"} if model == "turn" else {}
    assert admin_client.get(reverse(f"admin:chat_{model}_changelist"), search).status_code == 200


def acme_ad(turn):
    return turn.auction.candidates.get().ad


def test_answers_are_read_and_never_written(admin_client):
    turn = answered(browser().visitor, "<b>Yes.</b>")
    address = reverse("admin:chat_turn_change", args=[turn.pk])
    page = admin_client.get(address).content.decode()
    assert "&lt;b&gt;Yes.&lt;/b&gt;" in page
    assert reverse("turn_panel", args=[turn.pk]) in page
    assert admin_client.post(address, {"query": "Changed?"}).status_code == 403
    assert admin_client.get(reverse("admin:chat_turn_add")).status_code == 403
    assert admin_client.get(reverse("admin:chat_turn_delete", args=[turn.pk])).status_code == 403


def test_one_model_is_promoted(admin_client):
    old = ModelVersion.objects.create(name="old", base_url="http://127.0.0.1:9/v1", model="old", is_live=True)
    new = ModelVersion.objects.create(name="new", base_url="http://127.0.0.1:9/v1", model="new")
    where = reverse("admin:chat_modelversion_changelist")
    admin_client.post(where, {"action": "promote", "_selected_action": [old.pk, new.pk]})
    assert ModelVersion.objects.get(is_live=True) == old
    admin_client.post(where, {"action": "promote", "_selected_action": [new.pk]})
    assert ModelVersion.objects.get(is_live=True) == new


def test_model_of_past_answers_keeps_its_address(admin_client):
    version = ModelVersion.objects.create(name="old", base_url="http://127.0.0.1:9/v1", model="old")
    where = reverse("admin:chat_modelversion_change", args=[version.pk])
    admin_client.post(where, {"name": "renamed", "base_url": "http://evil.example/v1", "model": "other"})
    version.refresh_from_db()
    assert (version.name, version.base_url, version.model) == ("renamed", "http://127.0.0.1:9/v1", "old")


def test_report_is_resolved_once(admin_client):
    turn = answered(browser().visitor, acme())
    report = AdReport.objects.create(turn=turn, ad=acme_ad(turn), reason="other")
    where = reverse("admin:chat_adreport_changelist")
    admin_client.post(where, {"action": "resolve", "_selected_action": [report.pk]})
    report.refresh_from_db()
    first = report.resolved_at
    admin_client.post(where, {"action": "resolve", "_selected_action": [report.pk]})
    report.refresh_from_db()
    assert first
    assert report.resolved_at == first
