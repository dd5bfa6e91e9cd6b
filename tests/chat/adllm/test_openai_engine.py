import asyncio
import subprocess
import sys
import time
from contextlib import aclosing

import pytest

from chat.adllm.engine import (
    Delta,
    EngineBadOutput,
    EngineError,
    EngineInterrupted,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
    Sampling,
    Usage,
)
from chat.adllm.openai_engine import OpenAIEngine, Timeouts
from tests.fake_openai import FakeOpenAI, Plan, free_port

MESSAGES = [{"role": "user", "content": "How do I water plants?"}]
SAMPLING = Sampling()
PATIENT = Timeouts(health=5.0)  # for what must not depend on how busy this machine is
SHORT = Timeouts(connect=2.0, first_token=2.0, between_tokens=1.5, total=4.0, after_finish=0.5, health=0.5)


@pytest.fixture(scope="module")
def server():
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def fake(server):
    server.plan, server.takes_top_k, server.health, server.models, server.health_delay = Plan(), True, 200, 200, 0.0
    server.takes_grammar = True
    server.requests.clear()
    server.generations = server.closed_by_client = 0
    return server


def engine_of(fake, *, timeouts=PATIENT):
    return OpenAIEngine(base_url=fake.base_url, model="fake", timeouts=timeouts)


async def answer(engine, sampling=SAMPLING):
    """Text, usage and error of one generation."""
    text, usage = "", None
    try:
        async with aclosing(engine.stream(MESSAGES, sampling=sampling)) as stream:
            async for item in stream:
                if isinstance(item, Delta):
                    assert usage is None
                    text += item.text
                else:
                    usage = item
    except EngineError as error:
        return text, usage, error
    return text, usage, None


def ask(fake, **kwargs):
    return asyncio.run(answer(engine_of(fake, **kwargs)))


async def settled(fake, seconds=2.0):
    """Wait until the server has seen what the client did."""
    end = time.monotonic() + seconds
    while fake.open_streams and time.monotonic() < end:
        await asyncio.sleep(0.01)
    return fake.open_streams == 0


def test_answer_streams_with_its_usage(fake):
    assert ask(fake) == ("Water the balcony early.", Usage(11, 5, "stop"), None)
    assert fake.generations == 1


def test_sampling_is_the_papers_and_the_servers_own(fake):
    ask(fake)
    (asked,) = fake.requests
    assert {key: asked[key] for key in ("temperature", "top_p", "top_k", "max_tokens", "stream", "model")} == {
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 20,
        "max_tokens": 2048,
        "stream": True,
        "model": "fake",
    }
    assert asked["messages"] == MESSAGES
    assert "seed" not in asked
    asyncio.run(answer(engine_of(fake), Sampling(seed=7, max_tokens=9)))
    assert (fake.requests[1]["seed"], fake.requests[1]["max_tokens"]) == (7, 9)


def test_server_without_top_k_is_asked_once_more_and_remembered(fake):
    fake.takes_top_k = False
    engine = engine_of(fake)
    assert asyncio.run(answer(engine))[2] is None
    assert asyncio.run(answer(engine))[2] is None
    assert ["top_k" in asked for asked in fake.requests] == [True, False, False]
    assert fake.generations == 2


def test_a_grammar_is_sent_where_there_is_one(fake):
    ask(fake)
    asyncio.run(answer(engine_of(fake), Sampling(grammar="root ::= [a]*")))
    assert "structured_outputs" not in fake.requests[0]
    assert fake.requests[1]["structured_outputs"] == {"grammar": "root ::= [a]*"}


@pytest.mark.parametrize(("takes_top_k", "tries"), [(True, 2), (False, 2)])  # both are refused in one answer
def test_server_without_grammars_answers_without_and_is_remembered(fake, takes_top_k, tries):
    fake.takes_grammar, fake.takes_top_k = False, takes_top_k
    engine = engine_of(fake)
    for _ in range(2):
        assert asyncio.run(answer(engine, Sampling(grammar="root ::= [a]*")))[2] is None
    assert len(fake.requests) == tries + 1
    assert ["structured_outputs" in asked for asked in fake.requests] == [True, False, False]
    assert ("top_k" in fake.requests[-1]) == takes_top_k


FAULTS = [  # name, plan, text that stands, error
    ("503", Plan(status=503), "", EngineUnavailable),
    ("429", Plan(status=429), "", EngineUnavailable),
    ("500", Plan(status=500), "", EngineUnavailable),
    ("400", Plan(status=400), "", EngineRefused),
    ("413", Plan(status=413), "", EngineRefused),
    ("422", Plan(status=422), "", EngineRefused),
    ("401", Plan(status=401), "", EngineUnavailable),
    ("404", Plan(status=404), "", EngineUnavailable),
    ("slow first token", Plan(first_delay=5), "", EngineTimeout),
    ("stall before the first token", Plan(fault="stall"), "", EngineTimeout),
    ("stall in the middle", Plan(fault="stall", fault_after=2), "Water th", EngineTimeout),
    ("too long in all", Plan(endless=True, delay=0.25), None, EngineTimeout),
    ("closed before the first token", Plan(fault="close"), "", EngineUnavailable),
    ("closed in the middle", Plan(fault="close", fault_after=2), "Water th", EngineInterrupted),
    ("ended in the middle", Plan(fault="end", fault_after=2), "Water th", EngineInterrupted),
    ("ended before the first token", Plan(fault="end"), "", EngineBadOutput),
    ("error told before the first token", Plan(fault="error"), "", EngineUnavailable),
    ("error told in the middle", Plan(fault="error", fault_after=2), "Water th", EngineInterrupted),
    ("aborted", Plan(fault="abort", fault_after=2), "Water th", EngineInterrupted),
    ("garbage", Plan(fault="garbage"), "", EngineBadOutput),
    ("garbage in the middle", Plan(fault="garbage", fault_after=2), "Water th", EngineBadOutput),
    ("JSON that is no chunk", Plan(fault="no_choices", fault_after=2), "Water th", EngineBadOutput),
    ("number as text", Plan(fault="number", fault_after=2), "Water th", EngineBadOutput),
    ("invalid UTF-8 in two packets", Plan(fault="bad_utf8", fault_after=2), "Water th", EngineBadOutput),
    ("a proxy's page", Plan(fault="html"), "", EngineBadOutput),
    ("empty answer", Plan(text=""), "", EngineBadOutput),
]


@pytest.mark.parametrize(("plan", "stands", "error"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_failure_is_named_and_never_generates_again(fake, plan, stands, error):
    fake.plan = plan
    text, usage, raised = ask(fake, timeouts=SHORT if error is EngineTimeout else PATIENT)
    assert type(raised) is error
    assert raised.user_message
    assert usage is None
    assert text == stands or stands is None
    assert len(fake.requests) == 1


def test_server_that_is_down_is_told_of_at_once():
    start = time.monotonic()
    text, _, raised = asyncio.run(answer(OpenAIEngine(base_url=f"http://127.0.0.1:{free_port()}/v1", model="fake")))
    assert (text, type(raised)) == ("", EngineUnavailable)
    assert time.monotonic() - start < 2


def test_server_that_comes_back_answers_at_once():
    port = free_port()
    engine = OpenAIEngine(base_url=f"http://127.0.0.1:{port}/v1", model="fake", timeouts=PATIENT)

    async def down_then_up():
        assert not await engine.healthy()
        assert type((await answer(engine))[2]) is EngineUnavailable
        with FakeOpenAI(port=port):
            assert await engine.healthy()
            return await answer(engine)

    assert asyncio.run(down_then_up())[2] is None


def test_text_arrives_while_it_is_written(fake):
    fake.plan = Plan(fault="stall", fault_after=1)

    async def first():
        async with aclosing(engine_of(fake).stream(MESSAGES, sampling=Sampling())) as stream:
            return await anext(stream)

    assert asyncio.run(first()) == Delta("Wate")


def test_utf8_split_between_packets_is_whole(fake):
    fake.plan = Plan(text="Café 東京 👩‍👧", piece=1, bytewise=True)
    assert ask(fake)[0] == "Café 東京 👩‍👧"


def test_what_no_database_takes_is_replaced(fake):
    fake.plan = Plan(text="a\x00b", piece=9)
    assert ask(fake)[0] == "a\ufffdb"


@pytest.mark.parametrize("usage", ["with finish", "alone", "never"])
def test_usage_comes_as_each_server_sends_it(fake, usage):
    fake.plan = Plan(usage=usage)
    told = Usage(0, 6, "stop") if usage == "never" else Usage(11, 5, "stop")
    assert ask(fake)[1:] == (told, None)


def test_answer_cut_at_max_tokens_says_so(fake):
    fake.plan = Plan(finish_reason="length")
    assert ask(fake)[1].finish_reason == "length"


def test_whole_answer_stands_though_the_server_forgets_to_end(fake):
    fake.plan = Plan(done=False, usage="never")
    assert ask(fake)[1:] == (Usage(0, 6, "stop"), None)


def test_endless_repetition_is_stopped_at_max_tokens(fake):
    fake.plan = Plan(endless=True)

    async def run():
        told = await answer(engine_of(fake), Sampling(max_tokens=50))
        assert await settled(fake)
        return told

    text, usage, error = asyncio.run(run())
    assert (len(text), usage, error) == (200, Usage(0, 50, "length"), None)
    assert fake.closed_by_client == 1


def test_prompt_may_be_echoed(fake):
    fake.plan = Plan(echo=True)
    assert ask(fake)[0] == MESSAGES[0]["content"]


@pytest.mark.parametrize(
    "plan", [Plan(first_delay=60), Plan(fault="stall", fault_after=1), Plan(endless=True, delay=0.01)]
)
def test_cancelling_stops_the_generation_upstream(fake, plan):
    fake.plan = plan

    async def cancelled(engine):
        task = asyncio.create_task(answer(engine, Sampling(max_tokens=10**6)))
        while not fake.open_streams:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        start = time.monotonic()
        assert await settled(fake)
        return time.monotonic() - start

    assert asyncio.run(cancelled(engine_of(fake, timeouts=Timeouts()))) < 1.0
    assert fake.closed_by_client == 1


def test_a_hundred_readers_who_leave_leave_nothing_behind(fake):
    fake.plan = Plan(endless=True, delay=0.02)

    async def leave(engine):
        async with aclosing(engine.stream(MESSAGES, sampling=Sampling(max_tokens=10**6))) as stream:
            async for _ in stream:
                break

    async def run():
        engine = engine_of(fake, timeouts=Timeouts())
        for _ in range(4):
            await asyncio.gather(*(leave(engine) for _ in range(25)))
        assert await settled(fake)

    asyncio.run(run())
    assert (fake.generations, fake.closed_by_client, fake.open_streams) == (100, 100, 0)


def test_slow_reader_is_not_taken_for_a_slow_model(fake):
    fake.plan = Plan(piece=8)

    async def slowly():
        items = []
        engine = engine_of(fake, timeouts=SHORT)
        async with aclosing(engine.stream(MESSAGES, sampling=Sampling())) as stream:
            async for item in stream:
                items.append(item)
                await asyncio.sleep(SHORT.between_tokens + 0.1 if len(items) == 1 else 0)
        return items

    assert asyncio.run(slowly())[-1] == Usage(11, 5, "stop")


def test_each_event_loop_has_its_own_client_and_old_ones_go(fake):
    engine = engine_of(fake)
    for _ in range(5):
        assert asyncio.run(answer(engine))[2] is None
    assert len(engine._clients) == 1


HEALTH = [  # status of /health, of /v1/models, healthy?
    (200, 200, True),
    (503, 200, False),  # it says it is ill
    (404, 200, True),  # a hosted endpoint without /health
    (404, 404, False),
    (404, 401, False),
]


@pytest.mark.parametrize(("health", "models", "healthy"), HEALTH)
def test_health_is_asked_of_either_kind_of_server(fake, health, models, healthy):
    fake.health, fake.models = health, models
    assert asyncio.run(engine_of(fake).healthy()) is healthy


def test_health_waits_no_longer_than_told(fake):
    fake.health_delay = 1.5
    start = time.monotonic()
    assert not asyncio.run(engine_of(fake, timeouts=SHORT).healthy())
    assert time.monotonic() - start < 1.4


def test_importing_the_engine_does_not_import_openai():
    code = "import sys, chat.adllm.openai_engine; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
