"""A server that is down: told at once, not asked in vain, in use again soon after it is back."""

import asyncio
import time

import pytest

from chat.adllm.breaker import FAILURES, RETRY_SECONDS, Breaker
from chat.adllm.engine import (
    EngineBadOutput,
    EngineError,
    EngineInterrupted,
    EngineRefused,
    EngineTimeout,
    EngineUnavailable,
    Sampling,
)
from chat.adllm.openai_engine import OpenAIEngine, Timeouts
from chat.adllm.scripted_engine import ScriptedEngine
from tests.fake_openai import FakeOpenAI, Plan, free_port

MESSAGES = [{"role": "user", "content": "Which mug?"}]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server(ScriptedEngine):
    """A scripted engine that may be down, ill, or slow to begin."""

    error: EngineError | None = None
    is_healthy = True
    slow = 0.0

    async def stream(self, messages, *, sampling):
        if self.error:
            self.calls.append(messages)
            await asyncio.sleep(self.slow)
            raise self.error
        async for event in super().stream(messages, sampling=sampling):
            yield event

    async def healthy(self) -> bool:
        return self.is_healthy


def ask(engine) -> EngineError | None:
    async def read():
        async for _ in engine.stream(MESSAGES, sampling=Sampling()):
            pass

    try:
        asyncio.run(read())
    except EngineError as error:
        return error
    return None


def opened(error: EngineError) -> tuple[Breaker, Server, Clock]:
    server, clock = Server(["Take the mug."]), Clock()
    breaker = Breaker(server, clock=clock)
    server.error = error
    for _ in range(FAILURES):
        assert ask(breaker) is error
    return breaker, server, clock


@pytest.mark.parametrize("error", [EngineUnavailable(), EngineTimeout()])
def test_server_that_fails_again_and_again_is_not_asked_any_more(error):
    breaker, server, clock = opened(error)
    clock.now += RETRY_SECONDS - 0.1

    refusal = ask(breaker)
    assert type(refusal) is EngineUnavailable
    assert refusal.user_message
    assert len(server.calls) == FAILURES


@pytest.mark.parametrize("error", [EngineRefused(), EngineBadOutput(), EngineInterrupted()])
def test_questions_that_fail_on_their_own_account_open_nothing(error):  # or one visitor could close the site to all
    breaker, server, _ = opened(error)
    server.error = None

    assert ask(breaker) is None


def test_failure_behind_the_first_token_opens_nothing():
    engine = ScriptedEngine(["Take the mug."], fail_after=4, error=EngineTimeout())
    breaker = Breaker(engine, clock=Clock())
    for _ in range(3 * FAILURES):
        assert type(ask(breaker)) is EngineTimeout
    assert len(engine.calls) == 3 * FAILURES


def test_an_answer_in_between_begins_the_count_anew():
    server = Server(["Take the mug."])
    breaker = Breaker(server, clock=Clock())
    for _ in range(3):
        server.error = EngineUnavailable()
        for _ in range(FAILURES - 1):
            ask(breaker)
        server.error = None
        assert ask(breaker) is None


def test_server_that_is_back_is_in_use_again():
    breaker, server, clock = opened(EngineUnavailable())
    server.error = None
    clock.now += RETRY_SECONDS

    assert [ask(breaker) for _ in range(3)] == [None, None, None]


@pytest.mark.parametrize("healthy", [True, False])
def test_probe_that_fails_is_one_and_waits_again(healthy):
    breaker, server, clock = opened(EngineUnavailable())
    server.is_healthy = healthy
    clock.now += RETRY_SECONDS
    for _ in range(3):
        assert type(ask(breaker)) is EngineUnavailable
    assert len(server.calls) == FAILURES + healthy  # where it says it is ill, no question is spent on it


def test_only_one_question_is_the_probe():
    breaker, server, clock = opened(EngineTimeout())
    server.slow = 0.2
    clock.now += RETRY_SECONDS

    async def crowd():
        async def read():
            async for _ in breaker.stream(MESSAGES, sampling=Sampling()):
                pass

        return await asyncio.gather(*(read() for _ in range(20)), return_exceptions=True)

    errors = asyncio.run(crowd())
    assert sorted(type(error).__name__ for error in errors) == ["EngineTimeout"] + ["EngineUnavailable"] * 19
    assert len(server.calls) == FAILURES + 1


def test_probe_that_is_given_up_leaves_room_for_the_next():
    breaker, server, clock = opened(EngineTimeout())
    server.slow = 60
    clock.now += RETRY_SECONDS

    async def give_up():
        async with asyncio.timeout(0.1):
            async for _ in breaker.stream(MESSAGES, sampling=Sampling()):
                pass

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    server.error = None
    assert ask(breaker) is None


def test_real_server_that_hangs_costs_nobody_a_wait_and_answers_once_it_is_well():
    """Accepts connections and says nothing, the slowest way to be down."""
    with FakeOpenAI(plan=Plan(first_delay=60)) as fake:
        times = Timeouts(first_token=2, health=2)
        clock = Clock()
        breaker = Breaker(OpenAIEngine(base_url=fake.base_url, model="fake", timeouts=times), clock=clock)
        for _ in range(FAILURES):
            assert type(ask(breaker)) is EngineTimeout
        began = time.monotonic()
        assert type(ask(breaker)) is EngineUnavailable
        assert time.monotonic() - began < times.first_token
        assert fake.generations == FAILURES

        fake.plan = Plan()
        clock.now += RETRY_SECONDS
        breaker._engine._timeouts = Timeouts()
        assert ask(breaker) is None


def test_server_that_is_not_there_is_found_when_it_starts():
    port, clock = free_port(), Clock()
    breaker = Breaker(OpenAIEngine(base_url=f"http://127.0.0.1:{port}/v1", model="fake"), clock=clock)
    for _ in range(FAILURES + 2):
        assert type(ask(breaker)) is EngineUnavailable
    with FakeOpenAI(port=port):
        clock.now += RETRY_SECONDS
        assert ask(breaker) is None


def test_recovery_takes_less_than_ten_seconds():
    assert RETRY_SECONDS + Timeouts().health < 10
