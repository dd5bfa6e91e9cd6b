"""`manage.py ask`: the chain from a shell, against a model server that is really there, or not."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from campaigns.models import Impression
from chat.models import Turn
from tests import market
from tests.fake_openai import FakeOpenAI, Plan, free_port

pytestmark = pytest.mark.django_db(transaction=True)

MUG = "@Acme Mug@[Ad-1000]"


@pytest.fixture
def model(settings):
    market.acme()
    with FakeOpenAI(plan=Plan(text=f"Warm the cup. {MUG} is fine.\u202e")) as fake:
        settings.AD_LLM_BASE_URL, settings.AD_LLM_MODEL = fake.base_url, "fake"
        yield fake


def ask(*arguments: str) -> str:
    out = StringIO()
    call_command("ask", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("options", [[], ["--no-stream"]])
def test_the_answer_is_printed_once_with_its_ads_marked(model, options):
    printed = ask("Which mug?", *options)
    token = Turn.objects.get().segments[1]["token"]

    assert printed == f"Warm the cup. Acme Mug (sponsored, {reverse('click', args=[token])}) is fine.\n"


def test_json_gives_the_same_object_as_the_api(model):
    told = json.loads(ask("Which mug?", "--profile", "A tea lover.", "--json"))

    assert told["text"] == "Warm the cup. Acme Mug is fine."
    assert (told["profile"], told["status"], told["model_version"]) == ("A tea lover.", "complete", "fake")
    assert [(ad["ad_id"], ad["position"]) for ad in told["ads"]] == [("Ad-1000", 1)]
    assert told["ads"][0]["click_url"].startswith("/c/")
    assert (told["prompt_tokens"], told["completion_tokens"], told["format_errors"]) == (11, 5, {})
    assert told["auction"]
    assert told["first_token_ms"] <= told["duration_ms"]


def test_a_model_server_that_is_down_is_one_clear_line(model, settings):
    settings.AD_LLM_BASE_URL = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(CommandError, match="not available right now") as failure:
        ask("Which mug?")

    assert failure.value.returncode == 1
    assert not Impression.objects.exists()


def test_a_cut_answer_is_printed_and_then_the_reason(model):
    model.plan = Plan(text=f"Warm the cup. {MUG} is fine.", fault="close", fault_after=9)
    out = StringIO()
    with pytest.raises(CommandError, match="cut off"):
        call_command("ask", "Which mug?", stdout=out)

    assert out.getvalue().startswith("Warm the cup. Acme Mug (sponsored")


@pytest.mark.parametrize("query", ["", "  ", "x" * 10_000])
def test_bad_questions_are_refused_with_a_sentence(model, query):
    with pytest.raises(CommandError):
        ask(query)
    assert model.generations == 0
