import asyncio
from contextlib import aclosing

import pytest

from chat.adllm.engine import Delta, EngineInterrupted, EngineUnavailable, Sampling, Usage
from chat.adllm.scripted_engine import ScriptedEngine

MESSAGES = [{"role": "user", "content": "How are you?"}]


async def collect(engine):
    return [item async for item in engine.stream(MESSAGES, sampling=Sampling())]


def test_texts_come_in_turn_and_in_pieces():
    engine = ScriptedEngine(["Hello there", "Bye"], chunk_size=6)
    assert asyncio.run(collect(engine)) == [Delta("Hello "), Delta("there"), Usage(3, 2, "stop")]
    assert asyncio.run(collect(engine))[0] == Delta("Bye")
    assert asyncio.run(collect(engine))[0] == Delta("Hello ")
    assert engine.calls == [MESSAGES] * 3


def test_a_function_may_obey_the_prompt():
    engine = ScriptedEngine(lambda messages: messages[0]["content"].upper(), chunk_size=50)
    assert asyncio.run(collect(engine))[0] == Delta("HOW ARE YOU?")


def test_it_fails_where_told():
    async def run(engine):
        text = ""
        try:
            async for item in engine.stream(MESSAGES, sampling=Sampling()):
                text += item.text
        except (EngineInterrupted, EngineUnavailable) as error:
            return text, type(error)

    assert asyncio.run(run(ScriptedEngine(["Hello there"], fail_after=7))) == ("Hello t", EngineInterrupted)
    down = ScriptedEngine(["Hello"], fail_after=0, error=EngineUnavailable())
    assert asyncio.run(run(down)) == ("", EngineUnavailable)


def test_leaving_early_closes_the_stream():
    engine = ScriptedEngine(["Hello there"], chunk_size=1, delay=0.001)

    async def leave():
        async with aclosing(engine.stream(MESSAGES, sampling=Sampling())) as stream:
            await anext(stream)
            assert engine.open_streams == 1

    asyncio.run(leave())
    assert engine.open_streams == 0


def test_it_is_healthy():
    assert asyncio.run(ScriptedEngine(["x"]).healthy())


def test_errors_carry_a_message_for_people():
    assert EngineUnavailable().user_message.startswith("The model is not available")
    with pytest.raises(EngineUnavailable, match="Full house"):
        raise EngineUnavailable("Full house.")
