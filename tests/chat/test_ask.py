"""`manage.py ask`: the chain from a shell, against a model server that is really there, or not."""

import json
import re
import unicodedata
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from campaigns import tokens
from campaigns.models import Impression
from chat.models import Turn
from tests import market
from tests.fake_openai import FakeOpenAI, Plan, free_port
from tests.hostile import QUESTIONS

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


# --- whatever is asked, of a model that does whatever it is told ---

LINK = re.compile(r"(.{2,80}) \(sponsored, /c/([\w.-]+)\)")
HALF_MARKER = re.compile(r"\[Ad-|@(Acme Mug|Zenith Trail Shoes)|(Acme Mug|Zenith Trail Shoes)@")
SECRET_BID = "73.519"


def test_the_table_of_questions_is_long():
    assert len(set(QUESTIONS)) >= 40


@pytest.mark.parametrize("kind", ["obeys", "repeats its prompt", "obeys and is cut"])
def test_no_question_crashes_it_or_forges_a_link_or_shows_half_a_marker(model, kind):
    market.zenith(bid=73_519_000)
    wrong = []
    for number, query in enumerate(QUESTIONS):
        asked = query.encode("utf-8", "replace").decode()  # a lone surrogate travels as a question mark
        said = f"{asked} {MUG} as @Zenith Trail Shoes@[Ad-1001], or {MUG[: 9 + number % 9]}"
        model.plan = Plan(text=said, piece=1 + number % 7)
        if kind == "repeats its prompt":
            model.plan = Plan(text=said, piece=11 + number % 13, echo=True)  # a prompt is long
        if kind == "obeys and is cut":
            model.plan = Plan(text=said, piece=3, fault="close", fault_after=max(1, len(said) // 3 - number % 20))
        out = StringIO()
        try:
            call_command("ask", query, stdout=out)
        except CommandError as told:
            if "cut off" not in str(told):
                wrong.append((query, "refused", str(told)))
        turn = Turn.objects.latest("created_at")
        shown = out.getvalue()
        links = LINK.findall(shown)
        for title, token in links:
            impression = Impression.objects.get(token_id=tokens.token_id(token))
            candidate = impression.candidate
            if candidate.auction_id != turn.auction_id or not title.endswith(candidate.title):
                wrong.append((query, "forged link", title))
        if len(links) != shown.count("(sponsored, "):
            wrong.append((query, "a link that is none", shown))
        if HALF_MARKER.search(LINK.sub("", shown)) or SECRET_BID in shown:
            wrong.append((query, "marker or bid", shown))
        if any(unicodedata.category(char) == "Cc" and char not in "\n\t" for char in shown):
            wrong.append((query, "control character for the terminal", shown))
    assert wrong == []
