import pytest

from tests.fake_openai import FakeOpenAI, Plan, free_port
from training.simulation.user_llm import OpenAIUserLLM, ScriptedUserLLM, UserLLMError

SCHEMA = {"type": "array", "items": {"type": "string"}}


@pytest.fixture
def server():
    with FakeOpenAI(plan=Plan(text='["Which tea?"]')) as fake:
        yield fake


def ask(server, **options):
    client = OpenAIUserLLM(base_url=server.base_url, model="fake", **options)
    return client, client.ask(prompt="Ask!", schema=SCHEMA, temperature=0.7)


def test_the_request_is_that_of_the_paper_and_asks_for_its_form(server):
    client, text = ask(server)
    assert (text, client.takes_response_format, client.name) == ('["Which tea?"]', True, "fake")
    (asked,) = server.requests
    assert asked["messages"] == [{"role": "user", "content": "Ask!"}]
    assert {key: asked[key] for key in ("temperature", "top_p", "top_k", "max_tokens")} == {
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 20,
        "max_tokens": 2048,
    }
    assert asked["response_format"]["json_schema"]["schema"] == SCHEMA


def test_a_server_that_knows_no_response_format_is_asked_in_words_from_then_on(server):
    server.takes_response_format = server.takes_top_k = False
    client, text = ask(server)
    client.ask(prompt="Ask again!", schema=SCHEMA, temperature=0.7)
    assert (text, client.takes_response_format) == ('["Which tea?"]', False)
    assert ["response_format" in asked for asked in server.requests] == [True, True, False, False]
    assert server.generations == 2


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        (Plan(status=500), "unavailable"),
        (Plan(status=429), "unavailable"),  # too busy: later
        (Plan(status=404), "refused"),  # no such model: never
        (Plan(status=400), "refused"),
        (Plan(text=" "), "empty"),
        (Plan(fault="html"), "empty"),  # a proxy's page
        (Plan(first_delay=5), "timeout"),
    ],
)
def test_failures_have_a_kind_and_are_not_asked_twice(server, plan, kind):
    server.plan = plan
    with pytest.raises(UserLLMError) as failure:
        ask(server, timeout=0.3)
    assert failure.value.kind == kind
    assert server.base_url in str(failure.value)
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_unavailable():
    client = OpenAIUserLLM(base_url=f"http://127.0.0.1:{free_port()}/v1", model="fake")
    with pytest.raises(UserLLMError, match="cannot be reached") as failure:
        client.ask(prompt="Ask!", schema=SCHEMA, temperature=0.7)
    assert failure.value.kind == "unavailable"


def test_the_fake_answers_by_script():
    scripted = ScriptedUserLLM(["one", UserLLMError("empty", "nothing")])
    assert scripted.ask(prompt="a", schema={}, temperature=0.3) == "one"
    with pytest.raises(UserLLMError):
        scripted.ask(prompt="b", schema={}, temperature=0.3)
    assert scripted.prompts == ["a", "b"]
    assert ScriptedUserLLM(str.upper).ask(prompt="a", schema={}, temperature=0.3) == "A"
