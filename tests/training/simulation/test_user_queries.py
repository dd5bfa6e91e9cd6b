import json

import pytest

from training.simulation.profiles import make_people
from training.simulation.user_llm import ScriptedUserLLM, UserLLMError
from training.simulation.user_queries import BadQuestions, UserLLMQueries, parse_questions, query_schema

GOOD = json.dumps(["Which tea is best?", "How far is it to Mars?"])
PEOPLE = make_people(count=3, seed=1)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"Here you are:\n```json\n{GOOD}\n```\nAnything else?",  # prose and a fence
        json.dumps({"questions": json.loads(GOOD)}),  # a server that insists on an object
        '["Which  tea\\u200b is\\n best?", "How far is it to Mars?\\u0007"]',  # invisible and control characters
    ],
)
def test_a_list_is_found_and_cleaned(text):
    assert parse_questions(text, num_queries=2) == ("Which tea is best?", "How far is it to Mars?")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not_json"),
        ("1. Which tea?\n2. How far?", "not_json"),
        (GOOD[:-3], "not_json"),  # cut off
        ("[" * 100_000, "not_json"),  # too deep
        ('{"question": "Which tea?"}', "not_a_list"),
        ('"Which tea?"', "not_a_list"),
        ('["Which tea?"]', "wrong_count"),
        ('["Which tea?", "How far?", "How much?"]', "wrong_count"),
        ('["Which tea?", 7]', "not_text"),
        ('["Which tea?", null]', "not_text"),
        ('["Which tea?", ["How far?"]]', "not_text"),
        ('["Which tea?", "a?"]', "too_short"),
        ('["Which tea?", "???"]', "too_short"),  # says nothing
        ('["Which tea?", "\\u200b\\u200b\\u200b"]', "too_short"),  # nothing to see
        ('["Which tea?", "\\ud800"]', "too_short"),  # no character at all
        (json.dumps(["Which tea?", "a" * 2001]), "too_long"),
        ('["Which tea?", " which TEA"]', "repeated"),
    ],
)
def test_what_is_no_list_of_questions_is_refused_by_kind(text, fault):
    with pytest.raises(BadQuestions) as refusal:
        parse_questions(text, num_queries=2)
    assert refusal.value.fault == fault


def test_the_schema_asks_for_as_many_texts():
    schema = query_schema(5)
    assert (schema["minItems"], schema["maxItems"], schema["items"]["type"]) == (5, 5, "string")


def ask(answers, *, people=PEOPLE[:1]):
    user_llm = ScriptedUserLLM(answers)
    source = UserLLMQueries(user_llm=user_llm, model="m", concurrency=1)
    return user_llm, list(source.questions(people, num_queries=2))


def test_a_bad_answer_is_asked_for_again_and_counted():
    user_llm, (asked,) = ask(["nonsense", UserLLMError("timeout", "slow"), GOOD])
    assert asked.texts == tuple(json.loads(GOOD))
    assert asked.errors == {"not_json": 1, "timeout": 1}
    assert len(user_llm.prompts) == 3
    assert PEOPLE[0].profile.info in user_llm.prompts[0]


def test_after_two_retries_the_user_is_left_without_questions():
    user_llm, (asked,) = ask(["nonsense", UserLLMError("empty", ""), '["Which tea?"]', GOOD])
    assert (asked.texts, asked.errors) == ((), {"not_json": 1, "empty": 1, "wrong_count": 1})
    assert len(user_llm.prompts) == 3


@pytest.mark.parametrize(
    ("kind", "tries"),
    [("unavailable", 3), ("timeout", 3), ("refused", 1)],  # a refusal will not change
)
def test_a_server_that_does_not_answer_ends_the_run(kind, tries):
    user_llm = ScriptedUserLLM([UserLLMError(kind, "no")] * 3)
    with pytest.raises(UserLLMError):
        list(UserLLMQueries(user_llm=user_llm, model="m").questions(PEOPLE[:1], num_queries=2))
    assert len(user_llm.prompts) == tries


def test_users_come_in_order_however_many_are_asked_at_a_time():
    people = make_people(count=40, seed=1)
    user_llm = ScriptedUserLLM(lambda prompt: json.dumps([prompt.split("Information: ")[1][:80], "How far?"]))
    source = UserLLMQueries(user_llm=user_llm, model="m", concurrency=4)
    rows = list(source.questions(people, num_queries=2, skip=3))
    assert [row.profile_id for row in rows] == [person.profile.id for person in people[3:]]
    assert all(person.profile.info.startswith(row.texts[0]) for person, row in zip(people[3:], rows, strict=True))
