from dataclasses import replace

import pytest

from tests.fake_openai import FakeOpenAI, Plan, free_port
from training.simulation.openai_sampler import OpenAISampler
from training.simulation.sampling import Generated, SampleRequest, SamplingError, SamplingSettings

SETTINGS = SamplingSettings(max_tokens=99, seed=3)
REQUESTS = [SampleRequest(f"q{n}", [{"role": "user", "content": f"Question {n}"}]) for n in range(5)]


@pytest.fixture
def fake():
    with FakeOpenAI(plan=Plan(text="Warm the pot.")) as server:
        yield server


def sampler(base_url, **options):
    return OpenAISampler(base_url=base_url, model="fake", sleep=lambda seconds: None, **options)


def test_all_answers_of_a_query_come_from_one_generation(fake):
    answers = list(sampler(fake.base_url).sample(REQUESTS, n=3, settings=SETTINGS))
    assert answers == [[Generated("Warm the pot.", 5, True)] * 3] * 5
    assert fake.generations == 5
    asked = fake.requests[0]
    assert (asked["n"], asked["temperature"], asked["top_p"], asked["top_k"], asked["max_tokens"]) == (
        3, 0.7, 0.8, 20, 99,
    )  # fmt: skip


@pytest.mark.parametrize("takes_n", [None, False])  # ignored, refused
def test_a_server_without_n_is_asked_for_each_answer(fake, takes_n):
    fake.takes_n = takes_n
    answers = list(sampler(fake.base_url, concurrency=1).sample(REQUESTS, n=3, settings=SETTINGS))
    assert [len(found) for found in answers] == [3] * 5
    assert fake.generations == 15
    assert sum("n" in asked for asked in fake.requests) == 1  # found out once
    assert len({asked["seed"] for asked in fake.requests if "n" not in asked}) >= 14


def test_a_server_that_refuses_top_k_is_asked_without(fake):
    fake.takes_top_k = False
    answers = list(sampler(fake.base_url, concurrency=1).sample(REQUESTS, n=2, settings=SETTINGS))
    assert len(answers) == 5
    assert sum("top_k" in asked for asked in fake.requests) == 1


def test_markers_become_a_grammar_where_the_server_knows_them(fake):
    guided = [replace(request, markers=("@Mug@[Ad-1000]",)) for request in REQUESTS]
    list(sampler(fake.base_url).sample(guided[:1], n=2, settings=SETTINGS))
    assert '"Mug@[Ad-1000]"' in fake.requests[0]["structured_outputs"]["grammar"]
    fake.takes_grammar = False
    assert len(list(sampler(fake.base_url, concurrency=1).sample(guided, n=2, settings=SETTINGS))) == 5
    assert sum("structured_outputs" in asked for asked in fake.requests[1:]) == 1


def test_answers_stand_in_the_order_of_the_requests(fake):
    fake.plan = Plan(echo=True, first_delay=0.01)
    answers = list(sampler(fake.base_url, concurrency=4).sample(REQUESTS * 4, n=1, settings=SETTINGS))
    assert [found[0].text for found in answers] == [f"Question {n}" for n in range(5)] * 4


def test_the_same_query_and_seed_ask_for_the_same_draw(fake):
    list(sampler(fake.base_url).sample(REQUESTS, n=2, settings=SETTINGS))
    list(sampler(fake.base_url).sample(REQUESTS[2:3], n=2, settings=SETTINGS))
    seeds = {asked["messages"][0]["content"]: asked["seed"] for asked in fake.requests[:5]}
    assert fake.requests[5]["seed"] == seeds["Question 2"]
    assert len(set(seeds.values())) == 5


def test_an_answer_cut_by_the_limit_is_not_finished(fake):
    fake.plan = Plan(text="Warm", finish_reason="length")
    assert list(sampler(fake.base_url).sample(REQUESTS[:1], n=1, settings=SETTINGS)) == [[Generated("Warm", 5, False)]]


@pytest.mark.parametrize(
    ("plan", "complaint", "generations"),
    [
        (Plan(status=400), "refused q0", 1),  # asking again changes nothing
        (Plan(status=503), "refused q0", 4),  # busy: four tries
        (Plan(fault="html"), "sent no answer", 1),
    ],
)
def test_a_server_that_fails_is_named(fake, plan, complaint, generations):
    fake.plan = plan
    with pytest.raises(SamplingError, match=complaint):
        list(sampler(fake.base_url, concurrency=1).sample(REQUESTS[:1], n=2, settings=SETTINGS))
    assert len(fake.requests) == generations


def test_a_server_that_is_gone_is_tried_four_times():
    waited = []
    gone = OpenAISampler(base_url=f"http://127.0.0.1:{free_port()}/v1", model="fake", sleep=waited.append)
    with pytest.raises(SamplingError, match="cannot be reached"):
        list(gone.sample(REQUESTS[:1], n=2, settings=SETTINGS))
    assert waited == [1, 2, 4]
