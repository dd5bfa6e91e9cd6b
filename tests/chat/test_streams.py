"""Generations in the background: who follows sees one answer, whoever asks again starts none, and Stop is heard."""

import asyncio
import time
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from campaigns.models import Auction, Click
from chat import answering, streams, turns
from chat.adllm.openai_engine import OpenAIEngine
from chat.adllm.scripted_engine import ScriptedEngine
from chat.answering import Busy, Frame, start_turn
from chat.models import Turn
from tests import market
from tests.fake_openai import FakeOpenAI, Plan

pytestmark = pytest.mark.django_db(transaction=True)

MUG = "@Acme Mug@[Ad-1000]"
SLOW = f"Warm the cup first. {MUG} holds the heat well. " + "Then pour. " * 20


@pytest.fixture(autouse=True)
def _stopped_afterwards():
    yield
    streams.shutdown()
    streams._streams.clear()
    market.check()
    assert answering.places.taken == 0


@pytest.fixture
def mug():
    return market.acme()


def queued(visitor: str = market.ALICE, query: str = "Which mug keeps tea warm?") -> Turn:
    return start_turn(visitor_hash=visitor, query=query, idempotency_key=uuid.uuid4().hex)


async def frames_of(turn: Turn, *, after: int = 0, most: int = 10_000) -> list[Frame]:
    frames = []
    async for frame in streams.follow(turn.pk, after=after):
        frames.append(frame)
        if len(frames) >= most:
            break
    return frames


def wait_until(holds, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def ended(turn: Turn) -> bool:
    turn.refresh_from_db()
    return turn.status in Turn.FINAL


def test_a_follower_sees_the_answer_grow_to_its_end(mug):
    turn = queued()
    streams.start(turn.pk, engine=ScriptedEngine([SLOW], delay=0.01))
    frames = asyncio.run(frames_of(turn))

    assert [frame.seq for frame in frames] == sorted({frame.seq for frame in frames})
    assert len(frames) > 3
    assert [frame.is_final for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert frames[-1].status == Turn.Status.COMPLETE
    assert frames[-1].served["Ad-1000"].position == 1


def test_frames_come_at_most_every_80_milliseconds(mug):
    turn = queued()
    streams.start(turn.pk, engine=ScriptedEngine([SLOW], delay=0.005))
    began = time.monotonic()
    frames = asyncio.run(frames_of(turn))

    assert len(frames) <= (time.monotonic() - began) / streams.FRAME_SECONDS + 2


def test_many_followers_and_reconnects_cause_one_generation(mug):
    """S4: five cuts each, then the whole again: the same last frame for all."""
    turn, engine = queued(), ScriptedEngine([SLOW], delay=0.02)
    streams.start(turn.pk, engine=engine)

    async def unlucky() -> Frame:
        seen = 0
        for _ in range(5):
            for frame in await frames_of(turn, after=seen, most=2):
                seen = frame.seq
            streams.start(turn.pk, engine=engine)  # what a page that is loaded again might do
        return (await frames_of(turn, after=seen))[-1]

    async def all_of_them() -> list[Frame]:
        return await asyncio.gather(*(unlucky() for _ in range(6)))

    last = asyncio.run(all_of_them())

    assert len(engine.calls) == Auction.objects.count() == 1
    assert len({repr(frame) for frame in last}) == 1
    assert last[0].status == Turn.Status.COMPLETE


def test_another_process_follows_the_row_and_ends_with_the_same_frame(mug, monkeypatch):
    turn = queued()
    streams.start(turn.pk, engine=ScriptedEngine([SLOW], delay=0.04))
    here = streams._streams[turn.pk]
    monkeypatch.setattr(streams, "_streams", {})  # as in a process that knows nothing of this turn
    frames = asyncio.run(frames_of(turn))

    assert len({frame.seq for frame in frames}) > 2
    wait_until(lambda: here.frame.is_final)
    assert frames[-1] == here.frame


def test_a_late_reader_gets_the_end_at_once_whatever_it_has_seen(mug):
    turn = queued()
    streams.start(turn.pk, engine=ScriptedEngine([f"Take {MUG}."]))
    wait_until(lambda: ended(turn))
    wait_until(lambda: streams._streams[turn.pk].frame.is_final)

    for after in (0, 10, 10_000):
        assert [frame.status for frame in asyncio.run(frames_of(turn, after=after))] == [Turn.Status.COMPLETE]


def test_a_slow_reader_gets_only_the_latest_frame(mug):
    turn = queued()
    streams.start(turn.pk, engine=ScriptedEngine([SLOW], delay=0.002))

    async def slowly() -> list[int]:
        seqs = []
        async for frame in streams.follow(turn.pk):
            seqs.append(frame.seq)
            await asyncio.sleep(0.6)
        return seqs

    assert len(asyncio.run(slowly())) <= 3


def test_a_finished_answer_leaves_the_memory(mug, monkeypatch):
    monkeypatch.setattr(streams, "KEEP_SECONDS", 0.1)
    turn = queued()
    streams.start(turn.pk, engine=ScriptedEngine(["Short."]))

    wait_until(lambda: ended(turn) and turn.pk not in streams._streams)
    assert asyncio.run(frames_of(turn))[-1].status == Turn.Status.COMPLETE


def test_a_reader_who_leaves_is_forgotten(mug):
    turn = queued()
    streams.start(turn.pk, engine=ScriptedEngine([SLOW], delay=0.02))

    async def leave() -> None:
        async with asyncio.timeout(0.2):
            await frames_of(turn)

    for _ in range(3):
        with pytest.raises(TimeoutError):
            asyncio.run(leave())
    assert not streams._streams[turn.pk]._readers


# --- stop ---


def test_stop_ends_the_turn_and_closes_the_connection_upstream_within_a_second(mug):
    with FakeOpenAI(plan=Plan(text=f"Take {MUG}. And so on. ", endless=True, delay=0.02)) as fake:
        turn = queued()
        streams.start(turn.pk, engine=OpenAIEngine(base_url=fake.base_url, model="fake"))
        wait_until(lambda: streams._streams[turn.pk].frame.served)

        assert streams.stop(turn.pk)
        wait_until(lambda: fake.closed_by_client == 1, seconds=1.0)

        wait_until(lambda: ended(turn), seconds=1.0)
        assert (turn.status, turn.error) == (Turn.Status.STOPPED, "")
        assert turn.segments[1]["ad_id"] == "Ad-1000"
        assert market.click(turn.segments[1]["token"]).outcome == "billed"
        assert not streams.stop(turn.pk)


def test_stop_is_heard_while_the_model_is_still_silent(mug):
    with FakeOpenAI(plan=Plan(first_delay=30)) as fake:
        turn = queued()
        streams.start(turn.pk, engine=OpenAIEngine(base_url=fake.base_url, model="fake"))
        wait_until(lambda: fake.open_streams == 1)

        assert streams.stop(turn.pk)
        wait_until(lambda: fake.closed_by_client == 1, seconds=1.0)
        wait_until(lambda: ended(turn), seconds=1.0)
        assert (turn.status, turn.segments) == (Turn.Status.STOPPED, [])


def test_a_question_stopped_before_its_turn_is_never_asked(mug):
    turn, engine = queued(), ScriptedEngine(["no"])
    assert streams.stop(turn.pk)
    streams.start(turn.pk, engine=engine)

    assert asyncio.run(frames_of(turn))[-1].status == Turn.Status.STOPPED
    assert engine.calls == []


# --- many at once, and restarts ---


def test_beyond_the_concurrency_start_says_busy_and_the_turn_may_start_later(mug, settings):
    settings.AD_LLM_CONCURRENCY = 2
    going = [queued(visitor=str(n) * 64) for n in range(2)]
    for turn in going:
        streams.start(turn.pk, engine=ScriptedEngine([SLOW], delay=0.05))
    turn = queued(visitor="9" * 64)
    with pytest.raises(Busy):
        streams.start(turn.pk, engine=ScriptedEngine(["Short."]))
    turn.refresh_from_db()
    assert turn.status == Turn.Status.QUEUED

    streams.stop(going[0].pk)
    wait_until(lambda: answering.places.taken < 2)
    streams.start(turn.pk, engine=ScriptedEngine(["Short."]))
    wait_until(lambda: ended(turn))
    assert turn.status == Turn.Status.COMPLETE


def test_one_visitor_has_two_answers_at_a_time(mug):
    for _ in range(streams.MOST_PER_VISITOR):
        turn = queued()
        streams.start(turn.pk, engine=ScriptedEngine([SLOW], delay=0.05))
        wait_until(lambda turn=turn: Turn.objects.get(pk=turn.pk).status == Turn.Status.STREAMING)
    with pytest.raises(Busy):
        streams.start(queued().pk, engine=ScriptedEngine(["no"]))
    streams.start(queued(visitor=market.MALLORY).pk, engine=ScriptedEngine(["Short."]))


def test_twenty_answers_at_once_end_and_give_back_their_places(mug, settings):
    settings.AD_LLM_CONCURRENCY = 20
    going = [queued(visitor=f"{n:064d}") for n in range(20)]
    engine = ScriptedEngine([SLOW], delay=0.01)
    for turn in going:
        streams.start(turn.pk, engine=engine)

    async def all_followed() -> list[list[Frame]]:
        return await asyncio.gather(*(frames_of(turn) for turn in going))

    last = [frames[-1] for frames in asyncio.run(all_followed())]

    assert {frame.status for frame in last} == {Turn.Status.COMPLETE}
    assert len({frame.served["Ad-1000"].token for frame in last}) == 20
    assert engine.open_streams == 0


def test_the_end_of_the_process_interrupts_what_is_being_written(mug):
    turn, engine = queued(), ScriptedEngine([SLOW], delay=0.05)
    streams.start(turn.pk, engine=engine)
    wait_until(lambda: streams._streams[turn.pk].frame.served)
    streams.shutdown()

    assert ended(turn)
    assert turn.status == Turn.Status.INTERRUPTED
    assert turn.segments[1]["ad_id"] == "Ad-1000"
    assert engine.open_streams == 0
    assert not Click.objects.exists()


LONG_AGO = timezone.now() - turns.STALE_AFTER - timedelta(seconds=1)

STALE = [  # left behind as, becomes
    ({"status": "streaming", "segments": [{"text": "Warm the"}]}, "interrupted"),
    ({"status": "streaming", "segments": []}, "failed"),
    ({"status": "queued"}, "failed"),
    ({"status": "complete", "segments": [{"text": "Done."}]}, "complete"),
]


@pytest.mark.parametrize(("left", "becomes"), STALE)
def test_a_turn_whose_writer_is_gone_ends_for_whoever_looks(mug, left, becomes):
    turn = queued()
    Turn.objects.filter(pk=turn.pk).update(**left, updated_at=LONG_AGO)

    assert asyncio.run(frames_of(turn))[-1].status == becomes
    turn.refresh_from_db()
    assert turn.segments == left.get("segments", [])


def test_stale_turns_are_swept_and_fresh_ones_left(mug):
    stale, fresh = queued(), queued()
    Turn.objects.filter(pk=stale.pk).update(status="streaming", updated_at=LONG_AGO)

    assert turns.mark_stale_turns(now=timezone.now()) == 1
    assert turns.mark_stale_turns(now=timezone.now()) == 0
    fresh.refresh_from_db()
    assert fresh.status == Turn.Status.QUEUED


def test_a_final_status_never_changes(mug):
    turn = queued()
    Turn.objects.filter(pk=turn.pk).update(status="interrupted", text="so far")
    late = Turn.objects.get(pk=turn.pk)
    late.status, late.text = "complete", "all of it"
    turns.save_final(late)

    turn.refresh_from_db()
    assert (turn.status, turn.text) == ("interrupted", "so far")
    assert not turns.save_so_far(late, [])
    assert not streams.stop(turn.pk)


# --- readers who leave ---


@pytest.fixture
def soon_abandoned(monkeypatch):
    monkeypatch.setattr(streams, "ABANDONED_AFTER", timedelta(seconds=1.0))
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(answering, "SAVE_SECONDS", 0.1)


ENDLESS = Plan(text=f"Take {MUG}. And so on. ", endless=True, delay=0.02)


def test_an_answer_that_nobody_reads_any_more_ends_upstream_too(mug, soon_abandoned):  # S3: a closed browser
    with FakeOpenAI(plan=ENDLESS) as fake:
        turn = queued()
        streams.start(turn.pk, engine=OpenAIEngine(base_url=fake.base_url, model="fake"))
        asyncio.run(frames_of(turn, most=3))  # then the reader is gone
        wait_until(lambda: fake.closed_by_client == 1, seconds=4.0)

        wait_until(lambda: ended(turn), seconds=1.0)
        assert (turn.status, turn.error) == (Turn.Status.INTERRUPTED, turns.UNWATCHED)
        assert turn.segments[1]["ad_id"] == "Ad-1000"  # what was written stays, and its link is good
        assert market.click(turn.segments[1]["token"]).outcome == "billed"


def test_an_answer_goes_on_while_somebody_reads_or_comes_back_in_time(mug, soon_abandoned):
    turn = queued()
    streams.start(turn.pk, engine=ScriptedEngine([SLOW * 2], delay=0.03))

    async def with_gaps() -> list[Frame]:
        seen = 0
        while True:
            frames = await frames_of(turn, after=seen, most=4)
            if frames[-1].is_final:
                return frames
            seen = frames[-1].seq
            await asyncio.sleep(0.3)  # a lost connection, and the browser's wait before the next

    assert asyncio.run(with_gaps())[-1].status == Turn.Status.COMPLETE


def test_a_reader_in_another_process_is_a_reader(mug, soon_abandoned, monkeypatch):
    turn = queued()
    streams.start(turn.pk, engine=ScriptedEngine([SLOW], delay=0.08))
    monkeypatch.setattr(streams, "_streams", {})  # as in a process that knows nothing of this turn

    assert asyncio.run(frames_of(turn))[-1].status == Turn.Status.COMPLETE


def test_a_page_without_script_has_time_to_be_loaded_again(mug, soon_abandoned):
    turn = queued()
    streams.keep_for_a_page_without_script(turn.pk)
    streams.start(turn.pk, engine=ScriptedEngine([SLOW], delay=0.08))

    wait_until(lambda: ended(turn))
    assert turn.status == Turn.Status.COMPLETE


def test_looking_at_a_finished_answer_writes_nothing(mug):
    turn = queued()
    Turn.objects.filter(pk=turn.pk).update(status="complete")
    streams.keep_for_a_page_without_script(turn.pk)

    turn.refresh_from_db()
    assert turn.watched_until is None
