"""What stands above the apps: health, tokens, the API's description."""

import json

import pytest
from django.contrib.auth import get_user_model

from auction_site import health
from tests.fake_openai import FakeOpenAI

LOGIN = "/api/v1/auth/login/"


def log_in(client, username="alice", password="alice-password"):
    return client.post(LOGIN, json.dumps({"username": username, "password": password}), content_type="application/json")


def test_browsers_find_an_icon_where_a_page_names_none(client):
    answer = client.get("/favicon.ico", follow=True)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/svg+xml")


def test_healthz_asks_nobody(client):
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db(transaction=True)
def test_readyz_is_ready_when_every_part_is(client, settings):
    with FakeOpenAI() as fake:
        settings.AD_LLM_BASE_URL = fake.base_url
        for _ in range(20):  # on a busy machine a part may need more than its second, above all the first time
            response = client.get("/readyz")
            if response.status_code == 200:
                break
    assert response.status_code == 200, response.content
    assert response.json()["parts"] == dict.fromkeys(["database", "migrations", "model_server", "broker"], "ok")


@pytest.mark.django_db(transaction=True)
def test_readyz_names_the_part_that_is_down_and_no_host(client, settings):
    settings.AD_LLM_BASE_URL = "http://127.0.0.1:9/v1"
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["parts"]["model_server"] == "failed"
    assert "127.0.0.1" not in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_readyz_waits_a_second_for_each_part_and_no_longer(client, settings, monkeypatch):
    import time

    def slow() -> None:
        time.sleep(3)

    monkeypatch.setattr(health, "PARTS", (health.database, slow))
    began = time.monotonic()
    response = client.get("/readyz")
    assert time.monotonic() - began < 2
    assert response.json() == {"ready": False, "parts": {"database": "ok", "slow": "no answer in time"}}


@pytest.mark.django_db
def test_password_is_exchanged_for_a_token_and_the_token_is_forgotten(client, alice):
    token = {"Authorization": f"Token {log_in(client).json()['token']}"}
    assert client.get("/api/v1/ads/", headers=token).status_code == 200
    assert client.post("/api/v1/auth/logout/", headers=token).status_code == 204
    assert client.get("/api/v1/ads/", headers=token).status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("username", "password"), [("alice", "wrong"), ("nobody", "alice-password"), ("alice", "alice-password ")]
)
def test_wrong_password_gives_no_token(client, alice, username, password):
    assert log_in(client, username, password).status_code in (401, 403)


@pytest.mark.django_db
def test_inactive_people_get_no_token(client, alice):
    get_user_model().objects.update(is_active=False)
    assert log_in(client).status_code in (401, 403)


@pytest.mark.django_db
def test_guessing_passwords_is_stopped_even_when_one_guess_is_right(client, alice):
    for _ in range(10):
        log_in(client, password="guess")
    assert log_in(client).status_code == 429


@pytest.mark.django_db
def test_api_describes_itself_without_inline_scripts(client):
    schema = client.get("/api/v1/schema/?format=json").json()
    assert "/api/v1/turns/" in schema["paths"]
    page = client.get("/api/v1/docs/")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    html = page.content.decode()
    assert all("src=" in tag.split(">")[0] for tag in html.split("<script")[1:])
    assert "<style" not in html


def test_api_description_has_no_warnings(tmp_path):
    from django.core.management import call_command

    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))
