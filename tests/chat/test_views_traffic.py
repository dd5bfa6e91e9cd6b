"""The card that sends simulated visitors: who may, and what it shows."""

import pytest
from django.urls import reverse

from campaigns.models import DatabaseMark
from chat import tasks
from chat.models import TrafficRun

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def started(monkeypatch):
    """The ids of the runs that were handed to the worker."""
    ids = []
    monkeypatch.setattr(tasks.simulate_traffic, "delay", ids.append)
    return ids


def test_staff_of_a_demo_starts_one_run_at_a_time(admin_client, started, django_capture_on_commit_callbacks):
    DatabaseMark.objects.create(kind="demo")
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            page = admin_client.post(reverse("simulate_traffic"), {"visitors": "30"}, headers=HTMX)
    run = TrafficRun.objects.get()
    assert started == [run.pk]
    assert "0 of 30 visitors" in page.content.decode()
    assert 'hx-trigger="every 2s"' in page.content.decode()


def test_a_run_can_be_stopped(admin_client, started):
    DatabaseMark.objects.create(kind="demo")
    run = TrafficRun.objects.create(wanted=30, done=3)
    page = admin_client.post(reverse("cancel_traffic", args=[run.pk]), headers=HTMX)
    run.refresh_from_db()
    assert run.status == TrafficRun.Status.CANCELLED
    assert "every 2s" not in page.content.decode()


def test_a_stopped_run_is_continued_where_it_was(admin_client, started, django_capture_on_commit_callbacks):
    DatabaseMark.objects.create(kind="demo")
    run = TrafficRun.objects.create(wanted=30, done=3, status=TrafficRun.Status.CANCELLED)
    with django_capture_on_commit_callbacks(execute=True):
        page = admin_client.post(reverse("simulate_traffic"), {"visitors": "rest"}, headers=HTMX)
    run.refresh_from_db()
    assert (run.status, run.done, started) == (TrafficRun.Status.QUEUED, 3, [run.pk])
    assert "3 of 30 visitors" in page.content.decode()


@pytest.mark.parametrize("visitors", ["", "1e9", "31", "-1"])
def test_another_number_is_refused(admin_client, started, visitors):
    DatabaseMark.objects.create(kind="demo")
    assert admin_client.post(reverse("simulate_traffic"), {"visitors": visitors}).status_code == 422
    assert not TrafficRun.objects.exists()


def test_without_htmx_the_card_is_a_page_of_its_own(admin_client, started, django_capture_on_commit_callbacks):
    DatabaseMark.objects.create(kind="demo")
    card = reverse("simulate_traffic")
    assert admin_client.get(card).content.decode().startswith("<!doctype html>")
    with django_capture_on_commit_callbacks(execute=True):
        assert admin_client.post(card, {"visitors": "30"}).url == card
    assert "0 of 30 visitors" in admin_client.get(card).content.decode()
    assert admin_client.post(reverse("cancel_traffic", args=started)).url == card
    refused = admin_client.post(card, {"visitors": "31"})
    assert refused.status_code == 422
    assert "one of the numbers" in refused.content.decode()
    assert refused.content.decode().startswith("<!doctype html>")


def test_without_the_demo_mark_there_is_no_card(admin_client):
    assert admin_client.get(reverse("simulate_traffic")).status_code == 404


def test_others_do_not_see_the_card(client, django_user_model):
    DatabaseMark.objects.create(kind="demo")
    assert client.get(reverse("simulate_traffic")).status_code == 302  # to the log-in
    client.force_login(django_user_model.objects.create_user("alice"))
    assert client.get(reverse("simulate_traffic")).status_code == 404
