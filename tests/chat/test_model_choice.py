"""Staff may ask another model than the visitors' one; nobody else can, and a model that is gone is nobody's choice."""

import pytest
from django.test import Client
from django.urls import reverse

from chat import registry, streams
from chat.answering import answer_query
from chat.models import ModelVersion, Turn
from tests.chat.page import HTMX, browser, question
from tests.fake_openai import FakeOpenAI, Plan

pytestmark = pytest.mark.django_db


@pytest.fixture
def started(monkeypatch) -> list:
    """The generations that were handed over, instead of running."""
    handed_over = []
    monkeypatch.setattr(streams, "start", handed_over.append)
    return handed_over


@pytest.fixture
def other():
    registry.live()
    return registry.register(base_url="http://gpu:8000/v1", model="acme/irpo", name="after IRPO")


@pytest.fixture
def staff(django_user_model):
    return browser(user=django_user_model.objects.create_user("ines", password="ines-password", is_staff=True))


def choose(client, version="", **fields):
    return client.post(reverse("model_version"), {"version": version, **fields})


def ask(client) -> Turn:
    client.post(reverse("turn_create"), question(), headers=HTMX)
    return Turn.objects.latest("created_at")


def test_staff_ask_the_model_they_chose_and_again_by_retry(staff, other, started):
    assert "Staff may ask another model" in staff.client.get("/").content.decode()
    assert choose(staff.client, other.pk).status_code == 302
    assert "Answered by <strong>after IRPO</strong>" in staff.client.get("/").content.decode()
    first = ask(staff.client)
    assert first.model_version == other
    choose(staff.client)
    Turn.objects.filter(pk=first.pk).update(status=Turn.Status.COMPLETE)
    staff.client.post(reverse("turn_retry", args=[first.pk]), {"idempotency_key": "0" * 32}, headers=HTMX)
    again = Turn.objects.exclude(pk=first.pk).get()
    assert (again.retry_of, again.model_version) == (first, None)  # the live one, when it is answered


def test_the_choice_returns_to_the_conversation(staff, other, started):
    turn = ask(staff.client)
    response = choose(staff.client, other.pk, conversation=str(turn.conversation_id))
    assert response["Location"] == reverse("conversation", args=[turn.conversation_id])


def test_only_staff_choose(other, started, alice, analyst):
    for visitor in (browser(), browser(user=alice), browser(user=analyst)):
        assert "Staff may ask" not in visitor.client.get("/").content.decode()
        assert choose(visitor.client, other.pk).status_code == 403
        assert "model_version" not in visitor.client.session
        assert ask(visitor.client).model_version is None


def test_choosing_needs_a_post_and_the_csrf_token(staff, other):
    where = reverse("model_version")
    assert staff.client.get(where).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = staff.client.cookies
    assert strict.post(where, {"version": other.pk}).status_code == 403
    assert "model_version" not in staff.client.session


def test_a_choice_is_the_choosers_alone(staff, other, started, django_user_model):
    colleague = browser(user=django_user_model.objects.create_user("otto", password="otto-password", is_staff=True))
    theirs = ask(colleague.client)
    response = choose(staff.client, other.pk, conversation=str(theirs.conversation_id))
    assert staff.client.get(response["Location"]).status_code == 404
    assert "model_version" not in colleague.client.session
    theirs.refresh_from_db()
    assert theirs.model_version is None
    assert registry.live() != other


def test_who_is_no_longer_staff_asks_the_live_model(staff, other, started, django_user_model):
    choose(staff.client, other.pk)
    django_user_model.objects.update(is_staff=False)
    assert ask(staff.client).model_version is None


@pytest.mark.parametrize(
    ("version", "conversation"),
    [("999999", ""), ("abc", ""), ("-1", ""), ("1.5", ""), ("9" * 5000, ""), ("\x00", ""), ("", "../../admin/")],
)
def test_bad_input_is_refused_in_place_and_changes_nothing(staff, other, version, conversation):
    choose(staff.client, other.pk)
    response = choose(staff.client, version, conversation=conversation)
    assert response.status_code == 422
    assert b'id="refusal"' in response.content
    assert staff.client.session["model_version"] == other.pk


def test_a_chosen_model_that_is_gone_is_no_choice(staff, other, started):
    choose(staff.client, other.pk)
    ModelVersion.objects.filter(pk=other.pk).delete()
    assert ask(staff.client).model_version is None


@pytest.mark.django_db(transaction=True)
def test_the_model_after_irpo_is_asked_by_its_folder_on_the_same_server(settings, tmp_path):
    settings.LAB_IRPO_MODEL_DIR = tmp_path / "weights-irpo"
    settings.LAB_IRPO_MODEL_DIR.mkdir()
    (settings.LAB_IRPO_MODEL_DIR / "config.json").write_text("{}")
    with FakeOpenAI(plan=Plan(text="Warm the cup first.")) as server:
        settings.AD_LLM_BASE_URL, settings.AD_LLM_MODEL = server.base_url, str(settings.LAB_MODEL_DIR)
        live, shipped = registry.live(), registry.register_shipped()
        turns = [answer_query(query="Which mug?", model_version=version) for version in (None, shipped)]
    assert [turn.model_version for turn in turns] == [live, shipped]
    assert [request["model"] for request in server.requests] == [
        str(settings.LAB_MODEL_DIR),
        str(settings.LAB_IRPO_MODEL_DIR),
    ]
