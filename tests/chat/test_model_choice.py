"""Staff may ask another model than the visitors' one; nobody else can, and a model that is gone is nobody's choice."""

import pytest
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


def test_visitors_cannot_choose(other, started, alice):
    for visitor in (browser(), browser(user=alice)):
        assert "Staff may ask" not in visitor.client.get("/").content.decode()
        assert choose(visitor.client, other.pk).status_code == 403
        assert ask(visitor.client).model_version is None


def test_who_is_no_longer_staff_asks_the_live_model(staff, other, started, django_user_model):
    choose(staff.client, other.pk)
    django_user_model.objects.update(is_staff=False)
    assert ask(staff.client).model_version is None


@pytest.mark.parametrize("version", ["999999", "abc"])
def test_a_model_that_is_none_is_refused_in_place(staff, other, version):
    response = choose(staff.client, version)
    assert response.status_code == 422
    assert b'id="refusal"' in response.content


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
